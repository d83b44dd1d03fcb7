"""`openmore evaluate ...`: metrics of trajectories, clips and benchmarks.

Choices
- One command per benchmark, all with the same options; `clips` and `synthetic` also run the network-free baselines.
- Results go to a folder with one subfolder per method; running again resumes from its cached predictions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from openmore.cli.evaluate_others import ablation, compare, kitti_speed
from openmore.cli.evaluate_run import (
    Device,
    Dtype,
    KeepGoing,
    KnownK,
    LongSide,
    Maker,
    Mode,
    Out,
    Ray,
    Refine,
    Shard,
    Weights,
    network,
    run_and_report,
)
from openmore.cli.evaluate_trajectory import trajectory
from openmore.errors import InputError

# Benchmarks whose data set is a folder the user has; see openmore.evaluation.protocols.registry.
PUBLISHED = "sintel-pose tum-pose bonn-pose scannet-pose".split()
PUBLISHED_DEPTH = "sintel-depth sintel-depth-14 bonn-depth kitti-depth tum-depth".split()

verbs = typer.Typer(help="Measure trajectories, clips and benchmarks.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group of verbs."""
    for names, make in ((PUBLISHED, suite_command), (PUBLISHED_DEPTH, depth_command)):
        for name in names:
            verbs.command(name, help=f"The published benchmark {name}; needs its data set on disk.")(make(name))
    verbs.command("kitti-speed")(kitti_speed)
    for command in (ablation, compare, trajectory):
        verbs.command()(command)
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
        keep_going: KeepGoing = False,
        shard: Shard = None,
        ray: Ray = 0,
    ) -> None:
        from openmore.evaluation.protocols.registry import benchmark

        method = network(weights, mode, refine, device, dtype, long_side)
        run_and_report(benchmark(name), [method], data, out / name, keep_going, shard, ray, device)

    return command


def depth_command(name: str) -> Any:
    """The command of one depth benchmark."""

    def command(
        data: Annotated[Path, typer.Option(help="Root of the data set, see docs/data.md.")],
        weights: Weights = "small",
        mode: Mode = "full",
        out: Out = Path("evaluation"),
        scale_shift: Annotated[
            bool, typer.Option("--scale-shift", help="Also the published scale-and-shift descent; slow.")
        ] = False,
        render: Annotated[str | None, typer.Option(help="Sintel only: final or clean.")] = None,
        device: Device = "cpu",
        dtype: Dtype = "auto",
        long_side: LongSide = None,
        keep_going: KeepGoing = False,
        shard: Shard = None,
        ray: Ray = 0,
    ) -> None:
        from openmore.evaluation.protocols.registry import benchmark

        options: dict[str, Any] = {"slow": scale_shift, **({"render": render} if render else {})}
        bench = benchmark(name, **options)
        method = network(weights, mode, "none", device, dtype, long_side)
        folder = out / (name if render in (None, "final") else f"{name}-{render}")
        run_and_report(bench, [method], data, folder, keep_going, shard, ray, device)

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
    keep_going: KeepGoing = False,
    shard: Shard = None,
    ray: Ray = 0,
) -> None:
    """Co3Dv2 relative pose: RRA, RTA, AUC@30 over ten frames per sequence."""
    from openmore.evaluation.protocols.co3d import Co3DPose

    method = network(weights, mode, refine, device, dtype, long_side)
    run_and_report(Co3DPose(annotations, frames), [method], data, out / "co3d", keep_going, shard, ray, device)


@verbs.command()
def davis(
    data: Annotated[Path, typer.Option(help="Root of DAVIS 2016 or 2017, see docs/data.md.")],
    year: Annotated[str, typer.Option(help="Whose lists: 2016 (20 sequences in val) or 2017 (30).")] = "2016",
    split: Annotated[str, typer.Option(help="train, val, trainval, or all: every annotated folder.")] = "val",
    snap: Annotated[
        str, typer.Option(help="Also score masks after guided, grabcut or sam2-tiny ... sam2-large.")
    ] = "none",
    weights: Weights = "small",
    mode: Mode = "full",
    out: Out = Path("evaluation"),
    device: Device = "cpu",
    dtype: Dtype = "auto",
    long_side: LongSide = None,
    keep_going: KeepGoing = False,
    shard: Shard = None,
    ray: Ray = 0,
) -> None:
    """DAVIS motion masks: J and F, calibration beside them; raw, and refined on the pictures with --snap."""
    from openmore.evaluation.protocols.davis import DavisMasks

    method = network(weights, mode, "none", device, dtype, long_side)
    folder = out / ("davis" if (year, split) == ("2016", "val") else f"davis-{year}-{split}")
    run_and_report(
        DavisMasks(year=year, split=split, snap=snap), [method], data, folder, keep_going, shard, ray, device
    )


@verbs.command()
def synthetic(
    weights: Weights = "small",
    mode: Mode = "full",
    refine: Refine = "none",
    known_k: KnownK = False,
    data: Annotated[Path | None, typer.Option(help="Clips of `openmore synth` to take instead of rendering.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of clips.")] = 20,
    frames: Annotated[int, typer.Option(min=2, help="Frames per clip.")] = 16,
    out: Out = Path("evaluation"),
    device: Device = "cpu",
    dtype: Dtype = "auto",
    keep_going: KeepGoing = False,
    shard: Shard = None,
    ray: Ray = 0,
) -> None:
    """Held-out clips of the synthetic world, beside the baselines."""
    from openmore.evaluation.baselines import BASELINES
    from openmore.evaluation.protocols.synthetic import Synthetic

    methods = [network(weights, mode, refine, device, dtype, None, known_k), *BASELINES]
    bench = Synthetic(count=count, frames=frames, folder=data)
    run_and_report(bench, methods, data or Path(), out / "synthetic", keep_going, shard, ray, device)


@verbs.command()
def clips(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A posed clip, or a folder of them; FOLDER?depth_scale=1000 for 16-bit depth."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The folder, as the other suites take it.")] = None,
    weights: Annotated[list[str] | None, typer.Option(help="One or more; 'none' for baselines only.")] = None,
    mode: Annotated[list[str] | None, typer.Option(help="One or more of full, stream, stream-windowN.")] = None,
    refine: Refine = "none",
    known_k: KnownK = False,
    max_frames: Annotated[int | None, typer.Option(min=2, help="Only the first frames of every clip.")] = None,
    baselines: Annotated[bool, typer.Option("--baselines/--no-baselines", help="Methods without a network.")] = True,
    out: Out = Path("evaluation"),
    device: Device = "cpu",
    dtype: Dtype = "auto",
    long_side: LongSide = None,
    keep_going: KeepGoing = False,
    shard: Shard = None,
    ray: Ray = 0,
) -> None:
    """Every clip with some truth in a folder, beside baselines that need no network."""
    from openmore.evaluation.baselines import BASELINES
    from openmore.evaluation.protocols.clips import Clips

    named = [w for w in weights or ["small"] if w != "none"]
    methods: list[Maker] = [
        network(w, m, refine, device, dtype, long_side, known_k) for w in named for m in mode or ["full"]
    ]
    methods += BASELINES if baselines else []
    if not methods:
        raise InputError("nothing to evaluate: give --weights or keep the baselines")
    root = folder or data
    if root is None:
        raise InputError("no folder was given: openmore evaluate clips FOLDER")
    run_and_report(Clips(max_frames=max_frames), methods, root, out / "clips", keep_going, shard, ray, device)
