from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

import pytest

from openmore.cli.main import main
from openmore.cli.view import labels
from openmore.io.scene import SceneWriter
from openmore.types import Reconstruction


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def folder(scene: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene.save(tmp_path_factory.mktemp("view") / "scene")


def test_files_are_written_and_named(folder: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("viser")
    pytest.importorskip("matplotlib")
    outputs = {"--html": "a.html", "--video": "a.mp4", "--plot": "a.png", "--truth": folder / "trajectory.txt"}
    arguments = [str(x) for flag, name in outputs.items() for x in (flag, tmp_path / name)]
    assert run("view", folder, *arguments) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.mp4", "a.png"]
    assert capsys.readouterr().out.count("wrote ") == 3
    assert run("view", folder, *arguments) == 2
    assert "exists already" in capsys.readouterr().err


def test_mistakes_end_with_one_line(folder: Path, tmp_path: Path, capsys) -> None:
    assert run("view", folder, folder, "--html", tmp_path / "a.html") == 2
    assert "take one scene and 2 were given" in capsys.readouterr().err
    assert run("view", folder, "--truth", "x.txt") == 2
    assert "--plot OUT.png" in capsys.readouterr().err
    for flag, name in (
        ("--html", "scene.json"),
        ("--video", "a.avi"),
        ("--video", "a"),
        ("--plot", "a.jpg"),
    ):  # it would hold another format
        assert run("view", folder, flag, tmp_path / name) == 2
        assert "give one that ends in" in capsys.readouterr().err
    for flag, value in (("--confidence", "200"), ("--confidence", "-1"), ("--points", "0")):
        assert run("view", folder, flag, value, "--html", tmp_path / "a.html") == 2
    assert not list(tmp_path.iterdir()) and capsys.readouterr()
    assert run("view", tmp_path / "nothing") == 2
    assert "nothing" in capsys.readouterr().err


def test_scenes_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    assert labels([tmp_path / "a" / "out", tmp_path / "b" / "out", tmp_path / "c"]) == ["out (1)", "out (2)", "c"]


@pytest.mark.parametrize("verb", [["view", "--no-browser"], ["export", "--to", "ply,glb"]])
def test_scenes_that_cannot_be_read_end_with_one_line(folder: Path, tmp_path: Path, capsys, verb: list[str]) -> None:
    """Begun only, of another version: for looking and for exporting."""
    begun = SceneWriter(tmp_path / "begun")
    old = shutil.copytree(folder, tmp_path / "old")
    document = (old / "scene.json").read_text()
    (old / "scene.json").write_text(document.replace('"version": 1', '"version": 0'))
    for scene, complaint in ((begun.path, "unfinished scene without a frame"), (old, "make it again with")):
        assert run(verb[0], scene, *verb[1:]) == 2
        error = capsys.readouterr().err
        assert complaint in error and "Traceback" not in error


def test_a_killed_streams_frames_can_be_looked_at_and_exported(folder: Path, tmp_path: Path, caplog) -> None:
    half = SceneWriter(tmp_path / "half")
    half.write(Reconstruction.load(folder).frames[0])
    assert run("export", half.path, "--to", "ply,colmap") == 0
    assert run("view", half.path, "--video", tmp_path / "a.mp4") == 0
    assert caplog.text.count("unfinished scene of 1 frames") == 2


def test_a_scene_with_a_missing_array_is_looked_at_and_not_half_exported(
    folder: Path, tmp_path: Path, capsys, caplog
) -> None:
    holed = shutil.copytree(folder, tmp_path / "holed")
    (holed / "confidence" / "000001.npy").unlink()
    assert run("export", holed, "--to", "ply", "-o", tmp_path / "a.ply") == 2
    assert "000001.npy is missing" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["holed"]
    assert run("view", holed, "--html", tmp_path / "a.html") == 0
    assert "a frame is left out of the page" in caplog.text and "000001.npy is missing" in caplog.text
    for path in (holed / "confidence").iterdir():
        path.unlink()
    assert run("view", holed, "--html", tmp_path / "b.html") == 2
    assert "no frame of the scene can be read" in capsys.readouterr().err and not (tmp_path / "b.html").exists()


def test_a_busy_port_is_one_line(folder: Path, capsys) -> None:
    pytest.importorskip("viser")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert run("view", folder, "--port", taken.getsockname()[1], "--no-browser") == 2
    assert "is in use: give another --port" in capsys.readouterr().err


def test_without_the_extra_the_pip_command_is_given(folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    assert run("view", folder) == 4
    assert "pip install 'openmore[viewer]'" in capsys.readouterr().err
