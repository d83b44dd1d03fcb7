"""What a benchmark is: jobs, a measurement per sequence, and a summary over sequences.

A protocol never sees the predictor and a predictor never sees the truth; `suite.py` stands between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from openmore.data.datasets.base import Dataset
from openmore.data.sample import Sample
from openmore.errors import DataError, OpenMoReError
from openmore.evaluation.depth import depth_errors
from openmore.evaluation.matching import Matches, consecutive_matches
from openmore.evaluation.prediction import Clip, Prediction

Row = dict[str, Any]  # metric -> value of one sequence; keys that begin with "_" are raw material for the summary


@dataclass(frozen=True)
class Job:
    """Frames of one sequence that are given to a method together."""

    sequence: str
    frames: tuple[int, ...]


@dataclass
class Plan:
    """What a benchmark will run on the data at hand, and what of it cannot be run."""

    jobs: list[Job]
    missing: list[str] = field(default_factory=list)  # sequences of the benchmark that are not on disk
    broken: dict[str, OpenMoReError] = field(default_factory=dict)  # sequence -> why its index cannot be used
    short: dict[str, str] = field(default_factory=dict)  # sequence -> "90 of 110 frames": measured, not comparable


@dataclass(frozen=True)
class Column:
    """One printed number."""

    key: str  # in the summary
    header: str
    digits: int = 3
    scale: float = 1.0  # 100 for percentages
    higher_is_better: bool = False
    detail: bool = False  # only in the table per sequence


@dataclass
class Case:
    """A job with its pictures, its truth, and what can be seen in the pictures without truth."""

    job: Job
    sample: Sample
    truth: dict[str, str]  # what of the sample is real: cameras, intrinsics, depth, motion -> "true" or "pseudo"

    @property
    def clip(self) -> Clip:
        """What the method gets."""
        K = self.sample.K if "intrinsics" in self.truth else None
        return Clip(self.job.sequence, self.sample.images, self.sample.times_s, K)

    @cached_property
    def matches(self) -> list[Matches]:
        """Point matches of consecutive frames."""
        return consecutive_matches(self.sample.images)

    @cached_property
    def constant_depth_abs_rel(self) -> float:
        """What a depth that is the same everywhere scores after the published scale."""
        return depth_errors(np.ones_like(self.sample.depth), self.sample.depth).abs_rel

    @cached_property
    def flow(self) -> np.ndarray:
        """Optical flow [S-1, 2, H, W] of consecutive frames, NaN where it fails its own check."""
        from openmore.flow import get_flow

        estimator = get_flow("dis")
        found = []
        for a, b in zip(self.sample.images[:-1], self.sample.images[1:]):
            result = estimator(a, b)
            found.append(np.where(result.confidence >= 0.5, result.flow, np.nan).astype(np.float32))
        return np.stack(found)


class Benchmark(Protocol):
    """A benchmark."""

    @property
    def name(self) -> str:
        """On the command line."""
        ...

    @property
    def title(self) -> str:
        """In tables."""
        ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is printed."""
        ...

    @property
    def note(self) -> str:
        """What a reader must know about its numbers."""
        ...

    def dataset(self, root: Path) -> Dataset:
        """Open the data."""
        ...

    def plan(self, dataset: Dataset) -> Plan:
        """The jobs, and what is missing, broken or cut short."""
        ...

    def measure(self, prediction: Prediction, case: Case) -> Row:
        """Numbers of one sequence. Raises DataError when the prediction cannot be measured."""
        ...

    def summarise(self, rows: Mapping[str, Row]) -> dict[str, float]:
        """Numbers of the benchmark from those of its sequences."""
        ...


def plan_jobs(
    dataset: Dataset,
    names: Sequence[str],
    missing: Sequence[str] = (),
    *,
    select: Callable[[list[int]], list[int]] = list,
    fewest: int = 1,
    expected: Callable[[str], int | None] = lambda _: None,
) -> Plan:
    """One job per sequence from the frames that `select` takes of the usable ones.

    A sequence whose index cannot be read, or that has under `fewest` such frames, is broken; one with fewer than the
    benchmark's `expected` number is short: it is measured, and the result says that it is not the published one.
    """
    plan = Plan([], list(missing))
    for name in names:
        try:
            frames = tuple(select(dataset.frame_ids(name)))
            if len(frames) < fewest:
                raise DataError(
                    f"{dataset.name}/{name} has {len(frames)} frames of the benchmark, expected at least {fewest}: "
                    "the download is cut off"
                )
        except OpenMoReError as error:
            plan.broken[name] = error
            continue
        plan.jobs.append(Job(name, frames))
        wanted = expected(name)
        if wanted is not None and len(frames) < wanted:
            plan.short[name] = f"{len(frames)} of {wanted} frames"
    return plan


def present(dataset: Dataset, wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which of the wanted sequences the data set has, and which not."""
    here = set(dataset.names())
    return [name for name in wanted if name in here], [name for name in wanted if name not in here]


def plain_mean(rows: Mapping[str, Row]) -> dict[str, float]:
    """Mean over sequences of every number that at least one sequence has."""
    keys = {key for row in rows.values() for key, value in row.items() if _is_number(key, value)}
    return {
        key: float(np.mean([row[key] for row in rows.values() if _is_number(key, row.get(key))]))
        for key in sorted(keys)
    }


def _is_number(key: str, value: Any) -> bool:
    return not key.startswith("_") and isinstance(value, int | float) and bool(np.isfinite(value))
