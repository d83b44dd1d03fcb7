"""Videos as phones, screen recorders and editors write them, from the file to the scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openmore.types import Reconstruction
from tests.io.clips import make_video, rotate_tag

TINY = ("--weights", "untrained:tiny", "--dtype", "fp32")
UNEVEN_MS = [0, 10, 500, 510, 2000, 2100]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", [100 * i for i in range(4)])


@pytest.mark.parametrize("verb", ["reconstruct", "stream"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_phone_held_upright_gives_upright_cameras(
    openmore: Callable, clip: Path, tmp_path: Path, verb: str, degrees: int
) -> None:
    turned = rotate_tag(clip, degrees, tmp_path / "phone.mp4")
    assert openmore(verb, turned, "-o", tmp_path / "s", *TINY).code == 0
    scene = Reconstruction.load(tmp_path / "s")
    size = (64, 48) if degrees == 180 else (48, 64)  # of pictures 64 wide and 48 high
    assert [(c.width, c.height) for c in scene.cameras] == [size] * 4
    assert scene.frames[0].shape == ((42, 56) if degrees == 180 else (56, 42))


@pytest.mark.parametrize("verb", ["reconstruct", "stream"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_an_uneven_rate_keeps_its_true_times(openmore: Callable, tmp_path: Path, verb: str, suffix: str) -> None:
    uneven = make_video(tmp_path / f"uneven.{suffix}", UNEVEN_MS)
    assert openmore(verb, uneven, "-o", tmp_path / "s", *TINY).code == 0
    times_s = [frame.time_s for frame in Reconstruction.load(tmp_path / "s").frames]
    np.testing.assert_allclose(times_s, np.array(UNEVEN_MS) / 1000, atol=1e-3)


@pytest.mark.parametrize("words", [("reconstruct",), ("reconstruct", "--refine", "geometry"), ("stream",)], ids=str)
def test_one_frame_is_a_scene(openmore: Callable, tmp_path: Path, words: tuple[str, ...]) -> None:
    one = make_video(tmp_path / "one.mp4", [0])
    assert openmore(words[0], one, "-o", tmp_path / "s", *TINY, *words[1:]).code == 0
    assert len(Reconstruction.load(tmp_path / "s")) == 1


def test_one_frame_has_no_motion_masks(openmore: Callable, tmp_path: Path) -> None:
    ran = openmore("masks", make_video(tmp_path / "one.mp4", [0]), "-o", tmp_path / "m")
    assert ran.code == 2 and "motion needs at least 2" in ran.message


def test_spaces_and_letters_of_the_world_in_every_name(openmore: Callable, clip: Path, tmp_path: Path) -> None:
    home = tmp_path / "mein Ordner [1] é 日本"
    home.mkdir()
    named = clip.rename(home / "Ausflug (2) ü.mp4")
    scene = home / "Szene ö"
    ran = openmore("reconstruct", named, "-o", scene, *TINY)
    assert ran.code == 0 and f"openmore view '{scene}'" in ran.out  # a command to paste
    assert openmore("export", scene, "--to", "ply,tum,nerfstudio", "--with-movers").code == 0
    assert {path.name for path in (scene / "exports").iterdir()} == {"scene.ply", "trajectory.txt", "nerfstudio"}
    assert openmore("reconstruct", named, "-o", scene, *TINY, "--overwrite").code == 0
