"""Which frames of a source are used: a window, a rate, a stride, a count, applied in this order.

Choices
- A position is a frame number (`120`, "120") or a time (`4.0`, "4s", "4.0s", "1:30"): int and digits count frames,
  float, "s" and ":" are seconds since the first frame. `end` is exclusive, like a slice.
- `fps` keeps the first frame of every 1/fps interval of true time, so a variable frame rate comes out even.
- Frames before the window are decoded and dropped, not jumped over: frame numbers stay exact for every codec.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral

from openmore.checks import finite, optional, shown, whole
from openmore.errors import ConfigError
from openmore.io.source import LazyFrame

Position = int | float | str


@dataclass(frozen=True)
class Selection:
    """Validated selection. Raises ConfigError for values that select nothing."""

    fps: float | None = None  # at most this many frames per second of source time
    stride: int = 1  # then every stride-th frame
    start: Position | None = None
    end: Position | None = None  # exclusive
    max_frames: int | None = None  # good frames handed out at most

    def __post_init__(self) -> None:
        # Types, too: these come from JSON and notebooks, and a stride of 1.5 would pick frames without a plan.
        if not optional(finite(0)).fits(self.fps) or self.fps == 0:
            raise ConfigError(f"fps {self.fps!r} is not a rate: give a number above 0")
        if not whole(1).fits(self.stride):
            raise ConfigError(f"stride {self.stride!r} is not a step: give 1 (every frame) or another whole number")
        if not optional(whole(1)).fits(self.max_frames):
            raise ConfigError(f"max_frames {self.max_frames!r} leaves nothing: give 1 or another whole number")
        start, end = parse_position(self.start), parse_position(self.end)
        if start is not None and end is not None and type(start) is type(end) and end <= start:
            raise ConfigError(f"end {self.end} is not after start {self.start}: the window is empty")

    def apply(self, frames: Iterator[LazyFrame]) -> Iterator[LazyFrame]:
        """The selected frames. `max_frames` is left to the caller, who knows which frames are good."""
        start, end = parse_position(self.start), parse_position(self.end)
        kept, last_slot, origin = 0, None, None
        for frame in frames:
            origin = frame.time_s if origin is None else origin
            elapsed = frame.time_s - origin
            if start is not None and not _reached(frame.index, elapsed, start):
                continue
            if end is not None and _reached(frame.index, elapsed, end):
                return
            if self.fps is not None:
                slot = math.floor(elapsed * self.fps + 1e-6)
                if slot == last_slot:
                    continue
                last_slot = slot
            if kept % self.stride == 0:
                yield frame
            kept += 1

    def describe(self) -> str:
        """The settings that differ from "everything", for messages."""
        given = {
            "fps": self.fps,
            "start": self.start,
            "end": self.end,
            "stride": self.stride if self.stride > 1 else None,
        }
        return ", ".join(f"{name}={value}" for name, value in given.items() if value is not None) or "all frames"


def parse_position(value: Position | None) -> int | float | None:
    """A frame number (int) or a time in seconds (float). Raises ConfigError for anything else."""
    if value is None:
        return None
    if isinstance(value, str):
        return _parse_text(value.strip())
    if not finite(0).fits(value):
        raise ConfigError(
            f"position {shown(value)} is not a place in a source: give a frame number or seconds, 0 or more"
        )
    return int(value) if isinstance(value, Integral) else float(value)


def _parse_text(text: str) -> int | float:
    if re.fullmatch(r"\d+", text):
        return int(text)
    if match := re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)s?", text):
        return float(match[1])
    if match := re.fullmatch(r"(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)", text):
        hours, minutes, seconds = match.groups()
        return 3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(seconds)
    raise ConfigError(f"position {text!r} is not understood: give a frame number (120), seconds (4.5s) or 1:30")


def _reached(index: int, elapsed_s: float, position: int | float) -> bool:
    # Times are rounded to the container's clock, so a frame may carry 3.9999999 for 4 s.
    return elapsed_s >= position - 1e-6 if isinstance(position, float) else index >= position
