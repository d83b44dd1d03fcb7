from __future__ import annotations

import logging
from pathlib import Path

import pytest

from openmore.io.frames import describe, frames
from tests.io.clips import write_folder


def renamed(folder: Path, stems: list[str]) -> Path:
    for path, stem in zip(sorted(folder.iterdir()), stems):
        path.rename(folder / f"{stem}.png")
    return folder


def times(source: Path, **options: object) -> list[float]:
    return [frame.time_s for frame in frames(source, **options)]  # type: ignore[arg-type]


def test_names_that_are_times_keep_their_clock(tmp_path: Path) -> None:
    stems = ["1305031102.175304", "1305031102.211214", "1305031102.243211"]
    folder = renamed(write_folder(tmp_path / "tum", 3), stems)
    assert times(folder) == [float(stem) for stem in stems]
    assert describe(folder).fps == pytest.approx(2 / 0.067907, rel=1e-4)
    nanoseconds = ["1403715274362142976", "1403715274412142848"]
    folder = renamed(write_folder(tmp_path / "euroc", 2), nanoseconds)
    assert times(folder) == pytest.approx([1403715274.362143, 1403715274.412143], abs=1e-6)


@pytest.mark.parametrize(("place", "name"), [("rgb", "timestamps.txt"), (".", "times.txt")])
def test_a_file_of_times_beside_the_pictures_or_one_folder_up(tmp_path: Path, place: str, name: str) -> None:
    folder = write_folder(tmp_path / "rgb", 3)
    (tmp_path / place / name).write_text("# seconds\n1.5e+00\n1.75\n\n2.5\n")
    assert times(folder) == [1.5, 1.75, 2.5]
    assert times(folder, start="0.2s") == [1.75, 2.5], "positions count from the first picture"
    assert times(folder, fps=1) == [1.5, 2.5]


@pytest.mark.parametrize("text", ["0\n1\n", "0\n2\n1\n", "zero\none\ntwo\n"])
def test_what_is_no_clock_is_said(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path / "rgb", 3)
    (tmp_path / "times.txt").write_text(text)
    with caplog.at_level(logging.WARNING, "openmore"):
        assert times(folder) == pytest.approx([0, 1 / 30, 2 / 30])
    assert "30 frames a second are assumed" in caplog.text


def test_numbers_are_not_times(tmp_path: Path) -> None:
    folder = renamed(write_folder(tmp_path / "rgb", 3), ["000001", "000002", "000003"])
    assert times(folder) == pytest.approx([0, 1 / 30, 2 / 30])
