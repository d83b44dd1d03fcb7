"""Two results of one benchmark: which sequences moved, and by how much.

Choices
- Sequences only one side has are listed, never dropped; the mean difference is over the common ones.
- Rows are sorted by relative change, worst first, so that the culprit is the first line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmore.errors import DataError


@dataclass(frozen=True)
class Change:
    """One metric of one sequence in both results."""

    sequence: str
    metric: str
    a: float
    b: float

    @property
    def relative(self) -> float:
        """Change as a share of the larger value; 0 when both are 0."""
        largest = max(abs(self.a), abs(self.b))
        return 0.0 if largest == 0 else (self.b - self.a) / largest


@dataclass(frozen=True)
class Comparison:
    """What differs between two results."""

    suite: str
    methods: tuple[str, str]
    changes: list[Change]  # largest relative change first
    only_a: list[str]
    only_b: list[str]
    summary: list[Change]  # of the benchmark's own means; sequence is ""


def compare(path_a: Path, path_b: Path, metrics: tuple[str, ...] = ()) -> Comparison:
    """Compare two results.json. `metrics`: default all. Raises DataError when they are not of one benchmark."""
    a, b = read_result(path_a), read_result(path_b)
    if a["suite"] != b["suite"]:
        raise DataError(f"{path_a} is of {a['suite']} and {path_b} of {b['suite']}: compare results of one benchmark")
    rows_a, rows_b = a["sequences"], b["sequences"]
    common = [name for name in rows_a if name in rows_b]
    changes = [c for name in common for c in differences(name, rows_a[name], rows_b[name], metrics)]
    return Comparison(
        a["suite"],
        (a["method"], b["method"]),
        sorted(changes, key=lambda change: -abs(change.relative)),
        [name for name in rows_a if name not in rows_b],
        [name for name in rows_b if name not in rows_a],
        differences("", a["summary"], b["summary"], metrics),
    )


def read_result(path: Path) -> dict[str, Any]:
    """A results.json, or the one in a folder. Raises DataError when it is none."""
    file = path / "results.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text())
        if not {"suite", "method", "sequences", "summary"} <= set(content):
            raise DataError(f"{file} is no result of openmore evaluate: give a results.json")
        return content
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file} cannot be read as a result ({error}): give a results.json") from error


def differences(name: str, a: dict[str, Any], b: dict[str, Any], metrics: tuple[str, ...]) -> list[Change]:
    """Changes of the numbers both rows have."""
    return [
        Change(name, key, float(a[key]), float(b[key]))
        for key in (metrics or a)
        if isinstance(a.get(key), int | float) and isinstance(b.get(key), int | float)
    ]
