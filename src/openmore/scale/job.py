"""`run_job`: a manifest through a task on an executor. Kill it at any moment and call it again: nothing is lost.

Choices
- The manifest is the plan, the output folder is the state: what has its result folder is done, everything else is tried
  (again). There is no other database to disagree with.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from openmore.errors import ConfigError, InputError
from openmore.io.output import require_folder
from openmore.progress import ProgressCallback, silent
from openmore.scale.journal import Journal, Summary
from openmore.scale.local import run_local
from openmore.scale.manifest import Item
from openmore.scale.slurm import array_place, share
from openmore.scale.work import Outcome, Task

Executor = Literal["local", "slurm-array", "ray"]
EXECUTORS = ("local", "slurm-array", "ray")


def run_job(
    items: Sequence[Item],
    out: str | Path,
    task: str | Task,
    *,
    executor: Executor = "local",
    workers: int = 1,
    gpus_per_worker: float = 0.0,
    progress: ProgressCallback = silent,
    **options: Any,
) -> Summary:
    """Process every item into `out`/ID and return the summary; failures land in `out`/failures.jsonl.

    task: "masks", "reconstruct" or a Task; `options` are the task's. workers: processes on this machine (0 = none) or
    Ray actors. Raises ConfigError or the task's own error when it cannot be set up; never because of a bad clip.
    """
    if executor not in EXECUTORS:
        raise ConfigError(f"executor {executor!r} is unknown: choose one of {', '.join(EXECUTORS)}")
    if workers < 0 or (executor == "ray" and workers < 1):
        raise ConfigError(f"{workers} workers cannot run a job: give 1 or more")
    task = task if isinstance(task, Task) else Task(task, options)
    out = _folder(Path(out))
    shard = None
    if executor == "slurm-array":
        shard, count = array_place()
        items = share(items, shard, count)
    journal, begun = Journal(out, shard), time.perf_counter()
    for number, outcome in enumerate(_outcomes(items, out, task, executor, workers, gpus_per_worker), 1):
        journal.add(outcome)
        progress("clips", number, len(items))
    return journal.finish(time.perf_counter() - begun)


def _outcomes(
    items: Sequence[Item], out: Path, task: Task, executor: Executor, workers: int, gpus_per_worker: float
) -> Iterator[Outcome]:
    """Finished items first, without starting a worker for them; then the rest on the executor."""
    waiting = []
    for item in items:
        if (out / item.id).exists():
            yield Outcome(item.id, item.source, "skipped")
        else:
            waiting.append(item)
    if not waiting:
        return
    if executor == "ray":
        from openmore.scale.ray_data import run_ray

        yield from run_ray(waiting, out, task, workers, gpus_per_worker)
    else:
        yield from run_local(waiting, out, task, workers)


def _folder(out: Path) -> Path:
    require_folder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    return out
