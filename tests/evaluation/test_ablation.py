"""The ablation table: one command, every row it has weights for, published rows beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from openmore.cli.main import main
from openmore.errors import ConfigError, InputError
from openmore.evaluation.ablation import parse_data, rows
from openmore.evaluation.network import parse_mode
from tests.datasets.miniatures import dynamic
from tests.datasets.miniatures.world import make_world


def test_rows_exist_for_the_weights_given() -> None:
    assert [row.label for row in rows("w")] == ["full", "no refinement pass"]
    labels = [row.label for row in rows("w", no_forcing="a", kl="b", no_grouped="c")]
    assert labels[2:] == ["no attention forcing", "KL instead of attention forcing", "no grouped causal attention"]


def test_data_words() -> None:
    assert parse_data([]) == {"synthetic": Path()}
    assert parse_data(["sintel-pose=a/b"]) == {"sintel-pose": Path("a/b")}
    with pytest.raises(InputError, match="not SUITE=PATH"):
        parse_data(["imagenet=x"])


def test_modes() -> None:
    assert parse_mode("stream") == {"mode": "stream", "policy": "all"}
    assert parse_mode("stream-window5") == {"mode": "stream", "window": 5}
    with pytest.raises(ConfigError, match="stream-windowN"):
        parse_mode("stream5")


def test_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dynamic.sintel(tmp_path / "sintel", make_world(frames=3))
    args = ["--full", "untrained:tiny", "--no-forcing", "untrained:tiny", "--data", f"sintel-pose={tmp_path}/sintel"]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "ablation", *args, "--dtype", "fp32", "--out", str(tmp_path / "out")])
    assert not stop.value.code
    out = capsys.readouterr().out
    for text in ("full (1 of 14", "no refinement pass (1 of 14", "no attention forcing (1 of 14", "0.163"):
        assert text in out
    assert (tmp_path / "out/ablation/table.md").is_file()
