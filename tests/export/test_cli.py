from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openmore.cli.export import plan
from openmore.cli.main import main
from openmore.errors import InputError
from openmore.export import formats
from openmore.types import Reconstruction, SparseTracks


@pytest.fixture()
def folder(scene: Reconstruction, tmp_path: Path) -> Path:
    return scene.save(tmp_path / "scene")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return int(ended.value.code or 0)


def test_several_formats_land_in_the_scenes_exports(folder: Path, capsys) -> None:
    assert run("export", folder, "--to", "tum,ply, glb,colmap", "--static-only", "--confidence", "10%") == 0
    written = sorted(path.name for path in (folder / "exports").iterdir())
    assert written == ["colmap", "scene.glb", "scene.ply", "trajectory.txt"]
    assert "glb -> " in capsys.readouterr().out


def test_a_scene_is_replaced_with_its_exports_unless_something_else_lies_there(
    scene: Reconstruction, folder: Path
) -> None:
    names = [name for name in formats() if name not in ("usd", "rerun")]  # extras
    assert run("export", folder, "--to", ",".join(names)) == 0
    scene.export(folder / "exports" / "colmap", "colmap", text=True, overwrite=True)
    for name in ("exports/my.blend", "exports/colmap/sparse/0/project.ini", "rgb/notes.txt", "depth/mine.npy"):
        (folder / name).write_text("mine")
        with pytest.raises(InputError, match=f"holds {name}, which is no part of a scene folder: move it away"):
            scene.save(folder, overwrite=True)
        (folder / name).unlink()
    scene.save(folder, overwrite=True)
    assert not (folder / "exports").exists()


def test_a_file_of_yours_in_a_project_is_kept(folder: Path, tmp_path: Path, capsys) -> None:
    command = ("export", folder, "--to", "colmap", "-o", tmp_path / "project", "--overwrite")
    assert run(*command) == 0 and run(*command) == 0
    (mine := tmp_path / "project" / "sparse" / "1" / "cameras.bin").parent.mkdir()
    mine.touch()
    assert run(*command) == 2 and "holds sparse/1, which is no part of colmap" in capsys.readouterr().err
    assert mine.exists()


def test_depth_comes_as_exr_where_asked(folder: Path, tmp_path: Path) -> None:
    assert run("export", folder, "--to", "depth", "-o", tmp_path / "d", "--depth-files", "exr") == 0
    assert len(list((tmp_path / "d").glob("*.exr"))) == 4


def test_the_suffix_of_out_is_enough(folder: Path, tmp_path: Path) -> None:
    assert run("export", folder, "-o", tmp_path / "a.ply") == 0
    assert (tmp_path / "a.ply").stat().st_size > 1000


def test_one_format_goes_exactly_where_out_says(tmp_path: Path) -> None:
    assert plan(Path("s"), "colmap", tmp_path / "x") == [("colmap", tmp_path / "x")]
    assert plan(Path("s"), "usd,rerun", tmp_path) == [
        ("usd", tmp_path / "scene.usdc"),
        ("rerun", tmp_path / "scene.rrd"),
    ]
    assert plan(Path("s"), "ply,ply", tmp_path) == [("ply", tmp_path / "scene.ply")]
    with pytest.raises(InputError, match="nothing to export"):
        plan(Path("s"), None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "fbx"], "unknown export format 'fbx'"),
        (["--to", " , "], "names no format"),
        (["-o", "a.fbx"], "cannot tell the export format"),
        (["--to", "ply", "-o", "a.glb"], "'a.glb' is no name for ply: give one with .ply"),
        (["--to", "usd", "-o", "a.foo"], "'a.foo' is no name for usd"),
        (["--to", "tum", "--static-only"], "--static-only has no effect on tum"),
        (["--to", "ply", "--depth-files", "exr"], "--depth-files has no effect on ply"),
        (["--to", "depth", "--depth-files", "tiff"], "expected 'png' or 'exr'"),
        (["--to", "ply", "--motion", "0", "--static-only"], "movers (0.0) removed"),
        (["--to", "ply", "--confidence", "1000"], "lower the confidence threshold"),
        (["--to", "ply", "--confidence", "lots"], "neither a threshold"),
    ],
)
def test_mistakes_end_with_one_line(folder: Path, capsys, arguments: list[str], message: str) -> None:
    assert run("export", folder, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize(
    "option", [["--confidence", "30%"], ["--with-movers"], ["--voxel", "0"], ["--max-points", "9"]]
)
def test_options_that_tracks_leave_without_effect_are_refused(
    scene: Reconstruction, tmp_path: Path, capsys, option: list[str]
) -> None:
    tracks = SparseTracks(
        np.array([[0, 0, 4]], np.float32),
        np.full((1, 3), 99, np.uint8),
        np.zeros(2, np.int32),
        np.arange(2, dtype=np.int32),
        np.full((2, 2), 40, np.float32),
    )
    refined = replace(scene, tracks=tracks).save(tmp_path / "refined")
    out = tmp_path / "out"
    assert run("export", refined, "--to", "tum,colmap", "-o", out, *option) == 2 and not out.exists()
    error = capsys.readouterr().err
    assert f"{option[0]} has no effect on tum, colmap: the points are the tracks" in error and "add --dense" in error
    assert run("export", refined, "--to", "colmap", "-o", out / "dense", *option, "--dense") == 0
    assert run("export", refined, "--to", "nerfstudio", "-o", out / "nerfstudio", *option) == 0
    assert run("export", refined, "--to", "ply,colmap", "-o", out, *option) == 0  # it serves the other
    assert run("export", refined, "--to", "colmap", "-o", out / "masks", "--static-only", "--motion", "0.9") == 0


def test_a_missing_scene_is_named(tmp_path: Path, capsys) -> None:
    assert run("export", tmp_path / "nowhere", "--to", "ply") == 2
    assert "nowhere" in capsys.readouterr().err
