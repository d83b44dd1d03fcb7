"""Run a benchmark: predict -> cached predictions -> metrics per sequence -> summary -> files.

Choices
- Every sequence is measured on its own and its row is kept; the summary is computed from the rows at the end.
- The first failure stops the run, with its reason; `keep_going` counts failures instead, and every table shows them.
- Predictions are cached per method and sequence, so a run that was interrupted, even killed, goes on where it was.
- Shard i of n takes every n-th job and leaves its part beside the result; whoever finishes last joins the parts.
  A sequence of the plan that no part knows of is a failure.
- Truth never reaches a method, except intrinsics for baselines that say so.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openmore.data.datasets.base import Dataset, FrameDataset
from openmore.errors import DataError, OpenMoReError
from openmore.evaluation.prediction import Clip, Prediction, Predictor, load_prediction, save_prediction
from openmore.evaluation.protocols.base import Benchmark, Case, Job, Plan, Row
from openmore.evaluation.shards import WHOLE, Part, Shard, fingerprint, join, take, write_part
from openmore.io.atomic import write_json
from openmore.io.names import composed, plain_name
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
    short: dict[str, str]  # sequence -> "90 of 110 frames": measured over less than the benchmark
    seconds: float  # of prediction
    note: str = ""
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))

    @property
    def expected(self) -> int:
        """Sequences the benchmark has."""
        return len(self.sequences) + len(self.failures) + len(self.missing)

    @property
    def complete(self) -> bool:
        """Whether every sequence was measured in full, so that the summary can stand beside published ones."""
        return not self.failures and not self.missing and not self.short

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
    shard: Shard = WHOLE,
    keep_going: bool = True,
    progress: ProgressCallback = silent,
) -> list[Result]:
    """Run every method on every sequence; one Result per method, written to `out/<method>/results.json`.

    A shard returns nothing until every other shard of the same methods has finished.
    Raises DataError when nothing at all could be measured, and whatever failed first unless `keep_going`.
    """
    dataset = benchmark.dataset(data)
    plan = benchmark.plan(dataset)
    check_plan(benchmark, plan, data, keep_going)
    jobs = take(plan.jobs, shard)
    measured = what_is_measured(benchmark, dataset, plan, data)
    tallies = [Tally(predictor, out / slug(predictor.name), measured) for predictor in predictors]
    for done, job in enumerate(jobs):
        progress(benchmark.name, done, len(jobs))
        run_job(benchmark, dataset, job, tallies, keep_going)
    progress(benchmark.name, len(jobs), len(jobs))
    results = []
    for tally in tallies:
        if shard != WHOLE:
            write_part(tally.folder, shard, tally.part)
        whole = tally.part if shard == WHOLE else join(tally.folder, shard, tally.part, [j.sequence for j in plan.jobs])
        if whole is not None:
            results.append(finish(benchmark, plan, tally, whole))
    return results


def what_is_measured(benchmark: Benchmark, dataset: Dataset, plan: Plan, data: Path) -> str:
    """A hash of the benchmark's settings, the folder of its data (rendered: none), and sequences with their frames."""
    settings = {key: value for key, value in vars(benchmark).items() if not callable(value)}
    root = data.absolute() if isinstance(dataset, FrameDataset) else None
    return fingerprint(settings, root, [(job.sequence, job.frames) for job in plan.jobs])


def check_plan(benchmark: Benchmark, plan: Plan, data: Path, keep_going: bool) -> None:
    """Raises what makes the run pointless: no sequence at all, or a broken one that is not to be counted."""
    if plan.broken and (not keep_going or not plan.jobs):
        raise next(iter(plan.broken.values()))
    for name, error in plan.broken.items():
        log.warning("%s: %s", name, error)
    if not plan.jobs:
        some = ", ".join(plan.missing[:5]) + (" ..." if len(plan.missing) > 5 else "")
        missing = f" (missing {some})" if some else ""
        raise DataError(f"{data} has none of the sequences of {benchmark.name}{missing}: is it the right folder?")


@dataclass
class Tally:
    """What one method has so far."""

    predictor: Predictor
    folder: Path
    measured: str  # `what_is_measured`
    part: Part = field(init=False)

    def __post_init__(self) -> None:
        self.part = Part(self.predictor.describe(), self.measured)


def finish(benchmark: Benchmark, plan: Plan, tally: Tally, part: Part) -> Result:
    """The result of a method, written. Raises DataError when no sequence was measured."""
    name = tally.predictor.name
    if not part.rows:
        sequence, reason = next(iter(part.failures.items()))
        raise DataError(f"{name} failed on all {len(part.failures)} sequences; {sequence}: {reason}")
    seen = part.rows.keys() | part.failures.keys()
    lost = {job.sequence: "no shard left a result" for job in plan.jobs if job.sequence not in seen}
    result = Result(
        benchmark.name,
        benchmark.title,
        name,
        part.description,
        benchmark.summarise(part.rows),
        part.rows,
        {**{sequence: str(error) for sequence, error in plan.broken.items()}, **part.failures, **lost},
        plan.missing,
        {sequence: frames for sequence, frames in plan.short.items() if sequence in part.rows},
        round(part.seconds, 3),
        benchmark.note,
    )
    write_json(tally.folder / "results.json", result.as_dict())
    return result


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
            tally.part.rows[job.sequence] = benchmark.measure(prediction, case)
            tally.part.seconds += prediction.seconds
        except (OpenMoReError, RuntimeError, MemoryError) as error:
            fail(tally, job, error, keep_going)


def predict(tally: Tally, case: Case) -> Prediction:
    """The cached prediction, or a new one, cached."""
    path = tally.folder / "predictions" / f"{slug(case.job.sequence)}.npz"
    description = {**tally.part.description, "frames": list(case.job.frames), "pictures": pictures_of(case.clip)}
    prediction = load_prediction(path, description)
    if prediction is None:
        prediction = tally.predictor.predict(case.clip)
        save_prediction(path, prediction, description)
    return prediction.check(case.clip)


def pictures_of(clip: Clip) -> str:
    """A hash of what the method gets, from every 16th pixel: other data under the same names is other data."""
    digest = hashlib.sha1(np.ascontiguousarray(clip.images[:, ::16, ::16]).tobytes())
    digest.update(repr((clip.images.shape, None if clip.K is None else clip.K.round(9).tolist())).encode())
    return digest.hexdigest()


def fail(tally: Tally, job: Job, error: Exception, keep_going: bool) -> None:
    """Count a failure, or stop: with the error itself, or with a DataError that names who failed and where."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if not keep_going:
        if isinstance(error, OpenMoReError) and (not isinstance(error, DataError) or job.sequence in reason):
            raise error
        raise DataError(
            f"{tally.predictor.name} failed on {job.sequence}: {reason} (--keep-going counts it and goes on)"
        ) from error
    tally.part.failures[job.sequence] = reason
    log.warning("%s on %s: %s", tally.predictor.name, job.sequence, reason)


def slug(name: str) -> str:
    """A name as a file name: letters of every script stay, composed (NFC); a name without any is its hash."""
    return plain_name(name, "-").strip("-") or hashlib.sha1(composed(name).encode()).hexdigest()[:8]
