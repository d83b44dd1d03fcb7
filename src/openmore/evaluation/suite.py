"""Run a benchmark: predict -> cached predictions -> metrics per sequence -> summary -> files.

Choices
- Every sequence is measured on its own and its row is kept; the summary is computed from the rows at the end.
- A method or a file may fail on a sequence: the failure is recorded with its reason and counted in every table. With
  `keep_going=False` the first failure stops the run.
- Predictions are cached per method and sequence, so a run can be interrupted, resumed, re-measured or sharded: shard
  i of n takes every n-th job; a last run without shards finds all predictions and writes the whole result.
- Truth never reaches a method, except intrinsics for baselines that say so.
"""

from __future__ import annotations

import datetime
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmore.data.datasets.base import Dataset
from openmore.errors import ConfigError, DataError, OpenMoReError
from openmore.evaluation.prediction import Prediction, Predictor, load_prediction, save_prediction
from openmore.evaluation.protocols.base import Benchmark, Case, Job, Row
from openmore.io.atomic import write_json
from openmore.progress import ProgressCallback, silent

log = logging.getLogger(__name__)


@dataclass
class Result:
    """What one method scored on one benchmark."""

    suite: str
    title: str
    method: str
    description: dict[str, Any]
    summary: dict[str, float]
    sequences: dict[str, Row]
    failures: dict[str, str]  # sequence -> reason
    missing: list[str]  # sequences of the benchmark that are not on disk
    seconds: float  # of prediction
    note: str = ""
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))

    @property
    def expected(self) -> int:
        """Sequences the benchmark has."""
        return len(self.sequences) + len(self.failures) + len(self.missing)

    @property
    def complete(self) -> bool:
        """Whether every sequence was measured, so that the summary can stand beside published ones."""
        return not self.failures and not self.missing

    def as_dict(self) -> dict[str, Any]:
        """JSON content; raw material of summaries is left out."""
        rows = {n: {k: v for k, v in row.items() if not k.startswith("_")} for n, row in self.sequences.items()}
        return {**vars(self), "sequences": rows, "expected": self.expected, "complete": self.complete}


def run(
    benchmark: Benchmark,
    predictors: Sequence[Predictor],
    data: Path,
    out: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    keep_going: bool = True,
    progress: ProgressCallback = silent,
) -> list[Result]:
    """Run every method on every sequence; one Result per method, written to `out/<method>/results.json`.

    Raises DataError when nothing at all could be measured, and whatever failed first unless `keep_going`.
    """
    dataset = benchmark.dataset(data)
    jobs, missing = benchmark.jobs(dataset)
    jobs = take_shard(jobs, shard)
    if not jobs:
        raise DataError(f"{data} has none of the sequences of {benchmark.name}: missing {', '.join(missing[:5])} ...")
    tallies = [Tally(predictor, out / slug(predictor.name)) for predictor in predictors]
    for done, job in enumerate(jobs):
        progress(benchmark.name, done, len(jobs))
        run_job(benchmark, dataset, job, tallies, keep_going)
    progress(benchmark.name, len(jobs), len(jobs))
    results = [tally.result(benchmark, missing) for tally in tallies]
    for tally, result in zip(tallies, results):
        write_json(tally.folder / "results.json", result.as_dict())
    return results


@dataclass
class Tally:
    """What one method has so far."""

    predictor: Predictor
    folder: Path
    rows: dict[str, Row] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def result(self, benchmark: Benchmark, missing: list[str]) -> Result:
        """The finished result. Raises DataError when no sequence was measured."""
        if not self.rows:
            name, reason = next(iter(self.failures.items()))
            raise DataError(f"{self.predictor.name} failed on all {len(self.failures)} sequences; {name}: {reason}")
        return Result(
            benchmark.name,
            benchmark.title,
            self.predictor.name,
            self.predictor.describe(),
            benchmark.summarise(self.rows),
            self.rows,
            self.failures,
            missing,
            round(self.seconds, 3),
            benchmark.note,
        )


def run_job(benchmark: Benchmark, dataset: Dataset, job: Job, tallies: list[Tally], keep_going: bool) -> None:
    """One sequence, all methods; the pictures are decoded once."""
    try:
        sample = dataset.load(job.sequence, job.frames)
    except OpenMoReError as error:
        for tally in tallies:
            fail(tally, job, error, keep_going)
        return
    case = Case(job, sample, dataset.truth(job.sequence))
    for tally in tallies:
        try:
            prediction = predict(tally, case)
            tally.rows[job.sequence] = benchmark.measure(prediction, case)
            tally.seconds += prediction.seconds
        except (OpenMoReError, RuntimeError, MemoryError) as error:
            fail(tally, job, error, keep_going)


def predict(tally: Tally, case: Case) -> Prediction:
    """The cached prediction, or a new one, cached."""
    path = tally.folder / "predictions" / f"{slug(case.job.sequence)}.npz"
    description = {**tally.predictor.describe(), "frames": list(case.job.frames)}
    prediction = load_prediction(path, description)
    if prediction is None:
        prediction = tally.predictor.predict(case.clip)
        save_prediction(path, prediction, description)
    return prediction.check(case.clip)


def fail(tally: Tally, job: Job, error: Exception, keep_going: bool) -> None:
    """Count a failure, or stop."""
    if not keep_going:
        raise error
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    tally.failures[job.sequence] = reason
    log.warning("%s on %s: %s", tally.predictor.name, job.sequence, reason)


def take_shard(jobs: list[Job], shard: tuple[int, int]) -> list[Job]:
    """Every n-th job. Raises ConfigError for an impossible shard."""
    index, count = shard
    if not 0 <= index < count:
        raise ConfigError(f"shard {index}/{count} does not exist: give i/n with 0 <= i < n")
    return jobs[index::count]


def shard_of_environment() -> tuple[int, int]:
    """(rank, world size) under torchrun, else (0, 1)."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def slug(name: str) -> str:
    """A name as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
