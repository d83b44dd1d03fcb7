from __future__ import annotations

import threading
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from openmore.errors import InputError
from openmore.io.frames import describe, frames, open_video
from tests.io.clips import SHAPE, bar_width, make_video, picture, rotate_tag, served


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video")
    return make_video(folder / "clip.mp4", options={"movflags": "faststart"})


def damage(video: Path, target: Path, begin: float, count: int) -> Path:
    data = bytearray(video.read_bytes())
    k = int(len(data) * begin)
    data[k : k + count] = np.random.default_rng(1).integers(0, 256, count, dtype=np.uint8).tobytes()
    target.write_bytes(data)
    return target


def test_every_frame_comes_in_order_with_its_number_and_time(video: Path) -> None:
    found = list(frames(video))
    assert [f.index for f in found] == list(range(40))
    assert [f.time_s for f in found] == pytest.approx([i / 10 for i in range(40)])
    assert all(abs(bar_width(f.image) - f.index) <= 1 for f in found)
    assert found[7].name == "clip.mp4#7" and found[7].original_shape == SHAPE
    assert np.abs(found[20].image.astype(int) - picture(20)).mean() < 6


def test_describe_reads_the_header(video: Path) -> None:
    info = describe(video)
    assert (info.kind, info.frame_count, info.shape, info.fps, info.is_live) == ("video", 40, SHAPE, 10.0, False)


@pytest.mark.parametrize(("degrees", "counter_turns"), [(90, 3), (180, 2), (270, 1)])
def test_rotation_is_applied(video: Path, tmp_path: Path, degrees: int, counter_turns: int) -> None:
    rotated = rotate_tag(video, degrees, tmp_path / "rotated.mp4")
    plain = next(frames(video)).image
    turned = next(frames(rotated)).image
    assert np.array_equal(turned, np.rot90(plain, counter_turns))
    assert describe(rotated).shape == turned.shape[:2]


def test_rotation_agrees_with_opencv(video: Path, tmp_path: Path) -> None:
    import cv2

    rotated = rotate_tag(video, 90, tmp_path / "rotated.mp4")
    _, bgr = cv2.VideoCapture(str(rotated)).read()
    assert np.abs(next(frames(rotated)).image.astype(int) - bgr[..., ::-1]).max() <= 3


