from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from openmore.cli.main import app, main
from openmore.errors import InputError, OpenMoReError
from tests.masks.conftest import moving_square

FAST = ["--segments", "residual", "--offsets", "-1,1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip")
    for t, image in enumerate(moving_square(pan=2)[0].images):
        Image.fromarray(image).save(path / f"{t:03d}.png")
    return path


def run(*args: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in ("masks", *args)], catch_exceptions=True)
    if isinstance(result.exception, OpenMoReError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_plain_pictures(folder: Path, tmp_path: Path) -> None:
    output = run(folder, "-o", tmp_path / "out", *FAST)
    assert "5 frames" in output and "overlay.mp4" in output
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"masks", "report.json", "overlay.mp4"}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["settings"]["ego_source"] == "fitted to the picture"
    truth = moving_square(pan=2)[1]
    found = np.stack([np.array(Image.open(p)) for p in sorted((tmp_path / "out" / "masks").iterdir())]) == 1
    assert (found & truth).sum() / (found | truth).sum() > 0.7


def test_a_scene_folder_brings_geometry_and_loses_its_movers(tmp_path: Path) -> None:
    from openmore.masks.clip import Geometry, MaskClip, to_reconstruction

    clip, truth = moving_square()
    K = np.tile(np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]]), (5, 1, 1))
    geometry = Geometry(np.full(truth.shape, 4, np.float32), K, np.tile(np.eye(4), (5, 1, 1)), "made up")
    posed = MaskClip(clip.images, "scene", geometry)
    to_reconstruction(posed, [t.astype(np.uint8) for t in truth]).save(tmp_path / "scene")
    output = run("--from-reconstruction", tmp_path / "scene", "-o", tmp_path / "a", "--remove", *FAST)
    assert "agreement with the motion head: IoU 0.9" in output or "IoU 0.8" in output
    assert (tmp_path / "a" / "static.ply").stat().st_size > 1000
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["settings"]["ego_source"] == "reconstruction scene"
    run(tmp_path / "scene", "-o", tmp_path / "b", "--head", "--refine", "none")
    head = np.stack([np.array(Image.open(p)) for p in sorted((tmp_path / "b" / "masks").iterdir())])
    assert np.array_equal(head == 1, truth)


def test_the_papers_recipe_can_be_asked_for(folder: Path, tmp_path: Path) -> None:
    run(folder, "-o", tmp_path / "out", "--paper", "--segments", "residual", "--ego", "picture")
    settings = json.loads((tmp_path / "out" / "report.json").read_text())["settings"]
    assert settings["rule"]["name"] == "paper" and settings["offsets"] == [1]
    assert not (settings["stabilise"] or settings["colours"] or settings["vote"])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--offsets", "one"], "are not frame numbers"),
        (["--remove"], "needs depth and cameras"),
        (["--ego", "geometry"], "no depth and cameras"),
        (["--max-frames", "1"], "at least 2"),
        (["--head"], "no motion probabilities"),
        (["--from-reconstruction", "x"], "one of the two"),
        (["--paper", "--offsets", "1"], "--offsets does nothing with --paper"),
        (["--paper", "--rule", "floor"], "--rule does nothing with --paper"),
        (["--paper", "--refine", "none"], "--refine does nothing with --paper"),
        (["--head", "--explain"], "--explain does nothing with --head"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_nothing(
    folder: Path, tmp_path: Path, args: list[str], words: str
) -> None:
    with pytest.raises(InputError, match=words) as error:
        run(folder, "-o", tmp_path / "out", *([] if "--head" in args else ["--segments", "residual"]), *args)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_only_masks_are_ever_overwritten(folder: Path, tmp_path: Path) -> None:
    run(folder, "-o", tmp_path / "out", *FAST)
    with pytest.raises(InputError, match="exists already"):
        run(folder, "-o", tmp_path / "out", *FAST)
    run(folder, "-o", tmp_path / "out", "--overwrite", *FAST)
    with pytest.raises(InputError, match="is not a folder of masks"):
        run(folder, "-o", folder, "--overwrite", *FAST)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["{folder}", "--max-frames", "1"], 2, "has 1 frame: motion needs at least 2"),
        (["{folder}", "--ego", "geometry"], 2, "has no depth and cameras: reconstruct it first, or use --ego picture"),
        (["{folder}", "--dataset", "posed_folder"], 2, "has no clip folders with rgb/ inside"),
        (["--from-reconstruction", "{folder}"], 2, "is no scene folder"),
        (["{folder}", "--dataset", "posed_folder", "--weights", "small"], 2, "leave --weights out"),
        (["{folder}", "--long-side", "0"], 2, "--long-side 0 is too small"),
        (["{folder}", "--floor", "nan"], 2, "floor is nan"),
        (["{folder}", "--flow", "raft"], 2, "flow backend 'raft' is unknown"),
        (["{folder}", "--weights", "small", "--segments", "nope"], 2, "segmenter 'nope' is unknown"),
        (["{folder}", "--weights", "small", "--refine", "nope"], 2, "refinement 'nope' is unknown"),
        (["{folder}", "--sequence", "a"], 2, "--sequence a belongs to a data set: give --dataset too"),
        (["{folder}", "--head", "--flow", "dis"], 2, "--flow does nothing with --head"),
        (["{folder}", "--flow", "sea-raft-s:none.safetensors"], 3, "SEA-RAFT weights none.safetensors do not exist"),
        (["{folder}", "--segments", "felzenszwalb"], 4, "pip install 'openmore[masks]'"),
        (["{folder}", "--segments", "sam2-tiny"], 4, "pip install 'openmore[masks]'"),
    ],
)
def test_exit_codes(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    given = [arg.format(folder=folder) for arg in args]
    with pytest.raises(SystemExit) as end:
        main(["masks", *given, "-o", str(tmp_path / "out"), *([] if {"--segments", "--head"} & {*args} else FAST)])
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("openmore:")]
    assert end.value.code == code and len(error) == 1 and words in error[0]
    assert not list(tmp_path.iterdir())


def test_pictures_of_two_sizes_are_refused(folder: Path, tmp_path: Path) -> None:
    for number, size in enumerate(((64, 48), (64, 50))):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
    with pytest.raises(InputError, match="differ in size"):
        run(tmp_path, "-o", tmp_path / "out", *FAST)


def test_scenes_are_sampled_and_know_no_rate(tmp_path: Path) -> None:
    from openmore.masks.clip import Geometry, MaskClip, to_reconstruction

    clip, truth = moving_square()
    K = np.tile(np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]]), (5, 1, 1))
    posed = MaskClip(
        clip.images, "s", Geometry(np.full(truth.shape, 4, np.float32), K, np.tile(np.eye(4), (5, 1, 1)), "made up")
    )
    to_reconstruction(posed, [t.astype(np.uint8) for t in truth]).save(tmp_path / "scene")
    assert "3 frames" in run(tmp_path / "scene", "-o", tmp_path / "out", "--stride", "2", *FAST)
    with pytest.raises(InputError, match="fps applies to plain videos"):
        run(tmp_path / "scene", "-o", tmp_path / "b", "--fps", "5", *FAST)
