"""`openmore stream SOURCE`: live or recorded video, frame by frame, with constant latency and memory."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmore.errors import ConfigError, OpenMoReError

if TYPE_CHECKING:
    from openmore.io.frames import Frame
    from openmore.pipeline import Options
    from openmore.refinement.window import SlidingWindow
    from openmore.streaming.live import Meter
    from openmore.streaming.session import Refined, StreamingSession
    from openmore.streaming.streamers import InputStreamer, OutputStreamer
    from openmore.types import FramePrediction

STATUS_EVERY_S = 0.2
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
        require_free(out, SCENE, overwrite)
    if save_state is not None:  # a stream that goes on may keep its state in the same file
        require_free(save_state, FILE, overwrite or save_state == resume_state)
    if refine_every is not None and (out is None or refine_every < 1):
        raise ConfigError("--refine-every takes 1 or more, and --out for the refined trajectory")
    if iterations is not None and not 1 <= iterations <= MOST_ITERATIONS:
        raise ConfigError(f"--iterations {iterations}: expected 1..{MOST_ITERATIONS}")
    if refine not in ("none", "geometry"):
        raise ConfigError(f"--refine {refine}: a stream knows none and geometry; --refine-every re-aggregates cameras")
    from openmore.model.more import MoRe
    from openmore.pipeline import Options, outputs_of
    from openmore.refinement.window import SlidingWindow
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


class Job:
    """One run of the verb: the loop, its status line and its report."""

    def __init__(
        self,
        session: StreamingSession,
        frames: InputStreamer,
        output: OutputStreamer,
        options: Options,
        source: str,
        refine_every: int | None,
        polish: SlidingWindow | None = None,
    ):
        from openmore.streaming.live import Meter
        from openmore.streaming.sinks import RefinedPath

        self.session, self.frames, self.output = session, frames, output
        self.options, self.source, self.refine_every = options, source, refine_every
        self.polish = polish
        self.meter, self.refined, self.status = Meter(), RefinedPath(), StatusLine()
        self.cache_mb = 0.0
        self.warnings: list[str] = []
        self._times_s: dict[int, float] = {}

    def run(self) -> OpenMoReError | None:
        """Until the source ends, Ctrl-C, or an error, which is returned: what was predicted is still to be saved."""
        from openmore.streaming.live import run

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's way to say Ctrl-C
        try:
            run(
                self.session,
                self.frames,
                self.output,
                meter=self.meter,
                on_step=self._step,
                polish=self._polish if self.polish is not None else None,
                refine_every=self.refine_every,
                on_refined=self._refine,
            )
        except KeyboardInterrupt:
            self.warnings.append("stopped by the user")
        except OpenMoReError as error:
            return error
        finally:
            self.status.clear()
        return None

    def finish(self, out: Path | None, save_state: Path | None, error: OpenMoReError | None) -> None:
        """Close the output with its report, save the refined path and the state."""
        from openmore.pipeline import Clock, scene_info

        if not self.meter.frames or self.session.sizing is None:
            return
        reasons = [*self.session.warnings, *self.frames.warnings, *self.warnings]
        reasons += [] if self.polish is None else self.polish.warnings
        reasons += [] if error is None else [f"ended by an error: {error}"]
        clock = Clock({"network": round(self.meter.network_s, 4)})
        info = scene_info(
            self.source,
            self.session.model,
            self.options,
            self.session.sizing,
            clock,
            reasons,
            self.frames.skipped,
        )
        if self.polish is not None:
            info.extra["refinement_window"] = self.polish.report()
        self.warnings = info.warnings
        try:
            self.output.finish(info)
            if out is not None and self.refine_every:
                self.refined.save(out / "refined_trajectory.txt")
        finally:  # a scene that cannot be written does not cost the state, nor the other way round
            if save_state is not None:
                self.session.save(save_state)

    def _step(self, prediction: FramePrediction) -> None:
        self.cache_mb = self.session.memory_mb
        if self.refine_every:
            self._times_s[self.session.frames_seen - 1] = prediction.time_s
        self.status.show(self.line)

    def _polish(self, frame: Frame, prediction: FramePrediction) -> FramePrediction:
        assert self.polish is not None
        return self.polish.push(frame.image, prediction)

    def _refine(self, refined: Refined) -> None:
        self.refined.add(refined, self._times_s)

    def line(self) -> str:
        """Frames, rate, latency, cache and losses so far."""
        m: Meter = self.meter
        return (
            f"{m.frames} frames, {m.fps:.1f} fps, latency p50 {m.latency_ms(50):.0f} p95 {m.latency_ms(95):.0f} ms, "
            f"cache {self.cache_mb:.1f} MB, {self.frames.dropped} dropped"
        )


class StatusLine:
    """One line on a terminal's stderr that is written over; nothing where nobody looks."""

    def __init__(self) -> None:
        self._shown_s, self._active = 0.0, sys.stderr.isatty()

    def show(self, line: Any) -> None:
        """Call `line` for the text, a few times a second at most."""
        now = time.monotonic()
        if self._active and now - self._shown_s >= STATUS_EVERY_S:
            self._shown_s = now
            typer.echo(f"\r\x1b[K{line()}", err=True, nl=False)

    def clear(self) -> None:
        """Leave an empty line behind."""
        if self._active:
            typer.echo("\r\x1b[K", err=True, nl=False)


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


def summarise(job: Job, out: Path | None, quiet: bool) -> None:
    """What was made and where, warnings included; on stderr when stdout carries the trajectory."""
    for warning in job.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{job.line()}{f' -> {out}' if out else ''}", err=quiet)
