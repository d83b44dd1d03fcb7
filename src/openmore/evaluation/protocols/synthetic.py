"""Our own: held-out clips of the synthetic world, where every truth is exact. Metrics are those of `clips`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openmore.data.datasets.base import Dataset
from openmore.data.datasets.synthetic import SyntheticClips
from openmore.evaluation.prediction import Prediction
from openmore.evaluation.protocols.base import Case, Column, Job, Row
from openmore.evaluation.protocols.clips import COLUMNS, Clips


@dataclass(frozen=True)
class Synthetic:
    """`count` clips from seeds that training never draws."""

    name: str = "synthetic"
    title: str = "Synthetic clips"
    columns: tuple[Column, ...] = COLUMNS
    note: str = "The world the shipped weights were trained in, other seeds: an upper bound, not a claim about videos."
    count: int = 20
    frames: int = 16

    def dataset(self, root: Path) -> Dataset:
        return SyntheticClips(self.count, self.frames)

    def jobs(self, dataset: Dataset) -> tuple[list[Job], list[str]]:
        return [Job(name, tuple(dataset.frame_ids(name))) for name in dataset.names()], []

    def measure(self, prediction: Prediction, case: Case) -> Row:
        return Clips().measure(prediction, case)

    def summarise(self, rows: Mapping[str, Row]) -> dict[str, float]:
        return Clips().summarise(rows)
