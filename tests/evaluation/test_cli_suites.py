"""`openmore evaluate SUITE | clips | compare` from the command line, with an untrained network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openmore.cli.main import main
from tests.datasets.miniatures import dynamic, native
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


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for args, expected in (
        (("sintel-pose", "--data", tmp_path / "none", "--weights", "untrained:tiny"), "is not a folder"),
        (("sintel-pose", "--data", tmp_path, "--weights", "untrained:tiny"), "lacks final/"),
        (("sintel-pose", "--data", tmp_path, "--weights", "untrained:tiny", "--mode", "fast"), "choose full, stream"),
        (("clips", tmp_path, "--weights", "none", "--no-baselines"), "nothing to evaluate"),
        (("clips", tmp_path, "--weights", "none"), "has no clip folders"),
        (("davis", "--data", tmp_path, "--weights", "untrained:tiny", "--shard", "3"), "not of the form i/n"),
        (("compare", tmp_path, tmp_path), "cannot be read as a result"),
    ):
        assert run(*args) in (2, 3)
        err = capsys.readouterr().err.strip()
        assert expected in err and "Traceback" not in err
