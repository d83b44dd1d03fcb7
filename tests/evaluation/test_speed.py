"""The speed suite times what it says, ours or another's, and refuses what it cannot time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from openmore.cli.main import main
from openmore.errors import ConfigError, InputError
from openmore.evaluation.speed import load_runner, measure
from openmore.evaluation.speed_ours import our_runner

ADAPTER = """
import time

class Slow:
    def __init__(self): self.begun, self.shapes = 0, set()
    def begin(self): self.begun += 1
    def step(self, image):
        self.shapes.add(tuple(image.shape))
        time.sleep(0.002)
    def describe(self): return {"name": "sleeper", "precision": "none"}

def load(device, dtype):
    return Slow()
"""


def test_another_implementation_through_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "adapter.py").write_text(ADAPTER)
    runner = load_runner(tmp_path / "adapter.py", "cpu", "fp32")
    speed = measure(runner, "cpu", shape=(8, 12), frames=20, runs=3, warm_up=1)
    assert runner.begun == 5  # type: ignore[attr-defined]  # a warm-up, three timed, one for latencies
    assert runner.shapes == {(1, 3, 8, 12)}  # type: ignore[attr-defined]
    assert 20 < speed.fps < 500
    assert speed.latency_p50_ms is not None and speed.latency_p50_ms >= 2 and len(speed.runs) == 3
    assert len(speed.latency_by_ten_ms) == 1
    assert speed.peak_memory_mb is None


def test_what_cannot_be_timed(tmp_path: Path) -> None:
    (tmp_path / "adapter.py").write_text(ADAPTER)
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(InputError, match="defines no load"):
        load_runner(tmp_path / "empty.py", "cpu", "fp32")
    with pytest.raises(InputError, match="is no Python file"):
        load_runner(tmp_path / "none.py", "cpu", "fp32")
    with pytest.raises(ConfigError, match="more than 10 frames"):
        measure(load_runner(tmp_path / "adapter.py", "cpu", "fp32"), "cpu", frames=5)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "adapter.py").write_text(ADAPTER)
    args = "--weights untrained:tiny --size 56x28 --frames 12 --runs 1 --warm-up 0 --dtype fp32".split()
    args += ["--mode", "stream-window2", "--mode", "stream", "--mode", "full"]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "kitti-speed", *args, "--against", str(tmp_path / "adapter.py"), "--out", str(tmp_path)])
    assert not stop.value.code
    out = capsys.readouterr().out
    for name in ("window 2", "all of the past", "full attention"):
        assert f"**OpenMoRe untrained:tiny, {name}**" in out
    assert "**sleeper**" in out and "30.09" in out
    stored = json.loads((tmp_path / "kitti-speed/results.json").read_text())
    assert stored["speeds"][0]["description"]["precision"] == "float32"
    assert stored["speeds"][2]["latency_p50_ms"] is None and stored["speeds"][2]["latency_by_ten_ms"] == []
    assert stored["machine"]["torch"] == torch.__version__


def test_the_refinement_pass_is_inside_the_clock() -> None:
    runner = our_runner("untrained:tiny", "stream-window2", "cpu", "fp32", (28, 56), refine=True)
    assert runner.describe()["refined"] and "refined" in runner.describe()["name"]
    speed = measure(runner, "cpu", shape=(28, 56), frames=11, runs=1, warm_up=0)
    assert speed.fps > 0 and len(speed.latency_by_ten_ms) == 1
    with pytest.raises(ConfigError, match="no refinement pass"):
        our_runner("untrained:tiny", "full", "cpu", "fp32", (28, 56), refine=True)


def test_a_size_off_the_patch_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "kitti-speed", "--weights", "untrained:tiny", "--size", "57x28", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "no multiple of the patch" in capsys.readouterr().err
