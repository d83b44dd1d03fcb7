"""Run a job on a Ray cluster with Ray Data: a pool of actors that each load the task once.

Choices
- One item per block and per actor at a time: a dead actor costs one item. Ray restarts the actor and does not repeat
  the item (its repeats sometimes hang); what is missing at the end runs again, alone, and has failed if it kills again.
- Exceptions never leave an actor (their blocks would be lost like those of a dead one): they travel as rows. A task
  that cannot be set up ends the job with its error, as on one machine.
- `out` must be a folder every machine sees.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from openmore.cluster import join_ray
from openmore.errors import ConfigError, OpenMoReError
from openmore.scale.local import KILLED
from openmore.scale.manifest import Item
from openmore.scale.work import Outcome, Runner, Task, process_one, reason_of, use_threads


class Worker:
    """An actor: loads the task with its first item and keeps it."""

    def __init__(self, task: Task, out: str):
        self.task, self.out = task, Path(out)
        self.run: Runner | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """One manifest row -> one outcome row; "fault" is the error of a task that cannot be set up."""
        item = Item(**json.loads(row["item"]))
        if self.run is None:
            use_threads(1)  # of the one core that Ray reserves
            try:
                self.run = self.task.load()
            except Exception as error:
                ours = error if isinstance(error, OpenMoReError) else ConfigError(f"task failed: {reason_of(error)}")
                return {**vars(Outcome(item.id, item.source, "failed")), "fault": pickle.dumps(ours).hex()}
        return {**vars(process_one(item, self.out, self.run)), "fault": ""}


def run_ray(
    items: Sequence[Item], out: Path, task: Task, workers: int = 2, gpus_per_worker: float = 0.0
) -> Iterator[Outcome]:
    """Outcomes as they come. Raises MissingExtra without ray; uses the running cluster or starts one here."""
    ray = join_ray(workers, "executor ray")
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1  # a block that keeps failing is left out, not the end of the job
    context.enable_progress_bars = False
    seen = set()
    for outcome in _outcomes(ray, items, out, task, workers, gpus_per_worker):
        seen.add(outcome.id)
        yield outcome
    for item in items:
        if item.id not in seen:
            again = list(_outcomes(ray, [item], out, task, 1, gpus_per_worker))
            yield again[0] if again else Outcome(item.id, item.source, "failed", reason=KILLED)


def _outcomes(
    ray: Any, items: Sequence[Item], out: Path, task: Task, workers: int, gpus_per_worker: float
) -> Iterator[Outcome]:
    """One pass; items whose actor died are missing. Raises the error of a task that cannot be set up."""
    rows = [{"item": json.dumps(vars(item))} for item in items]  # Arrow knows no empty dictionaries
    outcomes = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Worker,
        fn_constructor_args=(task, str(out.absolute())),
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows)), max_tasks_in_flight_per_actor=1),
        num_cpus=1,
        num_gpus=gpus_per_worker,
        max_restarts=-1,
        max_task_retries=0,
    )
    for row in outcomes.iter_rows():
        if fault := row.pop("fault"):
            raise pickle.loads(bytes.fromhex(fault))
        yield Outcome(**row)
