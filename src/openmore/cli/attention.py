"""`openmore attention SOURCE`: where the camera tokens look, before and after, and the number behind the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmore.errors import InputError

if TYPE_CHECKING:
    from openmore.viewer.attention import MovingShare


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(attention)


def attention(
    source: Annotated[str, typer.Argument(help="Video, folder of images, glob or single image.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the sheets and attention.json.")],
    weights: Annotated[str, typer.Option(help="Name, file, folder, hf:owner/name or untrained:PRESET.")] = "small",
    compare: Annotated[str | None, typer.Option(help="Other weights, drawn beside: before and after.")] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of masks (PNG), or what `masks` wrote. Default: predicted.")
    ] = None,
    frames: Annotated[int, typer.Option(help="Frames taken evenly from the source.")] = 6,
    long_side: Annotated[int | None, typer.Option(help="Long side in pixels the network sees.")] = None,
    blocks: Annotated[
        str | None, typer.Option(help="Such as frame:23,global:5. Default: last frame block, all global ones.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing OUT.")] = False,
) -> None:
    """Draw the camera tokens' attention and measure how much of it falls on moving objects."""
    if frames < 1:
        raise InputError(f"--frames {frames} leaves nothing to look at: give at least 1")
    from openmore.io.atomic import atomic_folder, write_json
    from openmore.io.output import require_free
    from openmore.viewer.attention_sheets import ATTENTION

    require_free(out, ATTENTION, overwrite, source)
    from PIL import Image

    from openmore.model.more import MoRe
    from openmore.viewer.attention_report import draw_sheets, numbers, study

    studies = []
    for name in filter(None, (weights, compare)):
        model = MoRe.from_pretrained(name, device=device, dtype=dtype)
        chosen = {"count": frames, "long_side": long_side, "blocks": blocks, "masks": masks}
        studies.append(study(source, model, name=name, movers_of=studies[0] if studies else None, **chosen))
    with atomic_folder(out, ATTENTION, overwrite) as folder:
        for name, picture in draw_sheets(studies).items():
            Image.fromarray(picture).save(folder / name)
        write_json(folder / "attention.json", [numbers(s) for s in studies])
    for s in studies:
        typer.echo(f"{s.weights}: {describe_share(s.share(s.headline), s.motion_from)}")
    typer.echo(f"sheets -> {out}")


def describe_share(share: MovingShare | None, motion_from: str) -> str:
    """The number behind the pictures in words."""
    if share is None:
        return "no masks were given and the weights have no motion head: no share on movers"
    if not share.area:
        return f"nothing moves according to the {motion_from}"
    text = f"movers are {share.area:.1%} of the picture and get {share.attention:.1%} of the attention"
    return f"{text} ({share.ratio:.2f} of indifference; movers from the {motion_from})"
