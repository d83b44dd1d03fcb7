"""`openmore evaluate kitti-speed | ablation | compare`: what is no benchmark of accuracy on a data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from openmore.cli.evaluate_run import Device, Dtype, KeepGoing, Mode, Out, Weights, parse_size
from openmore.cli.progress import progress_bar


def kitti_speed(
    weights: Weights = "small",
    mode: Annotated[
        list[str] | None, typer.Option(help="One or more of stream-window5 (default), stream-windowN, stream, full.")
    ] = None,
    refined: Annotated[
        bool, typer.Option("--refined", help="Also stream with the refinement pass at the end.")
    ] = False,
    size: Annotated[
        str, typer.Option(help="WIDTHxHEIGHT; the patch grid's version of the published 512x144.")
    ] = "518x154",
    frames: Annotated[int, typer.Option(help="Frames of the clip.")] = 110,
    runs: Annotated[int, typer.Option(help="Timed runs.")] = 5,
    warm_up: Annotated[int, typer.Option(help="Runs before the clock starts.")] = 3,
    against: Annotated[
        list[Path] | None, typer.Option(help="Python file with load(device, dtype): another implementation to time.")
    ] = None,
    out: Out = Path("evaluation"),
    device: Device = "cpu",
    dtype: Dtype = "auto",
) -> None:
    """Frames per second in the supplement's setting, beside published figures."""
    from openmore.evaluation.speed import load_runner, measure
    from openmore.evaluation.speed_ours import our_runner
    from openmore.evaluation.speed_report import report
    from openmore.io.output import require_folder

    require_folder(out)
    shape, modes = parse_size(size), mode or ["stream-window5"]
    wanted = [(m, False) for m in modes] + [(m, True) for m in modes if refined and m != "full"]
    # Made one after the other: their weights need not fit into memory together.
    makers = [partial(our_runner, weights, m, device, dtype, shape, refine=r) for m, r in wanted]
    makers += [partial(load_runner, path, device, dtype) for path in against or []]
    with progress_bar() as progress:
        measured = [
            measure(make(), device, shape=shape, frames=frames, runs=runs, warm_up=warm_up, progress=progress)
            for make in makers
        ]
    print(report(measured, device, out / "kitti-speed"))


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
    keep_going: KeepGoing = False,
) -> None:
    """The paper's ablations (attention forcing, refinement pass, grouped causal attention) for given weights."""
    from openmore.evaluation.ablation import parse_data, rows, run_ablation
    from openmore.io.output import require_folder

    require_folder(out)
    suites = parse_data(data or [])
    methods = rows(full, no_forcing=no_forcing, kl=kl, no_grouped=no_grouped)
    with progress_bar() as progress:
        text = run_ablation(
            methods, suites, out / "ablation", mode, device, dtype, keep_going=keep_going, progress=progress
        )
    print(text)


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
