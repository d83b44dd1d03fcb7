"""`openmore evaluate ...`: metrics of trajectories, clips and benchmarks.

Choices
- One command per benchmark, all with the same options; `clips` and `synthetic` also run the network-free baselines.
- Results go to a folder with one subfolder per method; running again resumes from its cached predictions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmore.cli.progress import progress_bar
from openmore.errors import InputError

if TYPE_CHECKING:
    from openmore.evaluation.prediction import Predictor
    from openmore.evaluation.protocols.base import Benchmark
    from openmore.evaluation.suite import Result

# Benchmarks whose data set is a folder the user has; see openmore.evaluation.protocols.registry.
PUBLISHED = (
    "sintel-pose tum-pose bonn-pose scannet-pose sintel-depth sintel-depth-14 bonn-depth kitti-depth tum-depth davis"
).split()

verbs = typer.Typer(help="Measure trajectories, clips and benchmarks.", no_args_is_help=True)


Weights = Annotated[str, typer.Option(help="Name, file, folder, hf:owner/name or untrained:PRESET.")]
Mode = Annotated[str, typer.Option(help="full, stream, or stream-windowN (N past frames, e.g. stream-window5).")]
Refine = Annotated[str, typer.Option(help="Camera refinement: none, or attention (duplicate camera tokens).")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of results; an existing one is resumed.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
LongSide = Annotated[int | None, typer.Option(help="Long side in pixels the network sees.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first failure instead of counting it.")]
Shard = Annotated[str | None, typer.Option(help="i/n: only every n-th sequence, from i. Default: torchrun's rank.")]


def register(app: typer.Typer) -> None:
    """Add the group of verbs."""
    for name in PUBLISHED:
        verbs.command(name, help=f"The published benchmark {name}; needs its data set on disk.")(suite_command(name))
    app.add_typer(verbs, name="evaluate")


def suite_command(name: str) -> Any:
    """The command of one benchmark."""

    def command(
        data: Annotated[Path, typer.Option(help="Root of the data set, see docs/data.md.")],
        weights: Weights = "small",
        mode: Mode = "full",
        refine: Refine = "none",
        out: Out = Path("evaluation"),
        device: Device = "cpu",
        dtype: Dtype = "auto",
        long_side: LongSide = None,
        strict: Strict = False,
        shard: Shard = None,
    ) -> None:
        from openmore.evaluation.protocols.registry import benchmark

        method = network(weights, mode, refine, device, dtype, long_side)
        run_and_report(benchmark(name), [method], data, out / name, strict, shard)

    return command


@verbs.command()
def co3d(
    data: Annotated[Path, typer.Option(help="Root of the Co3Dv2 pictures.")],
    annotations: Annotated[Path | None, typer.Option(help="Folder of <category>_test.jgz. Default: the root.")] = None,
    frames: Annotated[Path | None, typer.Option(help="JSON of frozen frame numbers per sequence.")] = None,
    weights: Weights = "small",
    mode: Mode = "full",
    refine: Refine = "none",
    out: Out = Path("evaluation"),
    device: Device = "cpu",
    dtype: Dtype = "auto",
    long_side: LongSide = None,
    strict: Strict = False,
    shard: Shard = None,
) -> None:
    """Co3Dv2 relative pose: RRA, RTA, AUC@30 over ten frames per sequence."""
    from openmore.evaluation.protocols.co3d import Co3DPose

    method = network(weights, mode, refine, device, dtype, long_side)
    run_and_report(Co3DPose(annotations, frames), [method], data, out / "co3d", strict, shard)


@verbs.command()
def synthetic(
    weights: Weights = "small",
    mode: Mode = "full",
    refine: Refine = "none",
    count: Annotated[int, typer.Option(help="Number of clips.")] = 20,
    frames: Annotated[int, typer.Option(help="Frames per clip.")] = 16,
    out: Out = Path("evaluation"),
    device: Device = "cpu",
    dtype: Dtype = "auto",
    strict: Strict = False,
) -> None:
    """Held-out clips of the synthetic world, beside the baselines."""
    from openmore.evaluation.baselines import BASELINES
    from openmore.evaluation.protocols.synthetic import Synthetic

    methods = [network(weights, mode, refine, device, dtype, None), *(make() for make in BASELINES)]
    run_and_report(Synthetic(count=count, frames=frames), methods, Path(), out / "synthetic", strict, None)


@verbs.command()
def clips(
    folder: Annotated[Path, typer.Argument(help="A posed clip, or a folder of them (rgb/, poses.txt, ...).")],
    weights: Annotated[list[str] | None, typer.Option(help="One or more; 'none' for baselines only.")] = None,
    mode: Annotated[list[str] | None, typer.Option(help="One or more of full, stream, stream-windowN.")] = None,
    refine: Refine = "none",
    max_frames: Annotated[int | None, typer.Option(help="Only the first frames of every clip.")] = None,
    baselines: Annotated[bool, typer.Option("--baselines/--no-baselines", help="Methods without a network.")] = True,
    out: Out = Path("evaluation"),
    device: Device = "cpu",
    dtype: Dtype = "auto",
    long_side: LongSide = None,
    strict: Strict = False,
) -> None:
    """Every clip with some truth in a folder, beside baselines that need no network."""
    from openmore.evaluation.baselines import BASELINES
    from openmore.evaluation.protocols.clips import Clips

    named = [w for w in weights or ["small"] if w != "none"]
    methods: list[Predictor] = [
        network(w, m, refine, device, dtype, long_side) for w in named for m in mode or ["full"]
    ]
    methods += [make() for make in BASELINES] if baselines else []
    if not methods:
        raise InputError("nothing to evaluate: give --weights or keep the baselines")
    run_and_report(Clips(max_frames=max_frames), methods, folder, out / "clips", strict, None)


@verbs.command("kitti-speed")
def kitti_speed(
    weights: Weights = "small",
    window: Annotated[int, typer.Option(help="Past frames kept beside the anchor; 0 keeps all.")] = 5,
    size: Annotated[
        str, typer.Option(help="WIDTHxHEIGHT; the patch grid's version of the published 512x144.")
    ] = "518x154",
    frames: Annotated[int, typer.Option(help="Frames of the clip.")] = 110,
    runs: Annotated[int, typer.Option(help="Timed runs.")] = 5,
    warm_up: Annotated[int, typer.Option(help="Runs before the clock starts.")] = 3,
    against: Annotated[
        Path | None, typer.Option(help="Python file with load(device, dtype): another implementation to time.")
    ] = None,
    out: Out = Path("evaluation"),
    device: Device = "cpu",
    dtype: Dtype = "auto",
) -> None:
    """Frames per second in the supplement's setting, beside published figures."""
    from openmore.evaluation.speed import OurStream, load_runner, measure
    from openmore.evaluation.speed_report import report

    shape = parse_size(size)
    runners = [OurStream(weights, window or None, device, dtype, shape)]
    runners += [load_runner(against, device, dtype)] if against else []
    with progress_bar() as progress:
        measured = [
            measure(r, device, shape=shape, frames=frames, runs=runs, warm_up=warm_up, progress=progress)
            for r in runners
        ]
    print(report(measured, device, out / "kitti-speed"))


