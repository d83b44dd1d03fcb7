"""`openmore reconstruct SOURCE -o OUT`: a video, folder, glob or image becomes a scene folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from openmore.cli.endings import kept
from openmore.cli.progress import progress_bar


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(reconstruct)


def reconstruct(
    source: Annotated[str, typer.Argument(help="Video, folder of images, glob or single image.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Scene folder to write.")],
    weights: Annotated[str, typer.Option(help="Name, file, folder, hf:owner/name or untrained:PRESET.")] = "small",
    mode: Annotated[str, typer.Option(help="full: the whole clip at once; stream: frame by frame.")] = "full",
    fps: Annotated[float | None, typer.Option(help="Sample the source at this rate.")] = None,
    stride: Annotated[int, typer.Option(help="Use every n-th frame.")] = 1,
    start: Annotated[str | None, typer.Option(help="First frame: a number (120) or a time (4s, 1:30).")] = None,
    end: Annotated[str | None, typer.Option(help="Where to stop, exclusive: a number or a time.")] = None,
    max_frames: Annotated[int | None, typer.Option(help="Stop after this many frames.")] = None,
    long_side: Annotated[int | None, typer.Option(help="Long side in pixels the network sees.")] = None,
    points: Annotated[bool, typer.Option("--points", help="Also run the point head.")] = False,
    policy: Annotated[
        str, typer.Option(help="Stream mode: what is remembered: window, all, specials or keyframes.")
    ] = "window",
    window: Annotated[int | None, typer.Option(help="Stream mode: past frames kept.", show_default="16")] = None,
    anchors: Annotated[int, typer.Option(help="Stream mode: first frames that are never dropped.")] = 1,
    budget_mb: Annotated[float | None, typer.Option(help="Stream mode: cache budget instead of a window.")] = None,
    refine: Annotated[
        str, typer.Option(help="auto, none, attention (duplicate camera tokens) or geometry (solved from matches).")
    ] = "auto",
    flow: Annotated[
        str, typer.Option(help="Geometry's flow: dis, dis-fast, or learned: sea-raft-s, -m, -l, sea-raft-m:FILE.")
    ] = "dis",
    fusion: Annotated[
        str, typer.Option(help="auto: small's measured depth and masks are settled by a learned network; or none.")
    ] = "auto",
    global_pass: Annotated[
        bool, typer.Option("--global-pass", help="Stream mode with geometry: solve the whole clip at the end, too.")
    ] = False,
    intrinsics: Annotated[
        str | None, typer.Option(help="Known lens: fx,fy,cx,cy in source pixels, or a file with that row.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    video: Annotated[
        bool, typer.Option("--video/--no-video", help="Also write OUT/preview.mp4: picture, depth, motion, path.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing OUT.")] = False,
) -> None:
    """Reconstruct cameras, depth, confidence and moving-object masks from a clip."""
    from openmore.io.output import require_free
    from openmore.io.scene_writer import SCENE

    require_free(out, SCENE, overwrite, source)
    from openmore.model.more import MoRe
    from openmore.pipeline import Options
    from openmore.pipeline import reconstruct as run

    options: dict[str, Any] = {
        "mode": mode,
        "fps": fps,
        "stride": stride,
        "start": start,
        "end": end,
        "max_frames": max_frames,
        "long_side": long_side,
        "points": points,
        "policy": policy,
        "window": window,
        "anchors": anchors,
        "budget_mb": budget_mb,
        "refine": refine,
        "flow": flow,
        "fusion": fusion,
        "intrinsics": intrinsics,
        "global_pass": global_pass,
    }
    model = MoRe.from_pretrained(weights, device=device, dtype=dtype).pack()
    announce(source, model, Options(**options))
    with progress_bar() as progress:
        scene = run(source, model, progress=progress, **options)
        progress("write", 0, len(scene))
        scene.save(out, overwrite=overwrite)
        progress("write", len(scene), len(scene))
        if video:
            write_film(scene, out, progress)
    summarise(scene, out)


def write_film(scene: Any, out: Path, progress: Any) -> None:
    """OUT/preview.mp4. The scene is in its place before: a film that fails, or is not waited for, costs no scene."""
    from openmore.viewer.preview_video import write_preview_video

    film = out / "preview.mp4"
    with kept([out], f"the film alone: openmore view {shlex.quote(str(out))} --video {shlex.quote(str(film))}"):
        write_preview_video(scene, film, overwrite=True, progress=progress)


def announce(source: str, model: Any, options: Any) -> None:
    """One line with the time and memory the network will take, before it starts.

    Geometry often takes longer, but how long depends on what the pictures show: it is named and not estimated.
    """
    from openmore.io.frames import describe
    from openmore.io.sizing import Sizing
    from openmore.model.estimate import estimate_full, gflop_of_frame, matmul_gflops
    from openmore.pipeline.run import wants_geometry
    from openmore.streaming.policy import DEFAULT_WINDOW
    from openmore.streaming.stream import backbone_dtype

    info = describe(source)
    if info.frame_count is None or info.shape is None:
        return
    count = planned_frames(info, options)
    shape = Sizing.fit(info.shape, options.long_side or model.config.image_size, model.config.patch_size).model_shape
    dtype = backbone_dtype(model)
    estimate = estimate_full(model.config, count, shape, dtype)
    gflop, memory = estimate.gflop, estimate.activation_bytes / 1e9
    if options.mode == "stream":
        past = count if options.policy == "all" else options.window or DEFAULT_WINDOW
        visible = min(count, past + options.anchors + 1)
        gflop, memory = gflop_of_frame(model.config, shape, visible) * count, 0.0
    seconds = gflop / matmul_gflops(model.device, dtype)
    memory_too = f" and {memory:.1f} GB" if memory else ""
    more = "; geometry comes on top" if wants_geometry(options, model) and count > 1 else ""
    text = f"{count} frames of {shape[1]}x{shape[0]}, about {seconds:.0f} s{memory_too} for the network{more}"
    typer.echo(text, err=True)


def planned_frames(info: Any, options: Any) -> int:
    """How many frames the options select, as far as the source says."""
    from openmore.io.selection import parse_position

    rate = info.fps or 30.0  # pictures have no clock; the reader counts 30 a second too

    def frame_number(position: Any, default: float) -> float:
        parsed = parse_position(position)
        return default if parsed is None else parsed * (1.0 if isinstance(parsed, int) else rate)

    stop = min(frame_number(options.end, info.frame_count), info.frame_count)
    count = max(0.0, stop - frame_number(options.start, 0.0)) * min(1.0, (options.fps or rate) / rate)
    count = -(-round(count) // options.stride)
    return max(1, min(count, options.max_frames or count))


def summarise(scene: Any, out: Path) -> None:
    """What was made and where, warnings included."""
    for warning in scene.info.warnings:
        typer.echo(f"warning: {warning}", err=True)
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in scene.info.timings_s.items())
    typer.echo(f"{len(scene)} frames -> {out} ({seconds})")
    film = ", preview.mp4" if (out / "preview.mp4").exists() else ""
    typer.echo(f"look at {out / 'preview.png'}{film}, or: openmore view {shlex.quote(str(out))}")
