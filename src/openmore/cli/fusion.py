"""`openmore fusion collect | fit`: training of the network that settles measured depth and motion.

Collecting is a job of openmore.scale like any other: a clip that fails or kills its worker is named, and stops nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from openmore.scale import Item
    from openmore.scale.work import Runner

COLLECTOR = "openmore.cli.fusion:collector"  # where worker processes find it

verbs = typer.Typer(
    help="Train the network that settles measured depth and motion (docs/training.md).", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the group of verbs."""
    app.add_typer(verbs, name="fusion")


@verbs.command()
def collect(
    folder: Annotated[Path, typer.Argument(help="Where the examples go, 23 MB a clip; what is there is kept.")],
    clips: Annotated[int, typer.Option(min=1, help="How many.")] = 1000,
    first_seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the first; those below 1000000 are for evaluation.")
    ] = None,
    textures: Annotated[str | None, typer.Option(help="Folder of photographs that half of the clips wear.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Render synthetic clips, reconstruct them, and keep what was measured beside the truth."""
    from openmore.cli.batch import conclude
    from openmore.cli.progress import progress_bar
    from openmore.scale import Item, Task, run_job
    from openmore.training.fusion.examples import FIRST_SEED, UNSOLVED

    first = FIRST_SEED if first_seed is None else first_seed
    names = [str(seed) for seed in range(first, first + clips)]
    items = [Item(name, name) for name in names if not (folder / f"{name}.npz").exists()]  # as earlier versions wrote
    task = Task(COLLECTOR, {"textures": textures})
    with progress_bar() as progress:
        summary = run_job(items, folder, task, workers=min(jobs, clips), progress=progress)
    summary.skipped += clips - len(items)
    if unsolved := sum((folder / name / UNSOLVED).exists() for name in names):
        print(f"{unsolved} clips could not be solved and are no examples")
    conclude(summary, folder)


def collector(textures: str | None) -> Runner:
    """In a worker: what makes the example of an item, whose id is the seed."""
    from openmore.scale.work import use_threads
    from openmore.training.fusion import examples

    use_threads(1)  # processes, not threads, are what collecting has many of
    model = examples.network()

    def run(item: Item, folder: Path) -> None:
        example = examples.collect(int(item.id), model, textures)
        if example is None:
            (folder / examples.UNSOLVED).touch()  # or the next start would reconstruct it again
        else:
            examples.save(example, folder / examples.FILE)

    return run


@verbs.command()
def fit(
    folder: Annotated[Path, typer.Argument(help="Examples that `collect` made.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run: checkpoint, log, weights.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Of 15 frames a process.", show_default="3200")] = None,
    rehearsal: Annotated[
        int, typer.Option(min=0, help="Of the steps: the first ones, on scenes rendered for them.")
    ] = 0,
    mix: Annotated[float, typer.Option(min=0, max=1, help="Share of the other steps that are rehearsals.")] = 0.0,
    textures: Annotated[str | None, typer.Option(help="Folder of photographs that half of these scenes wear.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weights to begin with: a file, or shipped.", show_default="none")
    ] = None,
    keep: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the weights it begins with in those that come out.")
    ] = 0.0,
    lr: Annotated[float | None, typer.Option(min=0, help="Learning rate at its peak.", show_default="1e-3")] = None,
    validate: Annotated[Path | None, typer.Option(help="Examples that are not trained on.")] = None,
) -> None:
    """Train on examples; a stopped run goes on. The weights end in OUT/fusion.safetensors.

    Several processes: torchrun --nproc-per-node 2 -m openmore.cli.main fusion fit ...
    """
    import torch

    from openmore.cli.progress import progress_bar
    from openmore.training.fusion.config import FitConfig
    from openmore.training.fusion.examples import listed
    from openmore.training.fusion.fit import fit as run

    held_out = [] if validate is None else listed(validate)
    config = FitConfig(
        steps=steps or FitConfig.steps, weights=weights, keep=keep, rehearsal=rehearsal, mix=mix, textures=textures,
        lr=FitConfig.lr if lr is None else lr, bf16=torch.cpu._is_avx512_bf16_supported(),
    )  # fmt: skip
    with progress_bar() as progress:
        found = run(listed(folder), out, config, held_out, progress)
    for name, value in found.items():
        print(f"{name:32} {value:.3f}")
