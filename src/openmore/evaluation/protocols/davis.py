"""DAVIS motion masks: J and F of the union of annotated objects, at network resolution (DAS3R / Easi3R lineage).

Choices
- Truth is any non-zero id, resized to a long side of 512 by nearest neighbour and centre-cropped to multiples of 16,
  as published; the prediction is brought to that size as a probability and thresholded at 0.5.
- All frames count, first and last included; no void. Plain mean over sequences of M, R and D of J and of F.
- Average precision and the best threshold are ours: they say whether a mask is wrong or only badly calibrated.
- DAVIS annotates salient objects: other movers count as false alarms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmore.data.datasets.base import Dataset
from openmore.data.datasets.davis import Davis
from openmore.errors import DataError
from openmore.evaluation.motion import Calibration, mask_errors
from openmore.evaluation.prediction import Prediction
from openmore.evaluation.protocols.base import Case, Column, Plan, Row, plain_mean, plan_jobs

LONG_SIDE, MULTIPLE, THRESHOLD = 512, 16, 0.5
COLUMNS = tuple(
    Column(key, header, digits=1, scale=100, higher_is_better=True)
    for key, header in (("j_mean", "JM"), ("j_recall", "JR"), ("f_mean", "FM"), ("f_recall", "FR"))
)


@dataclass(frozen=True)
class DavisMasks:
    """J and F on one list of DAVIS."""

    name: str = "davis"
    year: str = "2016"
    split: str = "val"
    columns: tuple[Column, ...] = COLUMNS
    note: str = "Scores are at network resolution (long side 512), not 480p; raw masks, no segmentation model behind."

    @property
    def title(self) -> str:
        return f"DAVIS-{self.year} {self.split} motion masks"

    def dataset(self, root: Path) -> Dataset:
        return Davis(root, year=self.year, split=self.split)

    def plan(self, dataset: Dataset) -> Plan:
        listed = dataset.names()
        here = set(dataset.on_disk()) if isinstance(dataset, Davis) else set(listed)
        return plan_jobs(dataset, [n for n in listed if n in here], [n for n in listed if n not in here])

    def measure(self, prediction: Prediction, case: Case) -> Row:
        if prediction.motion is None or case.sample.motion is None:
            raise DataError(f"{case.job.sequence}: no motion masks, predicted or true")
        truth = np.stack([published_size(mask, nearest=True) for mask in case.sample.motion]) > 0
        shape = case.sample.shape
        probability = np.stack([published_size(resize(p, shape), nearest=False) for p in prediction.motion])
        counts = Calibration.empty()
        counts.add(probability, truth)
        histogram = {"moving": counts.moving.tolist(), "static": counts.static.tolist()}
        return {**mask_errors(probability > THRESHOLD, truth).as_dict(), "_histogram": histogram}

    def summarise(self, rows: Mapping[str, Row]) -> dict[str, float]:
        counts = Calibration.empty()
        for row in rows.values():
            counts.moving += np.array(row["_histogram"]["moving"])
            counts.static += np.array(row["_histogram"]["static"])
        return {**plain_mean(rows), **counts.summary()}


def resize(values: np.ndarray, shape: tuple[int, int], nearest: bool = False) -> np.ndarray:
    """[h, w] -> [H, W]."""
    import cv2

    mode = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.resize(values, (shape[1], shape[0]), interpolation=mode)


def published_size(values: np.ndarray, nearest: bool) -> np.ndarray:
    """Long side 512, then the centre crop to multiples of 16."""
    height, width = values.shape
    scale = LONG_SIDE / max(height, width)
    shape = round(height * scale), round(width * scale)
    resized = resize(values, shape, nearest)
    crop = tuple(n // MULTIPLE * MULTIPLE for n in shape)
    top, left = (shape[0] - crop[0]) // 2, (shape[1] - crop[1]) // 2
    return resized[top : top + crop[0], left : left + crop[1]]
