"""Threads that hand over every file frame, the newest live frame, every prediction, and every error."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from openmore.errors import ConfigError, InputError, StreamError
from openmore.io.frames import Frame
from openmore.io.source import DamagedFrame, LazyFrame, SourceInfo
from openmore.streaming import live_sources
from openmore.streaming.streamers import InputStreamer, Mailbox, OutputStreamer
from openmore.types import Camera, FramePrediction, SceneInfo
from tests.io.clips import bar_width, make_video, served
from tests.streaming.conftest import pictures

STREAMED = {".h264": {}, ".mkv": {"live": "1"}}  # what a muxer is told that cannot go back to write a length
HASTY = {"buffer": 200, "retry_s": 0.01, "max_frames": 200}
INFO = SceneInfo("source", {}, "stream", (4, 6), (8, 12))


def until(condition, seconds: float = 5.0) -> None:
    """Wait for another thread."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# -- mailbox ----------------------------------------------------------------------------------------------------------


def test_a_slow_reader_loses_nothing() -> None:
    box: Mailbox[int] = Mailbox(2)

    def write() -> None:
        for i in range(50):
            assert box.put(i)
        box.end()

    thread = threading.Thread(target=write)
    thread.start()
    assert list(box) == list(range(50)) and box.dropped == 0
    thread.join()


def test_a_slow_reader_of_something_live_gets_the_newest() -> None:
    box: Mailbox[int] = Mailbox(3, drop_oldest=True)
    for i in range(10):
        assert box.put(i)
    box.end()
    assert list(box) == [7, 8, 9] and box.dropped == 7


def test_an_error_comes_after_what_was_good() -> None:
    box: Mailbox[int] = Mailbox(3)
    box.put(1)
    box.end(InputError("broken"))
    items = iter(box)
    assert next(items) == 1
    with pytest.raises(InputError, match="broken"):
        next(items)


def test_a_reader_who_leaves_frees_the_writer() -> None:
    box: Mailbox[int] = Mailbox(1)
    box.put(0)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(box.put(1)))
    thread.start()
    box.leave()
    thread.join(5)
    assert results == [False] and list(box) == []


# -- input ------------------------------------------------------------------------------------------------------------


def test_files_wait_for_the_consumer() -> None:
    array = np.stack(pictures(20))
    with InputStreamer(array, buffer=2) as stream:
        assert not stream.live
        seen = []
        for frame in stream:
            time.sleep(0.001)
            seen.append(frame.index)
    assert seen == list(range(20)) and stream.dropped == 0 and stream.warnings == []


def test_selection_is_that_of_frames() -> None:
    with InputStreamer(np.stack(pictures(20)), stride=3, start=2, max_frames=4) as stream:
        assert [frame.index for frame in stream] == [2, 5, 8, 11]


def test_damaged_frames_are_counted(tmp_path: Path) -> None:
    from PIL import Image

    for i, picture in enumerate(pictures(4)):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    told = []
    with InputStreamer(tmp_path, on_skip=lambda index, reason: told.append(index)) as stream:
        assert [frame.index for frame in stream] == [0, 1, 3]
    assert [skip["index"] for skip in stream.skipped] == told == [2]
    assert stream.warnings == ["1 damaged frame(s) skipped"]


def test_what_cannot_be_opened_fails_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        InputStreamer(tmp_path / "missing.mp4")
    with pytest.raises(ConfigError, match="stride"):
        InputStreamer(np.stack(pictures(2)), stride=0)
    with pytest.raises(ConfigError, match="buffer is 0"):
        InputStreamer(np.stack(pictures(2)), buffer=0)
    with pytest.raises(ConfigError, match="buffer is '2', expected a whole number"):
        InputStreamer(np.stack(pictures(2)), buffer="2")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="retry_s is nan"):
        InputStreamer(np.stack(pictures(2)), retry_s=float("nan"))


def test_nothing_usable_is_an_error_where_the_frames_are_read() -> None:
    with InputStreamer(np.stack(pictures(2)), start=9) as stream, pytest.raises(InputError, match="no frame of"):
        list(stream)


def test_leaving_early_ends_the_thread() -> None:
    with InputStreamer(np.stack(pictures(50)), buffer=1) as stream:
        next(iter(stream))
    assert not stream._thread.is_alive()


