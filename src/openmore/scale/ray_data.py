"""Run a job on a Ray cluster with Ray Data: a pool of actors that each load the task once.

Choices
- One item per block: a dead actor costs one item; Ray tries it again, and it is reported as failed if it kills again.
- Exceptions never leave an actor (an exception in a block stops the whole job): `process_one` turns them into rows.
- `out` must be a folder every machine sees.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from openmore.errors import MissingExtra
from openmore.scale.local import KILLED
from openmore.scale.manifest import Item
from openmore.scale.work import Outcome, Runner, Task, process_one, use_threads

_RETRIES = 1  # of an item whose actor died


class Worker:
    """An actor: loads the task with its first item and keeps it."""

    def __init__(self, task: Task, out: str):
        self.task, self.out = task, Path(out)
        self.run: Runner | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """One manifest row -> one outcome row."""
        if self.run is None:
            use_threads(1)  # of the one core that Ray reserves
            self.run = self.task.load()
        return vars(process_one(Item(**json.loads(row["item"])), self.out, self.run))


def run_ray(
    items: Sequence[Item], out: Path, task: Task, workers: int = 2, gpus_per_worker: float = 0.0
) -> Iterator[Outcome]:
    """Outcomes as they come. Raises MissingExtra without ray; uses the running cluster or starts one here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("ray", "scale", "executor ray") from error
    if not ray.is_initialized():
        ray.init(num_cpus=None if "RAY_ADDRESS" in os.environ else max(workers, os.cpu_count() or 1), logging_level=40)
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1  # a block that keeps failing is left out, not the end of the job
    context.enable_progress_bars = False
    seen = set()
    for row in _rows(ray, items, out, task, workers, gpus_per_worker):
        outcome = Outcome(**row)
        seen.add(outcome.id)
        yield outcome
    for item in items:
        if item.id not in seen:
            yield Outcome(item.id, item.source, "failed", reason=KILLED)


def _rows(
    ray: Any, items: Sequence[Item], out: Path, task: Task, workers: int, gpus_per_worker: float
) -> Iterator[dict[str, Any]]:
    rows = [{"item": json.dumps(vars(item))} for item in items]  # Arrow knows no empty dictionaries
    outcomes = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Worker,
        fn_constructor_args=(task, str(out.absolute())),
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
        num_cpus=1,
        num_gpus=gpus_per_worker,
        max_restarts=-1,
        max_task_retries=_RETRIES,
    )
    yield from outcomes.iter_rows()
