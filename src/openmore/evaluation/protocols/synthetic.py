"""Our own: held-out clips of the synthetic world, where every truth is exact. Metrics are those of `clips`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openmore.data.datasets.base import Dataset
from openmore.data.datasets.posed_folder import PosedFolder
from openmore.data.datasets.synthetic import SyntheticClips
from openmore.evaluation.prediction import Prediction
from openmore.evaluation.protocols.base import Case, Column, Plan, Row, plan_jobs
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
    folder: Path | None = None  # of clips written by `openmore synth`, instead of rendering

    def dataset(self, root: Path) -> Dataset:
        if self.folder is not None:
            return PosedFolder(self.folder)
        return SyntheticClips(self.count, self.frames)

    def plan(self, dataset: Dataset) -> Plan:
        return plan_jobs(dataset, dataset.names(), fewest=2)

    def measure(self, prediction: Prediction, case: Case) -> Row:
        return Clips().measure(prediction, case)

    def summarise(self, rows: Mapping[str, Row]) -> dict[str, float]:
        return Clips().summarise(rows)
