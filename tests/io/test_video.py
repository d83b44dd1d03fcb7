from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmore.errors import InputError
from openmore.io.frames import describe, frames
from openmore.io.video import write_video
from tests.io.clips import bar_width, picture
from tests.io.disk import largest_file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", (picture(i) for i in range(12)), fps=12.5)
    info = describe(path)
    assert (info.frame_count, info.shape, info.fps) == (12, (48, 64), 12.5)
    found = list(frames(path))
    assert [bar_width(f.image) for f in found] == pytest.approx(range(12), abs=1)
    assert found[-1].time_s == pytest.approx(11 / 12.5)
    assert np.abs(found[5].image.astype(int) - picture(5)).mean() < 6


def test_colours_survive(tmp_path: Path) -> None:
    path = write_video(tmp_path / "red.mp4", [np.full((32, 32, 3), (200, 30, 60), np.uint8)] * 3)
    assert np.abs(next(frames(path)).image[16, 16].astype(int) - (200, 30, 60)).max() <= 6


def test_odd_sides_lose_no_pixel(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mp4", [np.full((31, 33, 3), 90, np.uint8)] * 2)
    assert next(frames(path)).image.shape == (32, 34, 3)


@pytest.mark.parametrize(
    ("pictures", "fps", "complaint"),
    [
        ([], 30, "without frames"),
        ([picture(0), picture(0, (32, 32))], 30, r"frame 1 is \(32, 32\), the first was \(48, 64\)"),
        ([picture(0)], 0, "is not a frame rate"),
    ],
)
def test_a_video_that_cannot_be(tmp_path: Path, pictures: list[np.ndarray], fps: float, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        write_video(tmp_path / "clip.mp4", pictures, fps)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_video(tmp_path / "no" / "clip.mp4", [picture(0)])


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    with largest_file(20_000), pytest.raises(InputError, match=r"cannot write .*: File too large"):
        write_video(tmp_path / "clip.mp4", noise)
    assert not list(tmp_path.iterdir())