@verbs.command()
def ablation(
    full: Annotated[str, typer.Option(help="Weights of the whole method; also run without the refinement pass.")],
    no_forcing: Annotated[str | None, typer.Option(help="Weights trained without attention forcing.")] = None,
    kl: Annotated[str | None, typer.Option(help="Weights trained with a KL loss instead of attention forcing.")] = None,
    no_grouped: Annotated[str | None, typer.Option(help="Weights without grouped causal attention.")] = None,
    mode: Mode = "stream",
    data: Annotated[
        list[str] | None, typer.Option(help="SUITE=PATH, repeatable. Default: the synthetic clips.")
    ] = None,
    out: Out = Path("evaluation"),
    device: Device = "cpu",
    dtype: Dtype = "auto",
    strict: Strict = False,
) -> None:
    """The paper's ablations (attention forcing, refinement pass, grouped causal attention) for given weights."""
    from openmore.evaluation.ablation import parse_data, rows, run_ablation

    suites = parse_data(data or [])
    methods = rows(full, no_forcing=no_forcing, kl=kl, no_grouped=no_grouped)
    with progress_bar() as progress:
        text = run_ablation(
            methods, suites, out / "ablation", mode, device, dtype, keep_going=not strict, progress=progress
        )
    print(text)


@verbs.command()
def compare(
    a: Annotated[Path, typer.Argument(help="results.json (or its folder) of one run.")],
    b: Annotated[Path, typer.Argument(help="The other run, of the same benchmark.")],
    metric: Annotated[list[str] | None, typer.Option(help="Only these metrics.")] = None,
    top: Annotated[int, typer.Option(help="Lines to print.")] = 20,
) -> None:
    """Which sequence moved between two results, the largest change first."""
    from openmore.evaluation.compare import compare as run

    result = run(a, b, tuple(metric or ()))
    print(f"{result.suite}: {result.methods[0]} -> {result.methods[1]}")
    for change in result.summary:
        print(f"  mean {change.metric:24} {change.a:12.6g} -> {change.b:12.6g}  ({change.relative:+.1%})")
    for change in [c for c in result.changes if c.a != c.b][:top]:
        print(
            f"  {change.sequence:40} {change.metric:24} {change.a:12.6g} -> {change.b:12.6g}  ({change.relative:+.1%})"
        )
    for side, names in (("first", result.only_a), ("second", result.only_b)):
        if names:
            print(f"  only in the {side}: {', '.join(names)}")


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
