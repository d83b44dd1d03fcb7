"""`openmore bench stream` measures a full window and refuses sizes that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = ("--weights", "untrained:tiny", "--dtype", "fp32")


def test_numbers_of_every_window(openmore: Callable, tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    ran = openmore("bench", "stream", *TINY, "--window", 1, "--window", 3, "--frames", 3, "--json", out)
    assert ran.code == 0 and "window    3:" in ran.out and "56x42" in ran.out
    rows = json.loads(out.read_text())["rows"]
    assert [row["window"] for row in rows] == [1, 3] and all(row["frames"] == 3 for row in rows)
    assert rows[0]["p50_ms"] <= rows[0]["p95_ms"]
    assert rows[1]["cache_mb"] > rows[0]["cache_mb"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "wide"), "not a size"),
        (("--size", "50x50"), "not a multiple of the patch size"),
        (("--frames", "0"), "--frames is 0"),
        (("--window", "0"), "window is 0"),
        (("--graphs",), "need a CUDA device"),
    ],
)
def test_what_cannot_be_is_one_line(openmore: Callable, arguments: tuple[str, ...], message: str) -> None:
    ran = openmore("bench", "stream", *TINY, *arguments)
    assert ran.code == 2 and message in ran.message
