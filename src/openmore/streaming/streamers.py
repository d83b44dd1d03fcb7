"""Frames in and predictions out in threads of their own, so that decoding and writing never wait for the network.

Choices
- A `Mailbox` joins two threads: bounded, it either makes the writer wait (files: no frame is lost) or drops its oldest
  item (live sources: the network always gets the newest frame). Dropped frames are counted.
- An error in a thread comes out where its owner is looking: at the next frame, or at the next prediction.
- Predictions are never dropped: a slow output holds up the network, and the network then skips live frames.
- Memory is flat: a handful of frames on either side, whatever the length of the stream.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Generic, TypeVar

from openmore.checks import FLAG, finite, optional, require, whole
from openmore.errors import OpenMoReError, StreamError
from openmore.io.frames import Frame, OnSkip, walk
from openmore.io.selection import Position, Selection
from openmore.streaming.live_sources import Reconnecting, open_reader
from openmore.streaming.sinks import Sink
from openmore.types import FramePrediction, SceneInfo

log = logging.getLogger(__name__)

T = TypeVar("T")
_EXPECTED = {"live": optional(FLAG), "buffer": whole(1), "reconnects": whole(0), "retry_s": finite(0)}
JOIN_S = 2.0  # a thread that hangs in a network read is left behind; it ends with its read


class Mailbox(Generic[T]):
    """A bounded queue from one thread to another that ends cleanly from either side."""

    def __init__(self, size: int, drop_oldest: bool = False):
        self.dropped = 0
        self._size, self._drop_oldest = size, drop_oldest
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = self._left = False
        self._error: Exception | None = None

    def put(self, item: T) -> bool:
        """Hand over an item, waiting for room unless the oldest is dropped; False when either side is done."""
        with self._changed:
            if self._drop_oldest and len(self._items) == self._size and not self._ended:
                self._items.popleft()
                self.dropped += 1
            self._changed.wait_for(lambda: len(self._items) < self._size or self._left or self._ended)
            if self._left or self._ended:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def end(self, error: Exception | None = None) -> None:
        """The writer's last word. The reader gets what is left, then `error` if there is one."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def leave(self) -> None:
        """The reader's last word."""
        with self._changed:
            self._left = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended or self._left)
                if not self._items:
                    if self._error is not None and not self._left:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


class InputStreamer:
    """Frames of a source, decoded in a thread. Iterate over it; use as a context manager, or `close` it."""

    def __init__(
        self,
        source: Any,
        *,
        live: bool | None = None,
        buffer: int = 4,
        reconnects: int = 5,
        retry_s: float = 1.0,
        on_skip: OnSkip | None = None,
        fps: float | None = None,
        stride: int = 1,
        start: Position | None = None,
        end: Position | None = None,
        max_frames: int | None = None,
    ):
        """`source`: anything `openmore.frames` takes, or a `queue.Queue` of frames with None as its end.

        live: drop the oldest frame when the consumer is slow, instead of waiting (default: as the source is).
        buffer: frames held at most. reconnects: attempts in a row to open a live source again, the first after
        `retry_s` seconds. The rest selects frames as in `openmore.frames`. Raises InputError or ConfigError.
        """
        given = {"live": live, "buffer": buffer, "reconnects": reconnects, "retry_s": retry_s}
        require(given, _EXPECTED)
        selection = Selection(fps, stride, start, end, max_frames)
        self._stop = threading.Event()
        self._reader = open_reader(source, self._stop, reconnects, retry_s)
        self.info, self.label = self._reader.info, self._reader.label
        self.live = self.info.is_live if live is None else live
        self.skipped: list[dict[str, Any]] = []  # damaged frames: {"index": int, "reason": str}
        self._on_skip = on_skip
        self._mailbox: Mailbox[Frame] = Mailbox(buffer, drop_oldest=self.live)
        self._thread = threading.Thread(target=self._read, args=(selection,), name="openmore-input", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order; raises what went wrong in the thread after the last good frame."""
        return iter(self._mailbox)

    @property
    def dropped(self) -> int:
        """Frames of a live source that the consumer was too slow for."""
        return self._mailbox.dropped

    @property
    def warnings(self) -> list[str]:
        """What a report should say about this source, in words."""
        reader = self._reader
        found = [f"{self.dropped} live frame(s) dropped"] if self.dropped else []
        found += [f"{len(self.skipped)} damaged frame(s) skipped"] if self.skipped else []
        if isinstance(reader, Reconnecting):
            found += [f"{self.label} was opened again {reader.reconnected} time(s)"] if reader.reconnected else []
            found += [f"{self.label} went away"] if reader.lost else []
            found += [f"{self.label} began anew: taken for a recording that has ended"] if reader.recording else []
        return found

    def close(self) -> None:
        """Stop reading. A thread that hangs in the network is left to end by itself."""
        self._stop.set()
        self._mailbox.leave()
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)

    def __enter__(self) -> InputStreamer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, selection: Selection) -> None:
        try:
            with closing(walk(self._reader, selection, self._skip)) as found:  # type: ignore[type-var]
                for frame in found:
                    if not self._mailbox.put(frame):
                        return
        except Exception as error:
            self._mailbox.end(error)
        else:
            self._mailbox.end()

    def _skip(self, index: int, reason: str) -> None:
        log.warning("frame %d skipped: %s", index, reason)
        self.skipped.append({"index": index, "reason": reason})
        if self._on_skip is not None:
            self._on_skip(index, reason)


class OutputStreamer:
    """Predictions to any number of sinks, written in a thread. `finish` it, or use it as a context manager."""

    def __init__(self, sinks: Sequence[Sink], buffer: int = 8):
        """`buffer`: predictions that may wait to be written; then `put` waits. They are never dropped."""
        self.sinks = list(sinks)
        self._mailbox: Mailbox[FramePrediction] = Mailbox(buffer)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="openmore-output", daemon=True)
        self._thread.start()

    def put(self, prediction: FramePrediction) -> None:
        """Hand over a prediction. Raises what a sink raised, for instance InputError when the disk is full.

        StreamError after `close` or `finish`.
        """
        if not self._mailbox.put(prediction):
            raise self._error or StreamError("this output is closed: the prediction was not written")

    def finish(self, info: SceneInfo) -> None:
        """Write what is waiting, then let every sink finish. Raises the first error of a sink."""
        self.close()
        errors = [] if self._error is None else [self._error]
        for sink in self.sinks:  # each of them, whatever became of the others
            try:
                sink.finish(info)
            except OpenMoReError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def close(self) -> None:
        """Write what is waiting and stop, without finishing the sinks."""
        self._mailbox.end()
        self._thread.join()

    def __enter__(self) -> OutputStreamer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        try:
            for prediction in self._mailbox:
                for sink in self.sinks:
                    sink.write(prediction)
        except Exception as error:
            self._error = error
            self._mailbox.leave()