def test_a_queue_is_a_source() -> None:
    frames: queue.Queue = queue.Queue()
    a, b, c = pictures(3)
    for item in (a, Frame(40, 1.5, b, "mine"), c, None):
        frames.put(item)
    with InputStreamer(frames) as stream:
        seen = list(stream)
    assert [frame.index for frame in seen] == [0, 40, 2] and seen[1].time_s == 1.5
    np.testing.assert_array_equal(seen[2].image, c)
    assert seen[0].time_s <= seen[2].time_s


def test_a_queue_of_something_else_is_refused() -> None:
    frames: queue.Queue = queue.Queue()
    frames.put(np.zeros((4, 4)))
    with InputStreamer(frames) as stream, pytest.raises(InputError, match="item 0 of the queue is float64"):
        list(stream)


def test_an_empty_queue_lets_go() -> None:
    begun = time.monotonic()
    with InputStreamer(queue.Queue()):
        pass
    assert time.monotonic() - begun < 1


class Fake:
    """A camera that gives `counts[i]` frames at its i-th connection; None: it cannot be opened."""

    def __init__(self, *counts: int | None):
        self.counts, self.opened = list(counts), 0
        self.label, self.info = "the camera", SourceInfo("camera", None, (60, 80), 30.0)
        self.hold = threading.Event()
        self.hold.set()

    def open(self, _source: object) -> Fake:
        count = self.counts[self.opened] if self.opened < len(self.counts) else None
        self.opened += 1
        if count is None:
            raise InputError("the camera cannot be opened")
        self._count = count
        return self

    def read(self) -> Iterator[LazyFrame]:
        for i in range(self._count):
            self.hold.wait(5)
            picture = pictures(1, seed=i)[0]
            yield LazyFrame(i, i / 30, f"f{i}", lambda i=i, picture=picture: Frame(i, i / 30, picture, f"f{i}"))

    def close(self) -> None:
        pass


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch):
    def make(*counts: int | None) -> Fake:
        fake = Fake(*counts)
        monkeypatch.setattr(live_sources, "open_source", fake.open)
        return fake

    return make


def test_a_live_source_never_waits(camera) -> None:
    camera(20)
    with InputStreamer(0, buffer=3, reconnects=0) as stream:
        assert stream.live
        until(lambda: not stream._thread.is_alive())
        assert [frame.index for frame in stream] == [17, 18, 19]
    assert stream.dropped == 17 and "17 live frame(s) dropped" in stream.warnings


def test_a_lost_camera_comes_back(camera) -> None:
    """Numbers go on, time never runs back."""
    fake = camera(3, None, None, 4)
    with InputStreamer(0, buffer=50, reconnects=3, retry_s=0.01) as stream:
        seen = list(stream)
    assert [frame.index for frame in seen] == list(range(7))
    times = [frame.time_s for frame in seen]
    assert times == sorted(times) and times[3] > times[2] - 1 / 30
    assert fake.opened == 4 + 3
    assert "the camera was opened again 1 time(s)" in stream.warnings and "the camera went away" in stream.warnings


def test_a_camera_that_opens_but_gives_nothing_is_given_up(camera) -> None:
    fake = camera(2, 0, 0, 0, 0, 0, 0)
    with InputStreamer(0, buffer=50, reconnects=3, retry_s=0.01) as stream:
        assert len(list(stream)) == 2
    assert fake.opened == 4


def test_max_frames_counts_over_reconnections(camera) -> None:
    camera(3, 3, 3)
    with InputStreamer(0, buffer=50, retry_s=0.01, max_frames=5) as stream:
        assert [frame.index for frame in stream] == [0, 1, 2, 3, 4]


def test_closing_ends_the_wait_for_a_camera(camera) -> None:
    camera(1)
    begun = time.monotonic()
    with InputStreamer(0, reconnects=100, retry_s=60) as stream:
        next(iter(stream))
    assert time.monotonic() - begun < 2 and not stream._thread.is_alive()


