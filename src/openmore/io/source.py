"""What a source of frames is: the frame, the description, and how readers hand frames over without decoding them.

Choices
- A reader yields `LazyFrame`s: number, time and a function that decodes. Selection looks at number and time only, so a
  frame that is not wanted is never converted.
- A frame that cannot be decoded raises `DamagedFrame` when loaded; a source that stops before its own declared end
  raises `EndedEarly`. Both are reported and never stop the good frames.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from openmore.errors import InputError

MIN_SIDE = 14  # pixels: one patch of every published model; a smaller picture holds nothing to match


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int  # number in the source, counted before any selection
    time_s: float  # seconds on the source's own clock: a video's starts at 0, stamped pictures keep their stamps
    image: np.ndarray  # [H, W, 3] uint8 RGB, upright
    name: str  # file name, or "clip.mp4#12"
    original_shape: tuple[int, int] = (0, 0)  # (H, W) in the source; differs from image.shape for giant pictures only

    def __post_init__(self) -> None:
        if self.original_shape == (0, 0):
            object.__setattr__(self, "original_shape", self.image.shape[:2])


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source without decoding it."""

    kind: str  # "video", "folder", "glob", "images", "image", "array", "camera", "url"
    frame_count: int | None  # as declared, or estimated from the length; None: live or not declared
    shape: tuple[int, int]  # (height, width) of the upright frames, pixels
    fps: float | None  # average frames per second; None: unknown
    has_end: bool = False  # a recording, though `frame_count` may be unknown

    @property
    def is_live(self) -> bool:
        """True for sources that produce frames whether they are read or not."""
        return self.kind in ("camera", "url") and self.frame_count is None and not self.has_end


class DamagedFrame(Exception):
    """A frame cannot be decoded; the message is the reason that is reported."""


class EndedEarly(Exception):
    """The source stopped before its declared end; `index` is the first missing frame."""

    def __init__(self, index: int, reason: str):
        super().__init__(reason)
        self.index = index


@dataclass(frozen=True)
class LazyFrame:
    """A frame that is decoded on demand."""

    index: int
    time_s: float
    name: str
    load: Callable[[], Frame]  # raises DamagedFrame


class Reader(Protocol):
    """An open source. `read` may be called once."""

    label: str  # the source as the user knows it, for messages

    @property
    def info(self) -> SourceInfo: ...
    def read(self) -> Iterator[LazyFrame]: ...
    def close(self) -> None: ...


def missing_path(path: Path) -> InputError:
    """The error for a path that does not exist, offering names that look like it."""
    if path.is_symlink():
        return InputError(
            f"{path} is a link to {path.readlink()}, which is not there: mend the link or give its target"
        )
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    if parent != path.parent:
        return InputError(
            f"{path} does not exist: its folder {path.parent} is missing, {parent} is the last that exists"
        )
    near = difflib.get_close_matches(path.name, [entry.name for entry in parent.iterdir()], n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"nothing in {parent.resolve()} has a similar name"
    return InputError(f"{path} does not exist: {hint}")


def check_usable(shape: tuple[int, int], label: str) -> None:
    """Raise InputError for pictures too small to reconstruct anything from."""
    height, width = shape
    if min(height, width) < MIN_SIDE:
        raise InputError(f"{label} is {width}x{height} pixels: at least {MIN_SIDE}x{MIN_SIDE} are needed")
