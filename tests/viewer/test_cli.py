from __future__ import annotations

from pathlib import Path

import pytest

from openmore.cli.main import main
from openmore.cli.view import labels
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
    assert run("view", tmp_path / "nothing") == 2
    assert "nothing" in capsys.readouterr().err


def test_scenes_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    assert labels([tmp_path / "a" / "out", tmp_path / "b" / "out", tmp_path / "c"]) == ["out (1)", "out (2)", "c"]