def test_a_colon_in_a_name_is_no_protocol(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "12:30:00.mp4").write_bytes(video.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert next(frames("12:30:00.mp4")).index == 0 and describe("12:30:00.mp4").kind == "video"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("pixel_width", [Fraction(4, 3), Fraction(8, 9)], ids=["hdv", "dv"])
def test_pixels_come_out_square(tmp_path: Path, suffix: str, pixel_width: Fraction) -> None:
    clip = make_video(tmp_path / f"clip{suffix}", pixel_width=pixel_width)
    height, width = SHAPE[0], round(SHAPE[1] * pixel_width)
    assert describe(clip).shape == (height, width)
    found = list(frames(clip))
    assert all(f.image.shape == (height, width, 3) == (*f.original_shape, 3) for f in found)
    assert all(abs(bar_width(f.image) - f.index * pixel_width) <= 1.5 for f in found)


def test_a_turned_video_is_stretched_along_its_own_rows(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", pixel_width=Fraction(4, 3))
    phone = rotate_tag(clip, 90, tmp_path / "phone.mp4")
    assert describe(phone).shape == next(frames(phone)).image.shape[:2] == (85, 48)
    with served(make_video(tmp_path / "clip.ts", pixel_width=Fraction(4, 3)).read_bytes()) as url:
        assert describe(url).shape == (48, 85)


def test_almost_square_pixels_are_left_alone_and_absurd_ones_refused(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", pixel_width=Fraction(120, 119))  # 64.54 pixels: would be 65
    assert describe(clip).shape == next(frames(clip)).image.shape[:2] == SHAPE
    with pytest.raises(InputError, match=r"0\.125 times as wide as high"):
        frames(make_video(tmp_path / "absurd.mp4", pixel_width=Fraction(1, 8)))


def test_a_variable_frame_rate_keeps_true_times(tmp_path: Path) -> None:
    times_ms = [0, 100, 150, 600, 640, 1000, 2000]
    video = make_video(tmp_path / "vfr.mp4", times_ms)
    assert [f.time_s for f in frames(video)] == pytest.approx([t / 1000 for t in times_ms], abs=1e-3)
    assert [f.index for f in frames(video, fps=2)] == [0, 3, 5, 6]
    assert [f.index for f in frames(video, start=0.12, end=1.0)] == [2, 3, 4]


def test_a_cut_off_file_gives_its_good_frames_and_reports_the_loss(video: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[: int(video.stat().st_size * 0.6)])
    skipped: list[tuple[int, str]] = []
    found = list(frames(cut, on_skip=lambda *loss: skipped.append(loss)))
    assert len(found) > 5 and [f.index for f in found] == list(range(len(found)))
    assert "ends early" in skipped[-1][1] and "of 40 frames" in skipped[-1][1]
    # Nothing is lost without a word: good frames, frames reported one by one, and the reported tail add up.
    assert skipped[-1][0] == len(found) + len(skipped) - 1


def test_a_damaged_middle_is_skipped_under_its_own_numbers(video: Path, tmp_path: Path) -> None:
    hurt = damage(video, tmp_path / "hurt.mp4", 0.5, 300)
    skipped: list[int] = []
    found = list(frames(hurt, on_skip=lambda index, _: skipped.append(index)))
    assert skipped and found[-1].index == 39
    assert sorted([f.index for f in found] + skipped) == list(range(40))
    assert all(f.time_s == pytest.approx(f.index / 10) for f in found)


def test_a_file_without_its_index_is_refused_in_one_line(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4")
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cannot be read as a video .*cut off"):
        frames(video)


@pytest.mark.parametrize("suffix", [".mp4", ".txt", ".py"])
def test_text_is_not_a_video(tmp_path: Path, suffix: str) -> None:
    text = tmp_path / f"text{suffix}"
    text.write_text("hello world\n" * 40)
    with pytest.raises(InputError, match="no video") as caught:
        frames(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".ts"])
def test_other_containers_come_in_order_too(tmp_path: Path, suffix: str) -> None:
    skipped: list[int] = []
    found = list(frames(make_video(tmp_path / f"clip{suffix}"), on_skip=lambda index, _: skipped.append(index)))
    assert not skipped
    assert [f.index for f in found] == list(range(40))
    assert [f.time_s for f in found] == pytest.approx([i / 10 for i in range(40)], abs=2e-3)
    assert all(abs(bar_width(f.image) - f.index) <= 1 for f in found)


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_cut_off_file_without_a_frame_count_is_noticed(tmp_path: Path, suffix: str) -> None:
    video = make_video(tmp_path / f"clip{suffix}")
    data = video.read_bytes()
    begin, end = (data.index(b"movi"), data.index(b"idx1")) if suffix == ".avi" else (0, len(data))
    video.write_bytes(data[: (begin + end) // 2])
    skipped: list[str] = []
    found = list(frames(video, on_skip=lambda _, reason: skipped.append(reason)))
    assert 0 < len(found) < 40 and "ends early" in skipped[-1]


def test_decoding_is_lazy_and_can_stop(video: Path) -> None:
    walk = frames(video)
    assert next(walk).index == 0
    walk.close()  # type: ignore[attr-defined]


def test_a_video_over_http(video: Path) -> None:
    handler = partial(QuietHandler, directory=str(video.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{video.name}"
    try:
        with open_video(url) as reader:
            assert (reader.info.kind, reader.info.is_live) == ("url", False)
        assert [f.index for f in frames(url, stride=10)] == [0, 10, 20, 30]
    finally:
        server.shutdown()


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_bytes_over_http_have_an_end(tmp_path: Path, share: float) -> None:
    """A raw stream tells no length: it is a recording all the same, and one that breaks off is noticed."""
    data = make_video(tmp_path / "clip.h264").read_bytes()
    skipped: list[str] = []
    with served(data[: int(len(data) * share)], sized=len(data)) as url:
        assert not describe(url).is_live and describe(url).frame_count is None
        found = list(frames(url, on_skip=lambda _, reason: skipped.append(reason)))
    assert [f.index for f in found] == list(range(len(found)))
    if share == 1:
        assert len(found) == 40 and not skipped
    else:
        assert 0 < len(found) < 40 and skipped[-1] == "the file ends early: the rest cannot be read"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("url", ["rtsp://127.0.0.1:9/cam", "http://127.0.0.1:9/clip.mp4"])
def test_an_address_that_does_not_answer(url: str) -> None:
    with pytest.raises(InputError, match=r"cannot be opened: Connection refused; check"):
        frames(url)


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(InputError, match="camera 97 cannot be opened"):
        frames(97)


class TwoFrames:
    """What OpenCV hands out for a camera that is unplugged after two frames."""

    def __init__(self, number: int):
        self.left = 2

    def isOpened(self) -> bool:
        return True

    def get(self, prop: int) -> float:
        import cv2

        return {cv2.CAP_PROP_FRAME_WIDTH: 64.0, cv2.CAP_PROP_FRAME_HEIGHT: 48.0, cv2.CAP_PROP_FPS: 0.0}[prop]

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, picture(2 - self.left)[..., ::-1]) if self.left >= 0 else (False, None)

    def release(self) -> None:
        pass


def test_a_camera_is_read_until_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.VideoCapture", TwoFrames)
    with open_video(0) as reader:
        assert reader.info.is_live and (reader.info.shape, reader.info.fps) == (SHAPE, None)
    found = list(frames("0"))
    assert [f.index for f in found] == [0, 1] and found[0].time_s <= found[1].time_s
    assert np.array_equal(found[1].image, picture(2))
