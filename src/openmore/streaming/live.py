"""The loop of a live reconstruction: frames from an input, through a session, to an output, with a running report.

    with InputStreamer(0) as frames, StreamingSession(model, window=16) as session, OutputStreamer(sinks) as out:
        run(session, frames, out)

The order is decode -> push -> hand over -> forget: nothing but the session's cache grows.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from openmore.io.frames import Frame
from openmore.streaming.session import Refined, StreamingSession
from openmore.streaming.streamers import OutputStreamer
from openmore.types import FramePrediction

RECENT = 256  # frames that latencies and the rate are computed over


class Meter:
    """Rate and latency of the recent frames."""

    def __init__(self) -> None:
        self.frames = 0
        self.network_s = 0.0  # in total
        self._latencies_s: deque[float] = deque(maxlen=RECENT)
        self._arrivals_s: deque[float] = deque(maxlen=RECENT)

    def add(self, latency_s: float) -> None:
        """Note a frame that took `latency_s` from the input to the output."""
        self.frames += 1
        self.network_s += latency_s
        self._latencies_s.append(latency_s)
        self._arrivals_s.append(time.monotonic())

    @property
    def fps(self) -> float:
        """Frames per second over the recent frames, waiting included."""
        span = self._arrivals_s[-1] - self._arrivals_s[0] if len(self._arrivals_s) > 1 else 0.0
        return (len(self._arrivals_s) - 1) / span if span else 0.0

    def latency_ms(self, percentile: float) -> float:
        """A percentile of the recent latencies, milliseconds."""
        return 1e3 * float(np.percentile(self._latencies_s, percentile)) if self._latencies_s else 0.0


def run(
    session: StreamingSession,
    frames: Iterable[Frame],
    output: OutputStreamer,
    *,
    meter: Meter | None = None,
    on_step: Callable[[FramePrediction], None] | None = None,
    polish: Callable[[Frame, FramePrediction], FramePrediction] | None = None,
    refine_every: int | None = None,
    on_refined: Callable[[Refined], None] | None = None,
) -> int:
    """Push every frame and hand every prediction over; returns the number of frames.

    polish: makes the final prediction of each frame from the frame and the network's. refine_every: also refine the
    cameras of the held frames after each so many frames and at the end, and pass them to `on_refined`. Raises
    what the session, the input or the output raises; what was handed over stays good.
    """
    meter = meter or Meter()
    for frame in frames:
        begun = time.perf_counter()
        prediction = session.push(frame)
        if polish is not None:
            prediction = polish(frame, prediction)
        meter.add(time.perf_counter() - begun)
        output.put(prediction)
        if on_step is not None:
            on_step(prediction)
        if refine_every and on_refined is not None and meter.frames % refine_every == 0:
            on_refined(session.refine())
    if refine_every and on_refined is not None and meter.frames % refine_every:
        on_refined(session.refine())
    return meter.frames
