"""`openmore evaluate SUITE | clips | compare` from the command line, with an untrained network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from openmore.cli.main import main
from tests.datasets.miniatures import dynamic, native, static
from tests.datasets.miniatures.world import make_world


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *map(str, args)])
    return int(stop.value.code or 0)


def test_a_benchmark_with_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dynamic.sintel(tmp_path / "sintel", make_world(frames=3))
    common = (
        "--data",
        tmp_path / "sintel",
        "--weights",
        "untrained:tiny",
        "--dtype",
        "fp32",
        "--out",
        tmp_path / "out",
    )
    for mode in ("full", "stream", "stream-window1"):
        assert run("sintel-pose", *common, "--mode", mode) == 0
    out = capsys.readouterr().out
    assert "untrained:tiny stream-window1 (1 of 14 sequences, 1 cut short)" in out and "MoRe" in out
    stored = json.loads((tmp_path / "out/sintel-pose/untrained-tiny-full/results.json").read_text())
    assert stored["sequences"]["alley_2"]["frames"] == 3
    assert stored["description"]["mode"] == "full"
    folder = tmp_path / "out/sintel-pose"
    assert run("compare", folder / "untrained-tiny-full", folder / "untrained-tiny-stream") == 0
    assert "mean ate" in capsys.readouterr().out


def test_depth_needs_the_depth_of_the_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dynamic.sintel(tmp_path / "sintel", make_world(frames=2))
    common = ("--data", tmp_path / "sintel", "--weights", "untrained:tiny", "--out", tmp_path / "out")
    assert run("sintel-depth", *common, "--scale-shift", "--render", "clean") == 0
    assert "not what published rows are measured on" in (tmp_path / "out/sintel-depth-clean/table.md").read_text()
    stored = json.loads((tmp_path / "out/sintel-depth-clean/untrained-tiny-full/results.json").read_text())
    assert {"scale_shift/abs_rel", "abs_rel", "median/abs_rel", "scale_nocap/abs_rel", "abs_rel_plain"} <= set(
        stored["summary"]
    )
    assert stored["missing"] and not stored["complete"]


def test_clips_beside_baselines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    native.posed_folder(tmp_path / "clips", make_world((60, 80), frames=3))
    common = (tmp_path / "clips", "--weights", "untrained:tiny", "--mode", "full", "--mode", "stream")
    assert run("clips", *common, "--out", tmp_path / "out") == 0
    out = capsys.readouterr().out
    for method in ("untrained:tiny full", "untrained:tiny stream", "no motion", "constant velocity", "two-view SIFT"):
        assert f"**{method}**" in out
    table = (tmp_path / "out/clips/table.md").read_text()
    assert table.count("| tum_clip") == 5


FREIBURG = np.array([[535.4, 0, 320.1], [0, 539.2, 247.6], [0, 0, 1]])
BONN = np.array([[542.8, 0, 315.6], [0, 542.6, 237.8], [0, 0, 1]])
SUITES = {
    "tum-pose": lambda root: native.tum(root, make_world((480, 640), 6, FREIBURG)),
    "tum-depth": lambda root: native.tum(root, make_world((480, 640), 4, FREIBURG)),
    "bonn-pose": lambda root: native.bonn(root, make_world(frames=33, K=BONN)),
    "bonn-depth": lambda root: native.bonn(root, make_world(frames=33, K=BONN)),
    "scannet-pose": lambda root: static.scannet(root, make_world(frames=6)),
    "sintel-depth-14": lambda root: dynamic.sintel(root, make_world(frames=2)),
    "kitti-depth": lambda root: static.kitti_depth(root, make_world(frames=2)),
    "co3d": lambda root: static.co3d_benchmark(root, make_world((24, 32), frames=50)),
    "davis": lambda root: static.davis(root, make_world(frames=2)),
}


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_runs_from_the_command_line(suite: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SUITES[suite](tmp_path / "data")
    common = ("--weights", "untrained:tiny", "--dtype", "fp32", "--long-side", 56, "--out", tmp_path / "out")
    assert run(suite, "--data", tmp_path / "data", *common) == 0
    out = capsys.readouterr().out
    assert "**untrained:tiny full" in out and "this run" in out
    (folder,) = (tmp_path / "out").iterdir()
    assert {"table.md", "row.tex"} < {p.name for p in folder.iterdir()}
    assert json.loads((folder / "untrained-tiny-full/results.json").read_text())["summary"]


def test_synthetic_rendered_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("--weights", "untrained:tiny", "--dtype", "fp32", "--out", tmp_path / "out")
    assert run("synthetic", *common, "--count", 1, "--frames", 2) == 0
    native.posed_folder(tmp_path / "written", make_world((60, 80), frames=3))
    assert run("synthetic", *common, "--data", tmp_path / "written") == 0
    assert "tum_clip" in (tmp_path / "out/synthetic/table.md").read_text()
    assert run("clips", *common, "--data", tmp_path / "written", "--no-baselines") == 0


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for args, expected in (
        (("sintel-pose", "--data", tmp_path / "none", "--weights", "untrained:tiny"), "is not a folder"),
        (("sintel-pose", "--data", tmp_path, "--weights", "untrained:tiny"), "lacks final/"),
        (("sintel-pose", "--data", tmp_path, "--weights", "untrained:tiny", "--mode", "fast"), "choose full, stream"),
        (("clips", tmp_path, "--weights", "none", "--no-baselines"), "nothing to evaluate"),
        (("clips", tmp_path, "--weights", "none"), "has no clip folders"),
        (("davis", "--data", tmp_path, "--weights", "untrained:tiny", "--shard", "3"), "not of the form i/n"),
        (("davis", "--data", tmp_path, "--shard", "0/2", "--ray", "2"), "leave --shard out"),
        (("clips",), "no folder was given"),
        (("compare", tmp_path, tmp_path), "cannot be read as a result"),
    ):
        assert run(*args) in (2, 3)
        err = capsys.readouterr().err.strip()
        assert expected in err and "Traceback" not in err


@pytest.mark.parametrize(
    "words", [("clips", "{data}", "--weights", "none"), ("kitti-speed",), ("ablation", "--full", "x")]
)
def test_a_place_that_cannot_be_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/deep"):
        assert run(*(word.format(data=tmp_path) for word in words), "--out", tmp_path / place) == 2
        assert "is a file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("clips", ".", "--max-frames", 1), ("synthetic", "--count", 0)], ids=str)
def test_numbers_that_leave_nothing_to_measure_are_usage_errors(words: tuple[object, ...]) -> None:
    assert run(*words) == 2
