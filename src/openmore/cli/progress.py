"""The progress bar of the command line, fed by the library's progress callback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from openmore.progress import ProgressCallback


@contextmanager
def progress_bar() -> Iterator[ProgressCallback]:
    """A callback that draws one bar per stage on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report
        for task in bars.tasks:  # a stage without a known total ends where it got to
            if task.total is None:
                bars.update(task.id, total=task.completed)
