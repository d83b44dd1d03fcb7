"""`openmore synth`: sequences of the synthetic 4D world with exact truth."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def synth(
        count: int = typer.Option(8, "-n", "--count", min=1, help="Number of sequences."),
        out: Path = typer.Option(..., "-o", "--out", help="Folder for the sequences; made if absent."),
        frames: int = typer.Option(24, min=1, help="Frames per sequence."),
        size: str = typer.Option("168x224", help="HEIGHTxWIDTH in pixels."),
        seed: int = typer.Option(0, min=0, help="First seed; sequence i has seed + i."),
        interval: int = typer.Option(1, min=1, help="Frames are interval / 30 seconds apart."),
        camera: str | None = typer.Option(
            None, help="handheld, walk, drive, orbit, pan, slide or still; any if not given."
        ),
        movers: str | None = typer.Option(None, help="Number of moving objects, N or LOW-HIGH; 0-6 if not given."),
        textures: Path | None = typer.Option(None, help="Folder of photographs to texture the world with."),
        device: str = typer.Option("cpu", help="Where to render: cpu or cuda."),
        overwrite: bool = typer.Option(False, "--overwrite", help="Replace sequences that exist."),
    ) -> None:
        """Write random dynamic scenes: frames, depth, flow, motion masks, instances, cameras, preview.mp4."""
        from openmore.cli.progress import progress_bar
        from openmore.data.sample_folder import SAMPLE, write_sample
        from openmore.data.synthetic import Recipe, make_clip
        from openmore.io.output import require_free

        recipe = Recipe(intervals=(interval, interval), camera=camera, movers=_range(movers) or Recipe.movers)
        shape = _shape(size)
        folders = [out / f"{seed + i:06d}" for i in range(count)]
        for folder in folders:
            require_free(folder, SAMPLE, overwrite)
        with progress_bar() as report:
            for i, folder in enumerate(folders):
                sample = make_clip(
                    seed + i, frames, shape, _device(device), recipe, str(textures) if textures else None
                )
                write_sample(sample, folder, overwrite=overwrite, preview_fps=30 / interval)
                report("render", i + 1, count)
        typer.echo(f"{count} sequences of {frames} frames in {out}")


def _shape(size: str) -> tuple[int, int]:
    from openmore.errors import InputError

    height, _, width = size.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise InputError(f"size {size!r}: expected HEIGHTxWIDTH in pixels, for example 168x224")
    return int(height), int(width)


def _range(text: str | None) -> tuple[int, int] | None:
    from openmore.errors import InputError

    if text is None:
        return None
    low, _, high = text.partition("-")
    if not low.isdigit() or (high and not high.isdigit()):
        raise InputError(f"movers {text!r}: expected a number or a range, for example 2 or 0-6")
    return int(low), int(high or low)


def _device(name: str) -> str:
    import torch

    from openmore.errors import InputError

    if name == "cpu" or (name.startswith("cuda") and torch.cuda.is_available()):
        return name
    raise InputError(f"device {name!r} is not here: expected cpu" + (" or cuda" if torch.cuda.is_available() else ""))
