from __future__ import annotations

import json
from pathlib import Path

import pytest

from openmore.cli import train as verb
from openmore.cli.main import main
from openmore.errors import InputError
from openmore.training.recipes import RECIPES


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_help_names_every_recipe() -> None:
    assert set(verb.RECIPES) == set(RECIPES)


@pytest.mark.parametrize(("text", "expected"), [("25m", 1500), ("2h", 7200), ("1h30m", 5400), ("90s", 90), ("45", 45)])
def test_time_budgets(text: str, expected: float) -> None:
    assert verb.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "3x", "m", "-5m"])
def test_a_time_budget_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match="expected a time such as 25m"):
        verb.seconds(text)


def test_show_prints_the_resolved_settings(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "more_full", "--set", "optim.lr=2e-6", "--show")
    shown = json.loads(out)
    assert code == 0 and shown["optim"]["lr"] == 2e-6 and shown["optim"]["steps"] == 100_000
    assert shown["data"]["frames"] == [2, 24] and shown["init"] == "vggt-1b"


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments, says in (
        (["mroe_full"], "unknown recipe 'mroe_full'"),
        (["tiny_smoke", "--set", "optim.learning=1"], "no setting 'optim.learning'"),
        (["tiny_smoke", "--set", "data.source=kitti", "-o", str(tmp_path)], "data.source: 'kitti' is not name:folder"),
        (["tiny_smoke", "--set", "run.device=cuda:9", "-o", str(tmp_path / "x")], "cuda"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code in (2, 3) and says in err and len(err.strip().splitlines()) == 1, err


def test_a_run_from_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    changes = ["optim.steps=2", "data.images_per_rank=2", "data.frames=2,2", "run.sheet_every=0", "run.log_every=1"]
    options = [part for change in changes for part in ("--set", change)]
    code, out, err = run(capsys, "tiny_smoke", "-o", str(tmp_path / "run"), "--time-budget", "10m", *options)
    assert code == 0, err
    assert "finished at step 2 of 2" in out and "weights.safetensors" in out
    assert "step 2/2  loss" in err
    assert (tmp_path / "run" / "config.json").is_file()
