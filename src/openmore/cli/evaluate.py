"""`openmore evaluate ...`: metrics of trajectories, clips and benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from openmore.errors import InputError

verbs = typer.Typer(help="Measure trajectories, clips and benchmarks.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group of verbs."""
    app.add_typer(verbs, name="evaluate")


@verbs.command()
def trajectory(
    estimate: Annotated[Path, typer.Argument(help="Estimated trajectory file (TUM, KITTI or EuRoC).")],
    truth: Annotated[Path, typer.Argument(help="True trajectory file; it may have another format.")],
    format: Annotated[str | None, typer.Option(help="tum, kitti or euroc for both files; default: recognised.")] = None,
    times: Annotated[Path | None, typer.Option(help="KITTI: file with the time of each row.")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest time difference of a match, seconds.")] = 0.02,
    by_order: Annotated[bool, typer.Option("--by-order", help="Match rows by position instead of by time.")] = False,
    no_scale: Annotated[bool, typer.Option("--no-scale", help="Align by SE(3) instead of Sim(3).")] = False,
    smallest_motion: Annotated[float, typer.Option(help="RMS motion of the truth below which to refuse.")] = 1e-3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """ATE, RPE-t and RPE-r of two trajectory files after alignment."""
    from openmore.evaluation.trajectory import associate, trajectory_errors
    from openmore.io.trajectories import read_trajectory

    if format not in (None, "tum", "kitti", "euroc"):
        raise InputError(f"--format {format} is not one of tum, kitti, euroc")
    est, gt = (read_trajectory(path, format, times) for path in (estimate, truth))  # type: ignore[arg-type]
    poses = est.world_from_cam, gt.world_from_cam
    if not by_order:
        pairs = associate(est.times_s, gt.times_s, tolerance)
        poses = poses[0][pairs[:, 0]], poses[1][pairs[:, 1]]
    align = "se3" if no_scale else "sim3"
    errors = trajectory_errors(*poses, align=align, smallest_motion=smallest_motion)
    if as_json:
        print(json.dumps({**errors.as_dict(), "align": align, "poses_estimate": len(est), "poses_truth": len(gt)}))
        return
    print(f"ATE    {errors.ate:.6f}   (the true camera's RMS distance from its mean: {errors.truth_rms:.6f})")
    print(f"RPE-t  {errors.rpe_translation:.6f}   per frame")
    print(f"RPE-r  {errors.rpe_rotation_deg:.6f}   degrees per frame")
    print(f"{errors.frames} of {len(est)} estimated poses matched, {align}, scale {errors.scale:.6f}")
