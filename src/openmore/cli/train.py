"""`openmore train RECIPE`: run, resume or price a training recipe. Under torchrun every process runs this verb:

torchrun --nproc-per-node 8 -m openmore.cli.main train more_full -o runs/more_full
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from openmore.errors import InputError

RECIPES = (
    "more_full",
    "more_stream",
    "small",
    "small_full",
    "small_stream",
    "small_cpu",
    "small_cpu_depth",
    "small_cpu_finish",
    "tiny_smoke",
)
SHOWN = {  # logged value -> how the progress line shows it
    "loss": "loss {:.3f}",
    "rotation_deg": "rotation {:.2f} deg",
    "rotation_deg_if_still": "(still: {:.2f})",
    "depth_absrel": "depth {:.3f}",
    "motion_iou": "motion IoU {:.2f}",
    "clips_per_s": "{:.1f} clips/s",
}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(train)


def train(
    recipe: Annotated[str, typer.Argument(help=f"One of {', '.join(RECIPES)}.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the run.", show_default="runs/RECIPE")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change a setting; may be given again.")
    ] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="Stop with a checkpoint within this time: 25m, 2h, 1h30m, 90s.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in OUT.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate memory and time; train nothing.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print all settings as JSON; train nothing.")] = False,
    processes: Annotated[int, typer.Option(help="Dry run: processes (one accelerator each) to plan for.")] = 1,
) -> None:
    """Train the network; writes checkpoints, log.jsonl, picture sheets and weights.safetensors."""
    budget = None if time_budget is None else seconds(time_budget)
    from openmore.training import recipes, settings

    config = settings.apply(recipes.recipe(recipe), changes or [])
    if show:
        import json

        print(json.dumps(settings.to_dict(config), indent=1))
        return
    if dry_run:
        from openmore.training.estimate import estimate

        print(
            "\n".join(
                [f"recipe       {config.name} (largest image size it draws)", *estimate(config, processes).lines()]
            )
        )
        return
    from openmore.training.session import train as run

    main_process = os.environ.get("RANK", "0") == "0"
    with training_bar(config.optim.steps, main_process) as on_log:
        report = run(config, out or Path("runs") / recipe, resume=resume, time_budget_s=budget, on_log=on_log)
    if main_process:
        print(f"{report.stopped} at step {report.step:,} of {config.optim.steps:,} after {report.seconds:,.0f} s")
        last = f"last loss {report.last['loss']:.4f}" if "loss" in report.last else "no step taken"
        print(f"{report.clips:,} clips seen, {report.skipped} steps skipped; {last}")
        print(f"weights      {report.weights}\ncheckpoint   {report.checkpoint}")


def seconds(text: str) -> float:
    """ "25m", "1h30m", "90s" or plain seconds. Raises InputError."""
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if parts is None or not any(parts.groups()):
        raise InputError(f"--time-budget {text}: expected a time such as 25m, 2h, 1h30m or 90s")
    hours, minutes, rest = (float(p or 0) for p in parts.groups())
    return 3600 * hours + 60 * minutes + rest


@contextmanager
def training_bar(steps: int, visible: bool) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A progress bar on stderr with the latest values; without a terminal one line per log entry."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not visible or not console.is_terminal:
        yield lambda step, values: print(f"step {step}/{steps}  {describe(values)}", file=sys.stderr, flush=True)
        return
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("starting", total=steps)
        yield lambda step, values: bars.update(task, completed=step, description=describe(values))


def describe(values: dict[str, float]) -> str:
    """The values a person watches, in one line."""
    return "  ".join(form.format(values[name]) for name, form in SHOWN.items() if name in values)
