from __future__ import annotations

import re
from pathlib import Path

import pytest

from openmore.errors import InputError
from openmore.types import Reconstruction
from openmore.viewer.page import _durations, write_page

pytest.importorskip("viser")


def test_the_page_is_one_file_that_names_the_scene(scene: Reconstruction, tmp_path: Path) -> None:
    text = write_page(scene, tmp_path / "ball <1>.html").read_text()
    assert "<title>ball &lt;1&gt; - OpenMoRe</title>" in text
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']https?:", text)
    assert [path.name for path in tmp_path.iterdir()] == ["ball <1>.html"]


def test_an_existing_page_is_kept_unless_asked(scene: Reconstruction, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        write_page(scene, path)
    assert path.read_text() == "mine"


def test_a_damaged_frame_is_left_out_and_named(
    scene: Reconstruction, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = scene.save(tmp_path / "scene")
    for number in (0, 2):
        (folder / "depth" / f"{number:06d}.npy").unlink()
    assert "<title>a - OpenMoRe</title>" in write_page(Reconstruction.load(folder), tmp_path / "a.html").read_text()
    first, second = caplog.messages
    assert "000000.npy is missing" in first and "000002.npy is missing" in second


def test_each_frame_stays_until_the_next_that_can_be_read(scene: Reconstruction) -> None:
    assert _durations(scene, [0, 1, 3]) == pytest.approx([0.1, 0.2, 0.15])


def test_a_scene_without_frames_is_refused(scene: Reconstruction, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frames"):
        write_page(Reconstruction([], scene.info), tmp_path / "a.html")
