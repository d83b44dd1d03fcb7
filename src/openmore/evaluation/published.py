"""Published rows of every benchmark, with who published them: `published.json`, read as data.

Values are fractions and degrees as our own summaries have them (AUC 0.9142, not 91.42). A row's source is who ran the
method, which is often not who made it; rows of different protocols carry a note and are never merged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class PublishedRow:
    """One line of somebody's table."""

    method: str
    kind: str  # optimisation, full attention, streaming, ablation, ...
    source: str  # whose table
    values: dict[str, float]  # metric as in our summaries -> value
    note: str = ""
    suite: str = field(default="", compare=False)


@cache
def published() -> dict[str, list[PublishedRow]]:
    """Benchmark -> rows."""
    content = json.loads(files("openmore.evaluation").joinpath("published.json").read_text())
    return {suite: [PublishedRow(**row, suite=suite) for row in rows] for suite, rows in content.items()}
