"""Sources that run on by themselves: cameras and network streams that come back after a break, and queues.

Choices
- Both are readers like those of `openmore.io`, so selection and damaged frames work as for files.
- After a break the numbering goes on and time stands where the clock stands: a stream never runs backwards.
- A source that is lost for good ends the stream; what was received stays good.
- A recording that tells no length looks like a live source, and FFmpeg reports its end as it reports breaks. It shows
  when it is opened again: over http it begins with the same picture, or by then tells its length. That is its end.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from openmore.errors import InputError
from openmore.io.frames import open_source
from openmore.io.source import DamagedFrame, EndedEarly, Frame, LazyFrame, Reader, SourceInfo

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 10.0
QUEUE_POLL_S = 0.1


class Reconnecting:
    """A live reader that is opened again when it breaks off, `attempts` times in a row at most."""

    def __init__(self, source: Any, reader: Reader, stop: threading.Event, attempts: int, wait_s: float):
        """`wait_s`: seconds before the first attempt, doubled after each failure. `stop` ends the waiting."""
        self.label, self.info = reader.label, reader.info
        self.reconnected = 0  # times
        self.lost = False  # whether the source went away for good
        self.recording = False  # whether it turned out to be one, which ends
        self._source, self._reader, self._stop = source, reader, stop
        self._attempts, self._wait_s = attempts, wait_s
        self._first: np.ndarray | None = None  # picture of the last connection, over http

    def read(self) -> Iterator[LazyFrame]:
        """Frames of all connections as one sequence; ends when the source stays away or starts over."""
        begun, base, base_s, attempts = time.monotonic(), 0, 0.0, 0
        while True:
            last = base - 1
            for lazy in self._until_it_breaks():
                if last < base and self._starts_over(lazy):
                    self.recording = True
                    return
                attempts, last = 0, base + lazy.index
                yield _shifted(lazy, base, base_s)
            reopened = False
            while not reopened:
                if attempts == self._attempts or self._stop.is_set():
                    self.lost = not self._stop.is_set()
                    return
                reopened = self._reopen(min(self._wait_s * 2**attempts, LONGEST_WAIT_S))
                attempts += 1
            base, base_s = last + 1, time.monotonic() - begun

    def close(self) -> None:
        self._reader.close()

    def _until_it_breaks(self) -> Iterator[LazyFrame]:
        try:
            yield from self._reader.read()
        except EndedEarly as error:
            log.info("%s: %s", self.label, error)

    def _starts_over(self, lazy: LazyFrame) -> bool:
        """Whether this connection, of which `lazy` is the first frame, gives a recording from its start."""
        before = self._first
        self._first = _picture(lazy) if str(self._source).startswith(("http://", "https://")) else None
        same = before is not None and self._first is not None and np.array_equal(before, self._first)
        return same or (self.reconnected > 0 and not self._reader.info.is_live)

    def _reopen(self, wait_s: float) -> bool:
        self._reader.close()
        if self._stop.wait(wait_s):
            return False
        try:
            self._reader = open_source(self._source)
        except InputError as error:
            log.info("%s", error)
            return False
        self.reconnected += 1
        log.warning("%s broke off and was opened again", self.label)
        return True


def _picture(lazy: LazyFrame) -> np.ndarray | None:
    """[H, W, 3] uint8, None when it is damaged."""
    try:
        return lazy.load().image
    except DamagedFrame:
        return None


def _shifted(lazy: LazyFrame, index: int, time_s: float) -> LazyFrame:
    """The same frame, numbered and timed within the whole sequence."""
    if not index:
        return lazy
    index, time_s = lazy.index + index, lazy.time_s + time_s

    def load() -> Frame:
        return replace(lazy.load(), index=index, time_s=time_s)

    return LazyFrame(index, time_s, lazy.name, load)


class QueueReader:
    """Frames that another part of the program puts into a queue: `Frame`s or uint8 [H, W, 3]; None ends it."""

    def __init__(self, frames: queue.Queue[Any], stop: threading.Event):
        self.label = "the queue"
        self.info = SourceInfo("queue", None, (0, 0), None)
        self._frames, self._stop = frames, stop

    def read(self) -> Iterator[LazyFrame]:
        """Frames as they come, numbered and stamped on arrival unless they carry their own."""
        begun, count = time.monotonic(), 0
        while not self._stop.is_set():
            try:
                item = self._frames.get(timeout=QUEUE_POLL_S)
            except queue.Empty:
                continue
            if item is None:
                return
            yield _queued(item, count, time.monotonic() - begun)
            count += 1

    def close(self) -> None:
        """The queue belongs to whoever made it."""


def _queued(item: Any, count: int, time_s: float) -> LazyFrame:
    frame = item
    if not isinstance(item, Frame):
        image = np.asarray(item)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(
                f"item {count} of the queue is {image.dtype} {list(image.shape)}: put Frames, uint8 [H, W, 3] arrays, "
                "or None to end"
            )
        frame = Frame(count, time_s, image, f"queue#{count}")
    return LazyFrame(frame.index, frame.time_s, frame.name, partial(_itself, frame))


def _itself(frame: Frame) -> Frame:
    return frame


def open_reader(source: Any, stop: threading.Event, attempts: int, wait_s: float) -> Reader:
    """A reader for anything `openmore.io.frames` takes, or a queue. Raises InputError."""
    if isinstance(source, queue.Queue):
        return QueueReader(source, stop)
    reader = open_source(source)
    return Reconnecting(source, reader, stop, attempts, wait_s) if reader.info.is_live else reader
