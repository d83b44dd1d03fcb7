"""`openmore stream SOURCE`: live or recorded video, frame by frame, with constant latency and memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from openmore.cli.stream_job import Job, summarise
from openmore.errors import ConfigError

MOST_ITERATIONS = 4  # of every published camera head; weights with fewer refuse for themselves


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(stream)


def stream(
    source: Annotated[str, typer.Argument(help="Video, folder, glob, camera number, or rtsp/http/udp URL.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Scene folder to write as frames come.")] = None,
    tum: Annotated[bool, typer.Option("--tum", help="Print the trajectory to stdout as it comes.")] = False,
    view: Annotated[bool, typer.Option("--view", help="Show the growing scene in the browser.")] = False,
    weights: Annotated[str, typer.Option(help="Name, file, folder, hf:owner/name or untrained:PRESET.")] = "small",
    policy: Annotated[str, typer.Option(help="What is remembered: window, all, specials or keyframes.")] = "window",
    window: Annotated[int | None, typer.Option(help="Past frames kept.", show_default="16")] = None,
    anchors: Annotated[int, typer.Option(help="First frames that are never dropped.")] = 1,
    budget_mb: Annotated[float | None, typer.Option(help="Cache budget instead of a window, megabytes.")] = None,
    old: Annotated[int, typer.Option(help="Policy specials: older frames remembered by their camera tokens.")] = 64,
    every: Annotated[int, typer.Option(help="Policy keyframes: every n-th frame is one.")] = 5,
    refine: Annotated[
        str, typer.Option(help="none, or geometry: each camera solved against a sliding window of keyframes.")
    ] = "none",
    intrinsics: Annotated[
        str | None, typer.Option(help="Known lens, for --refine geometry: fx,fy,cx,cy in source pixels, or a file.")
    ] = None,
    refine_every: Annotated[int | None, typer.Option(help="Refine the held cameras after every n frames.")] = None,
    save_state: Annotated[Path | None, typer.Option(help="Save the running stream here at the end.")] = None,
    resume_state: Annotated[Path | None, typer.Option(help="Go on with a saved stream.")] = None,
    fps: Annotated[float | None, typer.Option(help="Sample the source at this rate.")] = None,
    stride: Annotated[int, typer.Option(help="Use every n-th frame.")] = 1,
    start: Annotated[str | None, typer.Option(help="First frame: a number (120) or a time (4s, 1:30).")] = None,
    end: Annotated[str | None, typer.Option(help="Where to stop, exclusive: a number or a time.")] = None,
    max_frames: Annotated[int | None, typer.Option(help="Stop after this many frames.")] = None,
    long_side: Annotated[int | None, typer.Option(help="Long side in pixels the network sees.")] = None,
    points: Annotated[bool, typer.Option("--points", help="Also run the point head.")] = False,
    iterations: Annotated[int | None, typer.Option(help="Camera refinements per frame, 1 to 4.")] = None,
    graphs: Annotated[bool, typer.Option("--graphs", help="Replay steps as CUDA graphs.")] = False,
    reconnects: Annotated[int, typer.Option(help="Attempts in a row to open a lost live source again.")] = 5,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing OUT.")] = False,
) -> None:
    """Reconstruct a stream frame by frame: each frame's prediction is final when it comes out. Ctrl-C ends it."""
    from openmore.io.output import FILE, require_free
    from openmore.io.scene_writer import SCENE

    if out is not None:
        require_free(out, SCENE, overwrite, source)
    if save_state is not None:  # a stream that goes on may keep its state in the same file
        require_free(save_state, FILE, overwrite or save_state == resume_state)
    if refine_every is not None and (out is None or refine_every < 1):
        raise ConfigError("--refine-every takes 1 or more, and --out for the refined trajectory")
    if iterations is not None and not 1 <= iterations <= MOST_ITERATIONS:
        raise ConfigError(f"--iterations {iterations}: expected 1..{MOST_ITERATIONS}")
    if refine not in ("none", "geometry"):
        raise ConfigError(f"--refine {refine}: a stream knows none and geometry; --refine-every re-aggregates cameras")
    if refine == "geometry" and (save_state or resume_state):  # the map of its window would begin anew elsewhere
        given = "--save-state" if save_state else "--resume-state"
        raise ConfigError(f"{given} with --refine geometry: a state holds no window of keyframes, leave one out")
    from openmore.model.more import MoRe
    from openmore.pipeline import Options, outputs_of
    from openmore.refinement.stream.window import SlidingWindow
    from openmore.streaming.policy import choose_policy
    from openmore.streaming.session import StreamingSession
    from openmore.streaming.streamers import InputStreamer, OutputStreamer

    selection: dict[str, Any] = {
        "fps": fps,
        "stride": stride,
        "start": start,
        "end": end,
        "max_frames": max_frames,
    }
    options = Options(
        mode="stream", long_side=long_side, points=points, refine=refine, intrinsics=intrinsics, **selection
    )
    polish = SlidingWindow(options.intrinsics) if refine == "geometry" else None
    memory = choose_policy(policy, window=window, anchors=anchors, budget_mb=budget_mb, old=old, every=every)
    model = MoRe.from_pretrained(weights, device=device, dtype=dtype).pack()
    session = StreamingSession(
        model,
        policy=memory,
        outputs=outputs_of(model, options),
        iterations=iterations,
        refinable=refine_every is not None,
        long_side=long_side,
        graphs=graphs,
    )
    if resume_state is not None:
        session.load(resume_state)
    with session, InputStreamer(source, reconnects=reconnects, **selection) as frames:
        sinks, live_view = open_sinks(out, overwrite, tum, view)
        with OutputStreamer(sinks) as output:
            job = Job(session, frames, output, options, source, refine_every, polish)
            error = job.run()
            job.finish(out, save_state, error)
    summarise(job, out, quiet=tum)
    if error is not None:
        raise error
    if live_view is not None:
        keep_showing(live_view)


def open_sinks(out: Path | None, overwrite: bool, tum: bool, view: bool) -> tuple[list[Any], Any]:
    """The sinks that were asked for, and the live view if it was."""
    from openmore.streaming.sinks import Callback, SceneFolder, TumLines

    sinks: list[Any] = []
    if out is not None:
        sinks.append(SceneFolder(out, overwrite))
    if tum:
        sinks.append(TumLines(sys.stdout))
    if not view:
        return sinks, None
    from openmore.viewer.live import LiveView
    from openmore.viewer.server import address, open_server

    live_view = LiveView(open_server())
    typer.echo(address(live_view.server), err=True)
    return [*sinks, Callback(live_view.add_frame)], live_view


def keep_showing(live_view: Any) -> None:
    """Leave the finished scene in the browser until Ctrl-C."""
    live_view.finish()
    typer.echo("the stream has ended; Ctrl-C closes the view", err=True)
    try:
        live_view.server.sleep_forever()
    except KeyboardInterrupt:
        pass
    finally:
        live_view.close()
