"""Memory that a container may still take, from the files of its control group."""

from __future__ import annotations

from pathlib import Path

import pytest

from openmore.model.estimate import _container_headroom

TWO = {"memory.max": "1000\n", "memory.current": "900\n", "memory.stat": "anon 100\nfile 700\ninactive_file 600\n"}
ONE = {
    "memory/memory.limit_in_bytes": "1000\n",
    "memory/memory.usage_in_bytes": "900\n",
    "memory/memory.stat": "cache 700\ninactive_file 1\ntotal_inactive_file 600\n",
}
CASES = [
    (TWO, 700),  # cached files are given up when memory is wanted
    (ONE, 700),
    ({**ONE, **TWO, "memory.max": "max\n"}, None),
    ({name: text for name, text in TWO.items() if name != "memory.stat"}, 100),
    ({**TWO, "memory.stat": "damaged"}, 100),
    ({}, None),
]


@pytest.mark.parametrize(("files", "headroom"), CASES)
def test_headroom_counts_cached_files_as_free(tmp_path: Path, files: dict[str, str], headroom: int | None) -> None:
    (tmp_path / "memory").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert _container_headroom(tmp_path) == headroom
