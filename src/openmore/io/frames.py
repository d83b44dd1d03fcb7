"""`frames(source)`: one lazy iterator over video files, folders, globs, pictures, arrays, cameras and streams.

Choices
- Sources and settings are checked at the call, frames are decoded at each step; nothing is kept.
- A damaged frame is reported through `on_skip` (or logged) and left out; its number stays its own.
- Nothing usable at all is an InputError: an empty iterator would fail later and further away.
"""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from openmore.errors import InputError, refusal
from openmore.io.clock import IMAGE_FPS
from openmore.io.images import IMAGE_SUFFIXES, ImageReader, list_images, natural_key, require_still
from openmore.io.selection import Position, Selection
from openmore.io.source import (
    DamagedFrame,
    EndedEarly,
    Frame,
    LazyFrame,
    Reader,
    SourceInfo,
    check_usable,
    missing_path,
)
from openmore.io.video_reader import open_video

__all__ = ["Frame", "Source", "SourceInfo", "describe", "frames", "open_source", "open_video"]

log = logging.getLogger(__name__)

MEMORY = "a uint8 array [S, H, W, 3], RGB 0..255"

Source = str | Path | int | np.ndarray | Sequence[str | Path]
OnSkip = Callable[[int, str], None]


def frames(
    source: Source,
    *,
    fps: float | None = None,
    stride: int = 1,
    start: Position | None = None,
    end: Position | None = None,
    max_frames: int | None = None,
    on_skip: OnSkip | None = None,
) -> Iterator[Frame]:
    """Frames of `source`, decoded one at a time.

    source: video file, folder of pictures, glob ("shots/*.jpg"), picture, list of pictures, uint8 array [S, H, W, 3],
    camera number, or rtsp/http/... URL. start, end (exclusive): frame number (int) or seconds (float, "4s", "1:30").
    fps: at most so many per second; stride: then every stride-th. on_skip(index, reason): called for every frame that
    was wanted and lost (default: a logged warning).

    Raises InputError for a source that cannot be opened or yields no frame, ConfigError for impossible settings.
    """
    selection = Selection(fps, stride, start, end, max_frames)
    return walk(open_source(source), selection, on_skip or _log_skip)


def describe(source: Source) -> SourceInfo:
    """Kind, frame count, shape and rate of `source`, decoding one frame at most. Raises InputError."""
    reader = open_source(source)
    try:
        return reader.info
    finally:
        reader.close()


def open_source(source: Source) -> Reader:
    """The reader that fits `source`. Raises InputError."""
    try:
        return _reader_of(source)
    except OSError as error:
        if (line := refusal(error)) is None:
            raise
        raise InputError(line) from error


def _reader_of(source: Source) -> Reader:
    if isinstance(source, np.ndarray):
        return ArrayReader(source)
    if isinstance(source, (list, tuple)):
        return _open_list(source)
    if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
        return open_video(int(source))
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            f"the source is {_kind(source)}: give a path, glob, camera number or URL, or frames in memory as {MEMORY}"
        )
    text = str(source)
    if not text:  # an unset shell variable; as a path it would be the current folder
        raise InputError("the source is an empty text: give a video, folder, glob, picture, camera number or URL")
    if "://" in text:
        return open_video(text)
    return _open_path(Path(text).expanduser(), text)


def _open_list(pictures: Sequence[str | Path]) -> Reader:
    if not pictures:
        raise InputError("the list of pictures is empty: give at least one path")
    for picture in pictures:
        if not isinstance(picture, (str, os.PathLike)):
            advice = "np.stack([np.asarray(picture) for picture in pictures])"
            raise InputError(f"the list of pictures holds {_kind(picture)}: give paths, or {MEMORY}, say {advice}")
    return ImageReader([Path(path).expanduser() for path in pictures], "images", f"the list of {len(pictures)} files")


def _kind(value: object) -> str:
    """What a thing is that is no source."""
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" {list(shape)}" if shape is not None else "")


