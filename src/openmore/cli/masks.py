"""`openmore masks SOURCE -o OUT`: what moves in a clip, frame by frame, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmore.errors import InputError

if TYPE_CHECKING:
    from openmore.masks.clip import MaskClip
    from openmore.masks.pipeline import MaskResult

Shape = tuple[int, int]
SMALLEST_SIDE = 32  # pixels
# What --head and --paper have no use for.
IDLE = {
    "head": ("paper", "flow", "segments", "rule", "floor", "ego", "offsets", "explain"),
    "paper": ("rule", "floor", "offsets", "refine"),
}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(masks)


def masks(
    ctx: typer.Context,
    source: Annotated[str | None, typer.Argument(help="Video, folder, glob, scene folder or posed data.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")] = Path("masks"),
    from_reconstruction: Annotated[Path | None, typer.Option(help="Scene folder: use its cameras and depth.")] = None,
    weights: Annotated[str | None, typer.Option(help="Reconstruct SOURCE first and use its cameras and depth.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="SOURCE is the root of this data set (posed, with depth).")
    ] = None,
    sequence: Annotated[str | None, typer.Option(help="Sequence of the data set (default: its only one).")] = None,
    head: Annotated[
        bool, typer.Option("--head", help="Only refine the reconstruction's own masks: no flow, no rule.")
    ] = False,
    flow: Annotated[str, typer.Option(help="dis, dis-fast, sea-raft-m, sea-raft-m:FILE, ...")] = "dis",
    segments: Annotated[
        str, typer.Option(help="felzenszwalb, slic, residual, sam2-tiny, sam2-large:FOLDER, ...")
    ] = "felzenszwalb",
    rule: Annotated[str, typer.Option(help="floor, robust, floored, or paper (equations 1-3).")] = "floor",
    floor: Annotated[float, typer.Option(help="Pixels (at 518 px width) that never count as motion.")] = 0.6,
    ego: Annotated[str, typer.Option(help="auto; geometry: depth and cameras; picture: fitted to the flow.")] = "auto",
    offsets: Annotated[str, typer.Option(help="Frames to compare with, relative.")] = "-2,-1,1,2",
    refine: Annotated[str, typer.Option(help="none, guided, grabcut, sam2-tiny, ...")] = "grabcut",
    paper: Annotated[
        bool, typer.Option("--paper", help="Only what the paper has: next frame, plain residual.")
    ] = False,
    long_side: Annotated[int, typer.Option(help="Work at this long side, pixels.")] = 640,
    fps: Annotated[float | None, typer.Option(help="Sample the source at this rate.")] = None,
    stride: Annotated[int, typer.Option(help="Use every n-th frame.")] = 1,
    max_frames: Annotated[int | None, typer.Option(help="Stop after this many frames.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also write a picture per frame that explains it.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Also write static.ply: the scene without movers.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing OUT.")] = False,
) -> None:
    """Write moving-object masks (0 static, 1 moving, 255 unknown), a report with every reason, and an overlay video."""
    from openmore.cli.progress import progress_bar
    from openmore.io.atomic import atomic_folder
    from openmore.io.output import require_free
    from openmore.masks.pipeline import extract_masks, refine_head
    from openmore.masks.write import MASKS, write_result

    require_used({name for name in ctx.params if _is_given(ctx, name)})
    require_free(out, MASKS, overwrite, source)
    options = mask_options(flow, segments, rule, floor, ego, offsets, refine, paper)
    sampling = {"fps": fps, "stride": stride, "max_frames": max_frames}
    with progress_bar() as progress:
        clip, shape = load_clip(source, from_reconstruction, weights, dataset, sequence, sampling, long_side)
        if remove and clip.geometry is None:
            raise InputError("--remove needs depth and cameras: add --weights small, or give a scene folder")
        result = refine_head(clip, refine) if head else extract_masks(clip, options, progress=progress)
    with atomic_folder(out, MASKS, overwrite) as folder:
        write_result(folder, clip, result, shape, explain=explain)
        if remove:
            write_static(folder / "static.ply", clip, result)
    summarise(clip, result, out)


def _is_given(ctx: typer.Context, name: str) -> bool:
    # By its name: newer typers bring a click of their own, whose enumeration is another.
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def require_used(given: set[str]) -> None:
    """Raise InputError when one of the options `given` would do nothing beside --head or --paper."""
    for mode, words in (("head", "--head only refines masks"), ("paper", "--paper settles it")):
        idle = [name for name in IDLE[mode] if name in given] if mode in given else []
        if idle:
            raise InputError(f"--{idle[0]} does nothing with --{mode}, because {words}: leave one of them out")


def mask_options(
    flow: str, segments: str, rule: str, floor: float, ego: Any, offsets: str, refine: str, paper: bool
) -> Any:
    """The library's options from the command line's; `--paper` switches off everything the paper does not have."""
    from openmore.masks.decision import Rule
    from openmore.masks.pipeline import PAPER, MaskOptions

    if paper:
        return replace(PAPER, flow=flow, segments=segments, ego=ego)
    try:
        relative = tuple(int(part) for part in offsets.split(","))
    except ValueError:
        raise InputError(f"--offsets {offsets!r} are not frame numbers: give for example -2,-1,1,2") from None
    return MaskOptions(flow, segments, ego, Rule(rule, floor), relative, refine=refine)  # type: ignore[arg-type]


def load_clip(
    source: str | None,
    scene: Path | None,
    weights: str | None,
    dataset: str | None,
    sequence: str | None,
    sampling: dict[str, Any],
    long_side: int,
) -> tuple[MaskClip, Shape]:
    """The clip at working resolution and (H, W) of the source's frames."""
    from openmore.masks.sources import is_scene, open_clip

    if (source is None) == (scene is None):
        raise InputError("give a SOURCE or --from-reconstruction SCENE, one of the two")
    if sequence is not None and dataset is None:
        raise InputError(f"--sequence {sequence} belongs to a data set: give --dataset too")
    if long_side < SMALLEST_SIDE:
        raise InputError(f"--long-side {long_side} is too small for flow: give at least {SMALLEST_SIDE} pixels")
    if weights is not None and (scene or dataset or is_scene(str(source))):
        raise InputError("--weights reconstructs plain pictures, and this source has cameras: leave --weights out")
    if scene is not None and not is_scene(scene):
        raise InputError(f"{scene} is no scene folder (it has no scene.json): make one with openmore reconstruct")
    if weights is not None:
        return from_weights(str(source), weights, sampling, long_side)
    return open_clip(str(scene or source), dataset, sequence, long_side, **sampling)


