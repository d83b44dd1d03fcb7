"""DAVIS motion masks: J and F of the union of annotated objects, at network resolution (DAS3R / Easi3R lineage).

Choices
- Truth is any non-zero id, resized to a long side of 512 by nearest neighbour and centre-cropped to multiples of 16,
  as published; the prediction is brought to that size as a probability and thresholded at 0.5. A prediction at the
  pictures' own size is sampled like the truth, so that the truth scores exactly 1.
- All frames count, first and last included; no void. Plain mean over sequences of M, R and D of J and of F.
- `snap` also scores the masks after a refinement of openmore.masks.refine (guided, grabcut, SAM2's image predictor with
  prompts from the mask), under the refinement's name. SAM2's video predictor, which Easi3R uses, is not offered.
- Average precision and the best threshold are ours: they say whether a mask is wrong or only badly calibrated.
- DAVIS annotates salient objects: other movers count as false alarms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from openmore.data.datasets.base import Dataset
from openmore.data.datasets.davis import Davis
from openmore.errors import ConfigError, DataError
from openmore.evaluation.motion import Calibration, mask_errors
from openmore.evaluation.prediction import Prediction
from openmore.evaluation.protocols.base import Case, Column, Plan, Row, plain_mean, plan_jobs
from openmore.masks.refine import Refiner, from_probability, get_refiner
from openmore.types import MOVING

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
    snap: str = "none"
    note: str = "Scores are at network resolution (long side 512), not 480p; raw masks, no segmentation model behind."

    @property
    def title(self) -> str:
        return f"DAVIS-{self.year} {self.split} motion masks"

    def dataset(self, root: Path) -> Dataset:
        if self.snap != "none":
            kept_refiner(self.snap)  # a missing model should not wait for the data
        return Davis(root, year=self.year, split=self.split)

    def plan(self, dataset: Dataset) -> Plan:
        listed = dataset.names()
        here = set(dataset.on_disk()) if isinstance(dataset, Davis) else set(listed)
        return plan_jobs(dataset, [n for n in listed if n in here], [n for n in listed if n not in here])

    def measure(self, prediction: Prediction, case: Case) -> Row:
        if prediction.motion is None or case.sample.motion is None:
            raise DataError(f"{case.job.sequence}: no motion masks, predicted or true")
        shape = case.sample.shape
        truth = np.stack([published_size(mask, shape) for mask in case.sample.motion]) > 0
        probability = np.stack([published_size(p, shape) for p in prediction.motion])
        counts = Calibration.empty()
        counts.add(probability, truth)
        histogram = {"moving": counts.moving.tolist(), "static": counts.static.tolist()}
        row: Row = {**mask_errors(probability > THRESHOLD, truth).as_dict(), "_histogram": histogram}
        if self.snap != "none":
            errors = mask_errors(snapped(self.snap, prediction.motion, case.sample.images), truth).as_dict()
            row |= {f"{self.snap}/{key}": value for key, value in errors.items()}
        return row

    def summarise(self, rows: Mapping[str, Row]) -> dict[str, float]:
        counts = Calibration.empty()
        for row in rows.values():
            counts.moving += np.array(row["_histogram"]["moving"])
            counts.static += np.array(row["_histogram"]["static"])
        return {**plain_mean(rows), **counts.summary()}


def snapped(refiner: str, motion: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Masks [S, h, w] bool at the published size: probabilities cut at 0.5 and refined on the pictures [S, H, W, 3]."""
    refine, masks = kept_refiner(refiner), []
    for probability, image in zip(motion, images):
        labels = from_probability(resize(probability, (image.shape[0], image.shape[1])), THRESHOLD)
        mask = (refine(labels, image) == MOVING).astype(np.uint8)
        masks.append(published_size(mask, mask.shape) > 0)
    return np.stack(masks)


@lru_cache(maxsize=1)
def kept_refiner(name: str) -> Refiner:
    """The refinement, loaded once. Raises ConfigError for "none" and unknown names."""
    refiner = get_refiner(name)
    if refiner is None:
        raise ConfigError("refinement none changes nothing: name guided, grabcut or a SAM2 size")
    return refiner


def resize(values: np.ndarray, shape: tuple[int, int], nearest: bool = False) -> np.ndarray:
    """[h, w] -> [H, W]."""
    import cv2

    mode = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.resize(values, (shape[1], shape[0]), interpolation=mode)


def published_size(values: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    """A map of a picture of the shape `picture` (H, W): long side 512, then the centre crop to multiples of 16."""
    scale = LONG_SIDE / max(picture)
    shape = round(picture[0] * scale), round(picture[1] * scale)
    resized = resize(values, shape, nearest=values.shape == tuple(picture))
    crop = tuple(n // MULTIPLE * MULTIPLE for n in shape)
    top, left = (shape[0] - crop[0]) // 2, (shape[1] - crop[1]) // 2
    return resized[top : top + crop[0], left : left + crop[1]]