def _open_path(path: Path, text: str) -> Reader:
    if path.is_dir():
        if (path / "scene.json").is_file() and (path / "rgb").is_dir():  # its only picture is the contact sheet
            raise InputError(f"{text} is a scene folder: its pictures are in {path / 'rgb'}")
        return ImageReader(list_images(path), "folder", text)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.exists():
        require_still(path)
        return ImageReader([path], "image", text)
    if path.exists():
        return open_video(path)
    if glob.has_magic(text):
        return _open_glob(text)
    if text.isdecimal():
        return open_video(int(text))
    raise missing_path(path)


def _open_glob(pattern: str) -> Reader:
    folder, name = os.path.split(Path(pattern).expanduser())
    if os.path.isdir(folder):  # brackets in its name are no pattern
        folder = glob.escape(folder)
    found = [Path(path) for path in glob.glob(os.path.join(folder, name), recursive=True)]
    images = sorted((p for p in found if p.suffix.lower() in IMAGE_SUFFIXES), key=lambda path: natural_key(str(path)))
    if not images:
        raise InputError(f"{pattern} matches no picture ({len(found)} other files): check the pattern, and quote it")
    return ImageReader(images, "glob", pattern)


class ArrayReader:
    """Frames that are in memory already."""

    def __init__(self, array: np.ndarray):
        self.label = "the array"
        if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not len(array):
            given = f"{array.dtype} {list(array.shape)}"
            raise InputError(f"the array of frames is {given}: expected {MEMORY}, at least one frame{_advice(array)}")
        check_usable(array.shape[1:3], "each frame of the array")
        self.array = array

    @property
    def info(self) -> SourceInfo:
        count, height, width, _ = self.array.shape
        return SourceInfo("array", count, (height, width), IMAGE_FPS)

    def read(self) -> Iterator[LazyFrame]:
        for index, image in enumerate(self.array):
            time_s, name = index / IMAGE_FPS, f"array#{index}"
            yield LazyFrame(index, time_s, name, partial(Frame, index, time_s, image, name))

    def close(self) -> None:
        """Nothing is open."""


def _advice(array: np.ndarray) -> str:
    """How to make frames of an array that looks like a known other convention."""
    steps = []
    if array.ndim == 4 and array.shape[1] == 3 and array.shape[-1] != 3:
        steps.append(".transpose(0, 2, 3, 1)")
    elif array.ndim == 4 and array.shape[-1] == 4:
        steps.append("[..., :3]")
    elif array.ndim == 3 and array.shape[-1] == 3:
        steps.append("[None]")
    if np.issubdtype(array.dtype, np.floating):
        steps.append(".round().astype(np.uint8), times 255 first if it is 0..1")
    return f"; give array{''.join(steps)}" if steps else ""


def walk(reader: Reader, selection: Selection, on_skip: OnSkip) -> Iterator[Frame]:
    """Decode what `selection` picks from an open reader, and close it at the end."""
    good = 0
    reason = ""
    try:
        for lazy in selection.apply(reader.read()):
            try:
                frame = lazy.load()
            except DamagedFrame as error:
                reason = f"frame {lazy.index}: {error}"
                on_skip(lazy.index, str(error))
                continue
            yield frame
            good += 1
            if good == selection.max_frames:
                return
    except EndedEarly as error:
        reason = str(error)
        on_skip(error.index, str(error))
    finally:
        reader.close()
    if not good:
        raise InputError(_nothing_left(reader, selection, reason))


def _nothing_left(reader: Reader, selection: Selection, reason: str) -> str:
    if reason:
        return f"no frame of {reader.label} can be decoded ({reason}): give another file"
    return f"no frame of {reader.label} is left with {selection.describe()}: choose a window inside the source"


def _log_skip(index: int, reason: str) -> None:
    log.warning("frame %d is skipped: %s", index, reason)
