"""What the commands of `openmore evaluate` share: their options, the network under test, running and reporting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmore.cli.progress import progress_bar
from openmore.errors import InputError

if TYPE_CHECKING:
    from openmore.evaluation.prediction import Predictor
    from openmore.evaluation.protocols.base import Benchmark
    from openmore.evaluation.suite import Result

Weights = Annotated[str, typer.Option(help="Name, file, folder, hf:owner/name or untrained:PRESET.")]
Mode = Annotated[str, typer.Option(help="full, stream, or stream-windowN (N past frames, e.g. stream-window5).")]
Refine = Annotated[str, typer.Option(help="Camera refinement: none, or attention (duplicate camera tokens).")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of results; an existing one is resumed.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
LongSide = Annotated[int | None, typer.Option(help="Long side in pixels the network sees.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first failure instead of counting it.")]
Shard = Annotated[str | None, typer.Option(help="i/n: only every n-th sequence, from i. Default: torchrun's rank.")]


def network(weights: str, mode: str, refine: str, device: str, dtype: str, long_side: int | None) -> Predictor:
    """The network under test."""
    from openmore.evaluation.network import Network

    options: dict[str, Any] = {} if long_side is None else {"long_side": long_side}
    return Network(weights, mode, refine=refine, device=device, dtype=dtype, **options)


def run_and_report(
    bench: Benchmark, methods: list[Predictor], data: Path, out: Path, strict: bool, shard: str | None
) -> list[Result]:
    """Run, write the tables, print the summary and what failed."""
    from openmore.evaluation.report import headers, summary_columns, summary_rows, table, write_report
    from openmore.evaluation.suite import run

    with progress_bar() as progress:
        results = run(bench, methods, data, out, shard=parse_shard(shard), keep_going=not strict, progress=progress)
    write_report(bench, results, out)
    header = ["method", *headers(summary_columns(bench)), "source"]
    print("\n".join(table(header, summary_rows(bench, results))))
    for result in results:
        if not result.complete:
            failed, missing = len(result.failures), len(result.missing)
            print(f"{result.method}: {len(result.sequences)} measured, {failed} failed, {missing} not on disk")
            for name, reason in result.failures.items():
                print(f"  {name}: {reason}")
    print(f"per sequence: {out / 'table.md'}")
    return results


def parse_size(text: str) -> tuple[int, int]:
    """`WIDTHxHEIGHT` -> (height, width). Raises InputError."""
    width, cross, height = text.partition("x")
    if not cross or not width.isdecimal() or not height.isdecimal():
        raise InputError(f"--size {text} is not of the form WIDTHxHEIGHT, for example 518x154")
    return int(height), int(width)


def parse_shard(text: str | None) -> tuple[int, int]:
    """`i/n` -> (i, n); None: torchrun's rank and world size. Raises InputError."""
    from openmore.evaluation.suite import shard_of_environment

    if text is None:
        return shard_of_environment()
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal():
        raise InputError(f"--shard {text} is not of the form i/n, for example 0/4")
    return int(index), int(count)


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
