"""`openmore evaluate trajectory`: ATE and RPE of two trajectory files.

Choices
- Each file's format is recognised; `--format` insists. With euroc only the truth must be EuRoC's csv: estimates are
  then mostly TUM text, as evo takes them, and recognised.
- Rows are matched by time. KITTI files have none: two of them match row by row and must be of one length; one of them
  against a file with times needs `--times` or `--by-order`, because row numbers are no seconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmore.errors import DataError, InputError

if TYPE_CHECKING:
    import numpy as np

    from openmore.io.trajectories import Trajectory

FORMATS = ("tum", "kitti", "euroc")


def trajectory(
    estimate: Annotated[Path, typer.Argument(help="Estimated trajectory file (TUM, KITTI or EuRoC).")],
    truth: Annotated[Path, typer.Argument(help="True trajectory file; it may have another format.")],
    format: Annotated[str | None, typer.Option(help="tum, kitti or euroc; default: recognised file by file.")] = None,
    times: Annotated[Path | None, typer.Option(help="KITTI: file with the time of each row.")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest time difference of a match, seconds.")] = 0.02,
    by_order: Annotated[bool, typer.Option("--by-order", help="Match rows by position instead of by time.")] = False,
    no_scale: Annotated[bool, typer.Option("--no-scale", help="Align by SE(3) instead of Sim(3).")] = False,
    smallest_motion: Annotated[float, typer.Option(help="RMS motion of the truth below which to refuse.")] = 1e-3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """ATE, RPE-t and RPE-r of two trajectory files after alignment."""
    from openmore.evaluation.trajectory import trajectory_errors
    from openmore.io.trajectories import read_trajectory

    if format is not None and format not in FORMATS:
        raise InputError(f"--format {format} is not one of {', '.join(FORMATS)}")
    est = read_trajectory(estimate, None if format == "euroc" else format, times, sort=True)  # type: ignore[arg-type]
    gt = read_trajectory(truth, format, times, sort=True)  # type: ignore[arg-type]
    poses = (est.world_from_cam, gt.world_from_cam) if by_order else matched(est, gt, tolerance)
    align = "se3" if no_scale else "sim3"
    errors = trajectory_errors(*poses, align=align, smallest_motion=smallest_motion)
    if as_json:
        print(json.dumps({**errors.as_dict(), "align": align, "poses_estimate": len(est), "poses_truth": len(gt)}))
        return
    print(f"ATE    {errors.ate:.6f}   (the true camera's RMS distance from its mean: {errors.truth_rms:.6f})")
    print(f"RPE-t  {errors.rpe_translation:.6f}   per frame")
    print(f"RPE-r  {errors.rpe_rotation_deg:.6f}   degrees per frame")
    print(f"{errors.frames} of {len(est)} estimated poses matched, {align}, scale {errors.scale:.6f}")


def matched(est: Trajectory, gt: Trajectory, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The poses of both that belong together. Raises DataError when nothing says which do."""
    from openmore.evaluation.trajectory import associate

    if est.clock != gt.clock:
        without = "estimate" if gt.clock else "ground truth"
        raise DataError(f"the {without} has no times (KITTI) and the other file has: give --times FILE, or --by-order")
    if not est.clock and len(est) != len(gt):
        raise DataError(
            f"estimate has {len(est)} rows and ground truth {len(gt)}, and KITTI files have no times to match them by: "
            "cut both to the same frames"
        )
    pairs = associate(est.times_s, gt.times_s, tolerance)
    return est.world_from_cam[pairs[:, 0]], gt.world_from_cam[pairs[:, 1]]
