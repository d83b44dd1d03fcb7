from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from openmore.errors import InputError, MissingExtra
from openmore.export import export, formats
from openmore.export.registry import find_format
from openmore.types import Reconstruction

FORMATS = "tum ply glb usd rerun npz colmap nerfstudio depth".split()


def test_every_documented_format_is_there_and_has_a_writer() -> None:
    assert list(formats()) == FORMATS
    for entry in formats().values():
        assert callable(entry.writer())


@pytest.mark.parametrize(("name", "suffix"), [(f.name, s) for f in formats().values() for s in f.suffixes])
def test_a_suffix_belongs_to_one_format(name: str, suffix: str) -> None:
    assert find_format(Path(f"a{suffix.upper()}"), None).name == name
    assert sum(suffix in f.suffixes for f in formats().values()) == 1


def test_an_unknown_suffix_lists_the_formats(scene: Reconstruction, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scene\.abc") as error:
        export(scene, tmp_path / "scene.abc")
    assert all(name in str(error.value) for name in FORMATS)


def test_an_unknown_format_lists_the_formats(scene: Reconstruction, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'alembic': expected one of tum, ply"):
        export(scene, tmp_path / "x", format="alembic")


@pytest.mark.parametrize(
    ("name", "path", "says"),
    [
        ("ply", "x.glb", "'x.glb' is no name for ply: give one with .ply"),
        ("usd", "x.foo", "'x.foo' is no name for usd: give one with .usd or .usda or .usdc"),
        ("usd", "x", "'x' is no name for usd: give one with .usd"),
        ("colmap", "x.PLY", "'x.PLY' is no name for colmap: give one with no ending, for it is a folder"),
    ],
)
def test_a_format_is_not_written_under_the_name_of_another(
    scene: Reconstruction, tmp_path: Path, name: str, path: str, says: str
) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        scene.export(tmp_path / path, format=name)
    assert not list(tmp_path.iterdir())


def test_an_ending_of_no_format_is_free(scene: Reconstruction, tmp_path: Path) -> None:
    for name, path in (("ply", "points"), ("tum", "path.tum.v2"), ("npz", "a.npz"), ("depth", "depth.v2")):
        assert scene.export(tmp_path / path, format=name).exists()


def test_an_unknown_option_lists_the_options(scene: Reconstruction, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="glb has no option colour: its options are cameras, confidence, edge"):
        export(scene, tmp_path / "a.glb", colour="red")
    with pytest.raises(InputError, match="npz has no option confidence"):
        export(scene, tmp_path / "a.npz", confidence=3)


def test_nothing_is_replaced_unless_asked(scene: Reconstruction, tmp_path: Path) -> None:
    for path, name in ((tmp_path / "a.npz", None), (tmp_path / "depth", "depth")):
        assert export(scene, path, format=name) == path
        with pytest.raises(InputError, match="exists already"):
            export(scene, path, format=name)
        export(scene, path, format=name, overwrite=True)


@pytest.mark.parametrize(
    ("name", "options"), [("a.glb", {"confidence": 99}), ("colmap", {"format": "colmap", "confidence": 99})]
)
def test_a_failed_export_leaves_nothing_behind(scene, tmp_path: Path, name: str, options: dict) -> None:
    with pytest.raises(InputError, match="lower the confidence threshold"):
        export(scene, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_scene_is_refused(scene: Reconstruction, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frames"):
        export(Reconstruction([], scene.info), tmp_path / "a.glb")


def test_progress_is_reported(scene: Reconstruction, tmp_path: Path) -> None:
    seen = []
    export(scene, tmp_path / "a.glb", progress=lambda *step: seen.append(step))
    assert seen[-1] == ("points", 4, 4)


@pytest.mark.parametrize(("suffix", "module", "extra"), [("usdc", "pxr.Usd", "export"), ("rrd", "rerun", "rerun")])
def test_a_missing_extra_gives_the_pip_command(scene, tmp_path: Path, monkeypatch, suffix, module, extra) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'openmore\[{extra}\]'"):
        export(scene, tmp_path / f"a.{suffix}")


def test_overwrite_replaces_folders_of_the_format_only(scene: Reconstruction, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    export(scene, photos, "depth", overwrite=True)
    export(scene, photos, "depth", overwrite=True)
    (photos / "openmore.json").rename(photos / "mine.json")
    for name in ("depth", "colmap", "nerfstudio"):
        with pytest.raises(InputError, match=r"is not .* written by openmore"):
            export(scene, photos, name, overwrite=True)
    assert (photos / "mine.json").exists()