def from_weights(source: str, weights: str, sampling: dict[str, Any], long_side: int) -> tuple[MaskClip, Shape]:
    """Reconstruct first."""
    from openmore.masks.clip import clip_from_reconstruction, fit_clip
    from openmore.pipeline import reconstruct

    recon = reconstruct(source, weights, **sampling)
    clip = clip_from_reconstruction(recon, Path(source).stem, f"reconstruction with {weights}")
    return fit_clip(clip, long_side), recon.info.original_shape


def write_static(path: Path, clip: MaskClip, result: MaskResult) -> None:
    """The point cloud without what moves; unknown pixels are left out too."""
    from openmore.export import export
    from openmore.masks.clip import to_reconstruction

    export(to_reconstruction(clip, result.masks), path, static_only=True, confidence="0%")


def summarise(clip: MaskClip, result: MaskResult, out: Path) -> None:
    """What was found and where it lies."""
    import numpy as np

    moving = np.mean([(mask == 1).mean() for mask in result.masks])
    unknown = np.mean([(mask == 255).mean() for mask in result.masks])
    typer.echo(f"{len(clip)} frames -> {out}: {100 * moving:.1f} % moving, {100 * unknown:.1f} % unknown")
    if result.report.agreement is not None:
        typer.echo(f"agreement with the motion head: IoU {result.report.agreement['iou']:.2f}")
    typer.echo(f"look at {out / 'overlay.mp4'}, read {out / 'report.json'}")
