"""Moving-object masks against truth: region similarity J, boundary accuracy F, J&F, and calibration.

Choices
- J is IoU; both empty counts 1. F is the F-measure of boundaries matched within 0.008 of the diagonal (disk dilation),
  as in DAVIS; two empty boundaries count 1.
- Mean M, recall R (share of frames above 0.5) and decay D (first minus last quarter) per sequence, then the mean over
  sequences. First and last frames are kept: the motion-mask tables keep them, the official DAVIS tool does not.
- Truth is any non-zero id. Pixels labelled `void` (255 of the Sample contract) can be left out, and with them frames
  that have no others; the published protocol has no void, so it is an option.
- Average precision and the best threshold pool all pixels of all frames in 256 probability bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from openmore.errors import DataError

BOUNDARY_TOLERANCE = 0.008  # of the image diagonal
BINS = 256


@dataclass(frozen=True)
class MaskErrors:
    """J and F of one sequence, all in 0..1 (decays may be negative)."""

    j_mean: float
    j_recall: float
    j_decay: float
    f_mean: float
    f_recall: float
    f_decay: float
    frames: int

    @property
    def jf(self) -> float:
        """J&F: the mean of both means."""
        return (self.j_mean + self.f_mean) / 2

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {**asdict(self), "jf": self.jf}


def mask_errors(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None) -> MaskErrors:
    """J and F of boolean masks [S, H, W]; `void` [S, H, W] marks pixels that count for nobody.

    Frames that are all void are left out. Raises DataError when the shapes differ or there is no frame.
    """
    if prediction.shape != truth.shape or truth.ndim != 3 or not len(truth):
        raise DataError(f"masks must be the same [S, H, W]: prediction {prediction.shape}, truth {truth.shape}")
    prediction, truth = prediction.astype(bool), truth.astype(bool)
    if void is not None:
        known = ~void.all((-1, -2))
        if not known.any():
            raise DataError(f"no frame of the {len(truth)} has a pixel that is not void: there is nothing to measure")
        prediction, truth = (prediction & ~void)[known], (truth & ~void)[known]
    J = jaccard(prediction, truth)
    F = np.array([boundary_f(p, t) for p, t in zip(prediction, truth)])
    return MaskErrors(*statistics(J), *statistics(F), len(truth))


def jaccard(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """IoU [...] of boolean masks [..., H, W]; 1 where both are empty."""
    intersection = (prediction & truth).sum((-1, -2))
    union = (prediction | truth).sum((-1, -2))
    return np.where(union == 0, 1.0, intersection / np.maximum(union, 1))


def boundary_f(prediction: np.ndarray, truth: np.ndarray, tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """F-measure of the boundaries of two boolean masks [H, W]. A tolerance below 1 is a share of the diagonal."""
    radius = int(tolerance) if tolerance >= 1 else int(np.ceil(tolerance * np.hypot(*truth.shape)))
    b_pred, b_true = boundary(prediction), boundary(truth)
    n_pred, n_true = b_pred.sum(), b_true.sum()
    if n_pred == 0 or n_true == 0:
        return float(n_pred == n_true)
    precision = (b_pred & dilate(b_true, radius)).sum() / n_pred
    recall = (b_true & dilate(b_pred, radius)).sum() / n_true
    return float(2 * precision * recall / (precision + recall)) if precision + recall > 0 else 0.0


def boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels [H, W] whose right, lower or lower-right neighbour has another label: a boundary one pixel wide."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask != padded[:-1, 1:]) | (mask != padded[1:, :-1]) | (mask != padded[1:, 1:])


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Pixels within `radius` (Euclidean) of the mask [H, W]."""
    import cv2

    v, u = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (u * u + v * v <= radius * radius).astype(np.uint8)
    return cv2.dilate(mask.astype(np.uint8), disk).astype(bool)


def statistics(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, recall (share above 0.5) and decay (first minus last quarter) of per-frame values [S]."""
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[edges[0] : edges[1] + 1], values[edges[3] : edges[4] + 1]
    return float(values.mean()), float((values > 0.5).mean()), float(first.mean() - last.mean())


@dataclass
class Calibration:
    """Histograms of probabilities over moving and static pixels, filled sequence by sequence."""

    moving: np.ndarray  # [256] pixel counts
    static: np.ndarray  # [256]

    @classmethod
    def empty(cls) -> Calibration:
        return cls(np.zeros(BINS, np.int64), np.zeros(BINS, np.int64))

    def add(self, probability: np.ndarray, truth: np.ndarray) -> None:
        """Count probabilities 0..1 against boolean truth of the same shape."""
        bins = np.clip(probability * BINS, 0, BINS - 1).astype(np.int64)
        self.moving += np.bincount(bins[truth], minlength=BINS)
        self.static += np.bincount(bins[~truth], minlength=BINS)

    def summary(self) -> dict[str, float]:
        """Average precision, and the threshold with the best pixel IoU over everything counted."""
        hits, alarms = np.cumsum(self.moving[::-1])[::-1], np.cumsum(self.static[::-1])[::-1]
        total = max(int(hits[0]), 1)
        precision, recall = hits / np.maximum(hits + alarms, 1), hits / total
        steps = -np.diff(np.append(recall, 0.0))
        iou = hits / np.maximum(total + alarms, 1)
        best = int(iou.argmax())
        return {
            "average_precision": float((precision * steps).sum()),
            "best_threshold": best / BINS,
            "iou_at_best": float(iou[best]),
            "iou_at_half": float(iou[BINS // 2]),
        }


def mean_of(errors: Sequence[MaskErrors]) -> dict[str, float]:
    """Mean over sequences of every column."""
    rows = [e.as_dict() for e in errors]
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "frames"}
