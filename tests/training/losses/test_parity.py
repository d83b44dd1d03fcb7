"""The reference values and gradients of two published training codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity_losses import check


@pytest.mark.parametrize("name", ["losses", "more_losses"])
def test_losses_match_the_reference(golden: Path, name: str) -> None:
    lines = check(golden / f"{name}.safetensors")
    assert len(lines) > 10
    assert not [str(line) for line in lines if not line.ok]
