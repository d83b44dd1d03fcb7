"""One run of `openmore stream`: the loop, its status line and its report."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from openmore.cli.endings import Stopped
from openmore.errors import OpenMoReError

if TYPE_CHECKING:
    from openmore.io.frames import Frame
    from openmore.pipeline import Options
    from openmore.refinement.stream.window import SlidingWindow
    from openmore.streaming.live import Meter
    from openmore.streaming.session import Refined, StreamingSession
    from openmore.streaming.streamers import InputStreamer, OutputStreamer
    from openmore.types import FramePrediction

STATUS_EVERY_S = 0.2


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
        self._refined_frames = 0  # frames there were when the cameras were refined last

    def run(self) -> OpenMoReError | BrokenPipeError | None:
        """Until the source ends, a signal, or an error, which is returned: what was predicted is still to be saved."""
        from openmore.streaming.live import run

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
        except KeyboardInterrupt as stop:
            if not self.meter.frames:
                raise
            self.warnings.append(f"stopped by {stop.number.name if isinstance(stop, Stopped) else 'the user'}")
        except (OpenMoReError, BrokenPipeError) as error:  # the latter: nobody reads the trajectory any more
            return error
        finally:
            self.status.clear()
        return None

    def finish(self, out: Path | None, save_state: Path | None, error: Exception | None) -> None:
        """Close the output with its report, refine what is left, save the refined path and the state."""
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
                self._save_refined(out / "refined_trajectory.txt")
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

    def _save_refined(self, path: Path) -> None:
        """The refined path of all frames, whatever ended the stream: `live.run` refines at the source's end only."""
        try:
            if self._refined_frames != self.meter.frames:
                self._refine(self.session.refine())
        finally:  # what was refined before stays good
            self.refined.save(path)

    def _refine(self, refined: Refined) -> None:
        self.refined.add(refined, self._times_s)
        self._refined_frames = self.meter.frames

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


def summarise(job: Job, out: Path | None, quiet: bool) -> None:
    """What was made and where, warnings included; on stderr when stdout carries the trajectory."""
    for warning in job.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{job.line()}{f' -> {out}' if out else ''}", err=quiet)
