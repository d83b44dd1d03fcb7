"""Every command asks the same rule about its output, before the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from openmore.types import Reconstruction
from tests.scenes import make_scene

TINY = ("--weights", "untrained:tiny", "--dtype", "fp32")
WHAT_WRITES_A_FOLDER = {
    "reconstruct": ("reconstruct", "{pictures}", *TINY, "-o"),
    "stream": ("stream", "{pictures}", *TINY, "-o"),
    "masks": ("masks", "{pictures}", "-o"),
    "attention": ("attention", "{pictures}", *TINY, "-o"),
    "export colmap": ("export", "{scene}", "--to", "colmap", "-o"),
    "export nerfstudio": ("export", "{scene}", "--to", "nerfstudio", "-o"),
    "export depth": ("export", "{scene}", "--to", "depth", "-o"),
}
WHAT_WRITES_A_FILE = {
    "stream state": ("stream", "{pictures}", *TINY, "--save-state"),
    "bench": ("bench", "stream", *TINY, "--frames", "1", "--json"),
    "view html": ("view", "{scene}", "--html"),
    "view video": ("view", "{scene}", "--video"),
    "view plot": ("view", "{scene}", "--plot"),
    "weights convert": ("weights", "convert", "{state}"),
    "export ply": ("export", "{scene}", "--to", "ply", "-o"),
}


@pytest.fixture
def given(folder: Path, tmp_path: Path) -> Callable[[tuple[str, ...]], list[str]]:
    """Fill in the inputs of a command line."""
    scene = make_scene(2).save(tmp_path / "scene")
    return lambda words: [w.format(pictures=folder, scene=scene, state=tmp_path / "a.pt") for w in words]


@pytest.mark.parametrize("words", WHAT_WRITES_A_FOLDER.values(), ids=list(WHAT_WRITES_A_FOLDER))
def test_a_folder_of_something_else_is_left_alone(
    openmore: Callable, given: Callable, tmp_path: Path, words: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    (home / "images").mkdir(parents=True)
    (home / "thesis.txt").write_text("years of work")
    for more in ((), ("--overwrite",)):
        ran = openmore(*given(words), home, *more)
        assert ran.code == 2 and "it holds" in ran.message and "choose another output" in ran.message
    assert sorted(path.name for path in home.iterdir()) == ["images", "thesis.txt"]


@pytest.mark.parametrize("words", WHAT_WRITES_A_FILE.values(), ids=list(WHAT_WRITES_A_FILE))
def test_a_file_is_replaced_only_when_asked_and_a_folder_never(
    openmore: Callable, given: Callable, tmp_path: Path, words: tuple[str, ...]
) -> None:
    notes = tmp_path / (
        "notes" + {"--html": ".html", "--video": ".mp4", "--plot": ".png"}.get(words[-1], ".safetensors")
    )
    notes.write_text("keep me")
    ran = openmore(*given(words), notes)
    assert ran.code == 2 and "exists already" in ran.message and notes.read_text() == "keep me"
    (home := tmp_path / f"home{notes.suffix}").mkdir()
    ran = openmore(*given(words), home, "--overwrite")
    assert ran.code == 2 and "no plain file" in ran.message and home.is_dir()


@pytest.mark.parametrize("verb", ["reconstruct", "stream"])
def test_an_output_never_takes_its_source_with_it(openmore: Callable, folder: Path, tmp_path: Path, verb: str) -> None:
    scene = tmp_path / "scene"
    assert openmore("reconstruct", folder, "-o", scene, *TINY).code == 0
    for source in (scene / "rgb", scene / "rgb" / "*.jpg", scene / "preview.mp4", scene):
        ran = openmore(verb, source, "-o", scene, *TINY, "--overwrite")
        assert ran.code == 2 and "holds the source" in ran.message
    assert len(Reconstruction.load(scene)) == 4
    assert openmore(verb, scene / "rgb", "-o", tmp_path / "other", *TINY).code == 0


def test_a_scene_is_no_source_of_pictures(openmore: Callable, tmp_path: Path) -> None:
    scene = make_scene(2).save(tmp_path / "scene")
    ran = openmore("reconstruct", scene, "-o", tmp_path / "out", *TINY)
    assert ran.code == 2 and ran.message.endswith(f"its pictures are in {scene / 'rgb'}")


def test_synth_leaves_a_folder_alone_that_has_the_name_of_a_sequence(openmore: Callable, tmp_path: Path) -> None:
    photos = tmp_path / "000000" / "photo.jpg"
    photos.parent.mkdir()
    photos.touch()
    ran = openmore("synth", "-n", 1, "-o", tmp_path, "--frames", 2, "--size", "28x28", "--overwrite")
    assert ran.code == 2 and "photo.jpg" in ran.message and photos.exists()