def test_a_damaged_live_frame_is_skipped(camera, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = camera(2)
    good = fake.read

    def damaged() -> Iterator[LazyFrame]:
        def load() -> Frame:
            raise DamagedFrame("torn")

        yield from good()
        yield LazyFrame(2, 0.1, "f2", load)

    monkeypatch.setattr(fake, "read", damaged)
    with InputStreamer(0, buffer=9, reconnects=0) as stream:
        assert len(list(stream)) == 2
    assert stream.skipped == [{"index": 2, "reason": "torn"}]


@pytest.mark.parametrize("suffix", [".h264", ".mkv"])
def test_a_clip_over_http_without_a_length_is_not_played_again(tmp_path: Path, suffix: str) -> None:
    clip = make_video(tmp_path / f"clip{suffix}", options=STREAMED[suffix]).read_bytes()
    with served(clip) as url, InputStreamer(url, **HASTY) as stream:
        assert stream.live  # as far as one can see
        seen = list(stream)
    assert [frame.index for frame in seen] == list(range(40))
    assert f"{url} began anew: taken for a recording that has ended" in stream.warnings


def test_a_live_source_over_http_comes_back(tmp_path: Path) -> None:
    one, other = (make_video(tmp_path / f"{i}.h264", first=i).read_bytes() for i in (0, 20))
    with served(one[: len(one) // 2], other) as url, InputStreamer(url, **HASTY) as stream:
        seen = [bar_width(frame.image) for frame in stream]
    begun = len(seen) - 40
    assert 0 < begun < 40 and seen == pytest.approx([*range(begun), *range(20, 60)], abs=1)


def test_a_live_source_that_tells_its_end_by_now_is_over(camera) -> None:
    fake = camera(3, 3, 3)
    fake.hold.clear()
    with InputStreamer("rtsp://camera", **HASTY) as stream:
        fake.info = SourceInfo("url", 3, (60, 80), 30.0)
        fake.hold.set()
        assert len(list(stream)) == 3


# -- output -----------------------------------------------------------------------------------------------------------


def prediction(index: int) -> FramePrediction:
    camera = Camera(np.eye(4), np.diag([10.0, 10, 1]), 12, 8)
    return FramePrediction(index, index / 10, camera, np.ones((4, 6), np.float32), np.ones((4, 6), np.float32))


class Slow:
    """A sink that waits for permission."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.finished = False
        self.go = threading.Event()

    def write(self, prediction: FramePrediction) -> None:
        self.go.wait(5)
        self.seen.append(prediction.index)

    def finish(self, info: SceneInfo) -> None:
        self.finished = True


class Full:
    """A sink whose disk is full after two predictions."""

    count = 0

    def write(self, prediction: FramePrediction) -> None:
        self.count += 1
        if self.count > 2:
            raise InputError("the disk is full")

    def finish(self, info: SceneInfo) -> None:
        raise InputError("the disk is still full")


def test_predictions_wait_and_all_arrive() -> None:
    sink = Slow()
    out = OutputStreamer([sink], buffer=2)
    for i in range(3):  # one is being written, two wait
        out.put(prediction(i))
    blocked = threading.Thread(target=out.put, args=(prediction(3),))
    blocked.start()
    blocked.join(0.05)
    assert blocked.is_alive()
    sink.go.set()
    blocked.join(5)
    out.finish(INFO)
    assert sink.seen == [0, 1, 2, 3] and sink.finished


def test_a_full_disk_stops_the_stream_and_spares_the_other_sinks() -> None:
    other = Slow()
    other.go.set()
    out = OutputStreamer([other, Full()], buffer=2)
    with pytest.raises(InputError, match="the disk is full"):
        for i in range(50):
            out.put(prediction(i))
            time.sleep(0.005)
    with pytest.raises(InputError, match="the disk is full"):
        out.finish(INFO)
    assert other.finished and other.seen[:2] == [0, 1]


def test_leaving_writes_what_waits() -> None:
    sink = Slow()
    sink.go.set()
    with OutputStreamer([sink]) as out:
        for i in range(5):
            out.put(prediction(i))
    assert sink.seen == [0, 1, 2, 3, 4] and not sink.finished


def test_a_closed_output_says_so() -> None:
    sink = Slow()
    sink.go.set()
    out = OutputStreamer([sink], buffer=1)
    out.put(prediction(0))
    out.close()
    for i in (1, 2):  # the second found no room, and waited for a thread that had gone
        with pytest.raises(StreamError, match="this output is closed"):
            out.put(prediction(i))
    assert sink.seen == [0]
