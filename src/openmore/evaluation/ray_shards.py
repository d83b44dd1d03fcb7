"""The shards of a benchmark as Ray tasks: one machine's GPUs, or a cluster's.

Choices
- Methods are made inside the tasks from picklable makers: weights are loaded where they run, never sent.
- A task is one shard; predictions go to `out`, which every machine must see. The driver joins nothing itself: when all
  tasks are done it runs without shards and finds every prediction in the cache.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from openmore.cluster import join_ray
from openmore.errors import ConfigError, DataError
from openmore.evaluation.prediction import Predictor
from openmore.evaluation.protocols.base import Benchmark
from openmore.evaluation.shards import Shard
from openmore.evaluation.suite import Result, run

log = logging.getLogger(__name__)


def run_on_ray(
    benchmark: Benchmark,
    makers: Sequence[Callable[[], Predictor]],
    data: Path,
    out: Path,
    count: int,
    *,
    keep_going: bool = True,
    gpus: float = 0.0,
) -> list[Result]:
    """Run `count` shards on the cluster of RAY_ADDRESS, or on one started here; `gpus` per shard.

    Raises MissingExtra without ray, ConfigError for a count below 1, DataError with a shard's own line when it fails.
    """
    if count < 1:
        raise ConfigError(f"{count} Ray shards cannot run anything: give 1 or more")
    ray = join_ray(count, "sharding an evaluation")
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=1)(run_shard)
    arguments = (benchmark, list(makers), data.absolute(), out.absolute())
    waiting = [task.remote(*arguments, Shard(index, count), keep_going) for index in range(count)]
    for index, shard in enumerate(waiting):
        try:
            ray.get(shard)
        except ray.exceptions.RayError as error:
            reason = getattr(error, "cause", None) or error
            line = (str(reason).strip().splitlines() or [type(reason).__name__])[-1]
            raise DataError(f"shard {index} of {count} failed: {line}") from error
    return run(benchmark, [make() for make in makers], data, out, keep_going=keep_going)


def run_shard(
    benchmark: Benchmark,
    makers: Sequence[Callable[[], Predictor]],
    data: Path,
    out: Path,
    shard: Shard,
    keep_going: bool,
) -> None:
    """One task."""
    run(benchmark, [make() for make in makers], data, out, shard=shard, keep_going=keep_going)
