"""One clip of a job: `process_one` makes its result folder, or says why not. Every executor calls it.

Choices
- A result appears whole or not at all (atomic folder): an existing folder is a finished item and is skipped.
- Two jobs may share a folder: what another process is making is left to it (`claim`), neither cleared away nor redone.
- Every exception becomes a failed outcome: one bad clip never stops a job. What kills the process is the executor's
  matter.
- A task is a name and options, not an object: it travels to other processes and machines, and its network is loaded
  once per worker.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from openmore.errors import ConfigError, OpenMoReError
from openmore.io.atomic import atomic_folder
from openmore.io.output import Kind
from openmore.scale.claim import claimed
from openmore.scale.manifest import Item

Runner = Callable[[Item, Path], None]  # fills the (existing, empty) folder with the item's result
RESULT = Kind("a result")  # of any task: never replaced
TASKS = {"masks": "openmore.scale.tasks:masks", "reconstruct": "openmore.scale.tasks:reconstruct"}


@dataclass(frozen=True)
class Task:
    """What to do with every item: a name of TASKS or "module:factory", and the factory's options."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def load(self) -> Runner:
        """Build the worker's function. Raises ConfigError for an unknown task or option."""
        target = TASKS.get(self.name, self.name)
        module, _, attribute = target.partition(":")
        if not attribute:
            raise ConfigError(f"task {self.name!r} is unknown: choose one of {', '.join(TASKS)}")
        try:
            return getattr(import_module(module), attribute)(**self.options)
        except (ImportError, AttributeError, TypeError) as error:
            raise ConfigError(f"task {self.name!r} cannot be set up: {error}") from error


@dataclass(frozen=True)
class Outcome:
    """What became of one item."""

    id: str
    source: str
    status: Literal["done", "skipped", "busy", "failed"]  # skipped: it was there; busy: another job is making it
    seconds: float = 0.0
    reason: str = ""  # one line, for failed items


def process_one(item: Item, out: Path, run: Runner) -> Outcome:
    """Make `out`/ID with `run`, unless it is there. Safe to repeat at any time; never raises for a bad item."""
    target = out / item.id
    if target.exists():
        return Outcome(item.id, item.source, "skipped")
    begun = time.perf_counter()
    try:
        with claimed(out, item.id) as mine:
            if not mine:
                return Outcome(item.id, item.source, "busy")
            if target.exists():
                return Outcome(item.id, item.source, "skipped")
            clear_leftovers(out, item.id)
            with atomic_folder(target, RESULT) as folder:
                run(item, folder)
    except Exception as error:
        return Outcome(item.id, item.source, "failed", time.perf_counter() - begun, reason_of(error))
    return Outcome(item.id, item.source, "done", time.perf_counter() - begun)


def use_threads(count: int) -> None:
    """Let torch and OpenCV use so many threads in this process: workers share the cores, they do not fight for them."""
    import cv2
    import torch

    torch.set_num_threads(max(count, 1))
    cv2.setNumThreads(max(count, 1))


def clear_leftovers(out: Path, name: str) -> None:
    """Remove what a killed worker left of this item: unfinished folders beside its target."""
    for path in out.glob(f".{name}.*"):
        # mkdtemp adds 8 characters; another item may be called "NAME.something"
        if path.is_dir() and len(path.name) == len(name) + 10:
            shutil.rmtree(path, ignore_errors=True)


def reason_of(error: BaseException) -> str:
    """One line: our own errors speak for themselves, others are named."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, OpenMoReError) else f"{type(error).__name__}: {text}"
