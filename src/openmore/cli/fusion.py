"""`openmore fusion collect | fit`: training of the network that settles measured depth and motion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    import multiprocessing
    from collections import Counter

    from openmore.cli.progress import progress_bar
    from openmore.training.fusion.examples import FIRST_SEED, collect_job

    first = FIRST_SEED if first_seed is None else first_seed
    work = [(folder, seed, textures) for seed in range(first, first + clips)]
    became: Counter[str] = Counter()
    with multiprocessing.get_context("spawn").Pool(min(jobs, clips)) as pool, progress_bar() as progress:
        for what in pool.imap_unordered(collect_job, work):
            became[what] += 1
            progress("collect", became.total(), clips)
    print(", ".join(f"{count} {what}" for what, count in sorted(became.items())))


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
