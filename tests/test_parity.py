"""Every reference file through `tests.parity`, and proof that the command would notice a difference."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from tests import parity
from tests.conftest import SHARED

FILES = sorted(path for path in (SHARED / "golden").glob("*.safetensors") if "losses" not in path.stem)
check = cache(parity.check)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_reference(path: Path) -> None:
    lines = check(path)
    assert lines
    assert [str(line) for line in lines if not line.ok] == []


def test_every_run_is_compared(golden: Path) -> None:
    """No expected tensor goes unmentioned: compared under its name, or skipped with a reason."""
    for path in FILES:
        fixture = parity.read_fixture(path)
        names = {line.name for line in check(path)}
        for run in fixture.meta.get("runs", []):
            assert {f"{run}/{key}" for key in fixture.group(run)} <= names


def test_a_wrong_weight_is_noticed(golden: Path) -> None:
    fixture = parity.read_fixture(golden / "stream3r_causal.safetensors")
    fixture.tensors["state/aggregator.global_blocks.1.attn.k_norm.weight"][3] += 0.05
    failed = {line.name for line in parity.check_network(fixture) if not line.ok}
    assert {"stream/depth", "stream/cache_aggregator_layer_3_k", "full_causal/depth"} <= failed


def test_a_missing_result_fails() -> None:
    assert not parity.compare("depth", None, torch.ones(2), 1.0).ok
    assert not parity.compare("depth", torch.ones(3), torch.ones(2), 1.0).ok
