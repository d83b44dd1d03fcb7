"""How library code reports progress: it calls a function; the command line draws the bar.

A callback receives (stage, done, total); total is None while unknown. Library code never prints.
"""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[str, int, int | None], None]


def silent(stage: str, done: int, total: int | None) -> None:
    """The default callback: report nothing."""
