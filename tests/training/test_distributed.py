"""Two processes on this machine, as on sixty-four: sharded equals replicated, stopped equals not stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from openmore.training.session import train
from tests.training.toy import ToySource, equal_states, toy_config

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launch, "-m", "tests.training.distributed_run", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_fsdp_equals_ddp(runs: Path) -> None:
    losses = json.loads((runs / "losses.json").read_text())
    assert len(losses["fsdp"]) == 2
    assert losses["fsdp"] == pytest.approx(losses["ddp"], rel=1e-3)


def test_fsdp_resumes_exactly(runs: Path) -> None:
    losses = json.loads((runs / "losses.json").read_text())
    assert losses["stopped"] == losses["fsdp"]
    assert equal_states(*(load_file(runs / name / "weights.safetensors") for name in ("stopped", "fsdp")))


def test_one_process_continues_what_two_began(runs: Path) -> None:
    report = train(toy_config("optim.steps=3"), runs / "fsdp", resume=True, source=ToySource())
    assert report.step == 3 and report.last["loss"] < 100
