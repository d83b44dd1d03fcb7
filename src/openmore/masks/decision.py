"""Which segments move: the paper's rule, and rules that mend its failure cases.

Choices
- `paper` is equations 1-3 of the supplement to the letter: d_k is the mean residual of the segment, moving iff
  d_k > mu + 2 sigma over the frame's segments. It flags nothing in frames of 5 segments or fewer, nothing when a
  fifth of the segments moves alike, and something in almost every static frame (docs/masks.md).
- `robust` replaces mean and deviation by area-weighted median and MAD of the segments' median residuals, and never
  goes below a floor in pixels: the larger of a constant (at 518 px width) and a multiple of the flow's own noise.
- `floored` is the paper's rule with that floor; `floor` is the floor alone. On the synthetic world it is about as good
  as `robust` (benchmarks/results/masks_synthetic.json), which is for residuals with errors of their own.
- A segment with too few valid pixels is unknown (255), not static.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openmore.errors import ConfigError
from openmore.types import MOVING, STATIC, UNKNOWN

RuleName = Literal["paper", "floored", "robust", "floor"]
RULES: tuple[RuleName, ...] = ("paper", "floored", "robust", "floor")
_MAD_TO_SIGMA = 1.4826
_LEAST_PX = 1 / 3


@dataclass(frozen=True)
class Rule:
    """How residuals become labels."""

    name: RuleName = "floor"
    floor_px: float = 0.6  # residual that never counts as motion, for pictures 518 px wide
    noise_factor: float = 3.0  # ... and at least so many times the flow's noise
    spread: float = 3.0  # robust: deviations above the median
    min_valid_pixels: int = 50  # a segment with fewer is unknown
    min_valid_share: float = 0.3  # ... or with a smaller share of its area

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise ConfigError(f"rule {self.name!r} is unknown: choose one of {', '.join(RULES)}")
        for name, value in (("floor", self.floor_px), ("noise factor", self.noise_factor), ("spread", self.spread)):
            if not 0 <= value < math.inf:
                raise ConfigError(f"a rule's {name} is {value}: expected a number of at least 0")


@dataclass(frozen=True)
class Segments:
    """Residuals per segment of one frame; arrays have one entry per segment."""

    area: np.ndarray  # [K] int64, pixels
    valid: np.ndarray  # [K] int64, pixels with a residual
    mean: np.ndarray  # [K] float64, pixels; d_k of equation 1; NaN without valid pixels
    median: np.ndarray  # [K] float64, pixels; infinite when most pixels are lost


@dataclass(frozen=True)
class Decision:
    """The verdict on the segments of one frame and everything it rests on."""

    label: np.ndarray  # [K] uint8: 0 static, 1 moving, 255 unknown
    center: float  # mu of equation 2, or the median
    sigma: float  # sigma of equation 2, or the MAD as a deviation
    floor: float  # pixels
    threshold: float  # pixels
    reason: list[str]  # one per segment


def measure(labels: np.ndarray, residual: np.ndarray) -> Segments:
    """Collect residuals [H, W] per segment of `labels` [H, W] int (-1 = in no segment).

    NaN residuals do not count; infinite ones (lost pixels) count in medians and not in means.
    """
    count = int(labels.max(initial=-1)) + 1
    inside = labels >= 0
    area = np.bincount(labels[inside], minlength=count)
    use = inside & ~np.isnan(residual)
    ids, values = labels[use], residual[use].astype(np.float64)
    seen, finite = np.bincount(ids, minlength=count), np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.bincount(ids[finite], values[finite], minlength=count)
        mean = total / np.bincount(ids[finite], minlength=count)
    return Segments(area, seen, mean, _medians(ids, values, seen))


def _medians(ids: np.ndarray, values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The lower median of each segment's values; NaN for empty ones."""
    ordered = values[np.lexsort((values, ids))]
    start = np.cumsum(seen) - seen
    out = np.full(len(seen), np.nan)
    some = seen > 0
    out[some] = ordered[(start + (seen - 1) // 2)[some]]
    return out


def floor_of(rule: Rule, width: int, noise: float) -> float:
    """Pixels below which nothing moves: the rule's constant for this width, or the flow's noise if that is larger.

    Small pictures lower the constant to a third of a pixel and no further: flow is not surer there.
    """
    scaled = max(rule.floor_px * width / 518, min(rule.floor_px, _LEAST_PX))
    return max(scaled, rule.noise_factor * noise)


def decide(segments: Segments, rule: Rule, floor: float) -> Decision:
    """Label the segments of one frame; `floor` in pixels from `floor_of`."""
    known = segments.valid > 0
    if rule.name in ("paper", "floored"):
        known &= np.isfinite(segments.mean)
    if rule.name != "paper":
        known &= segments.valid >= np.minimum(rule.min_valid_pixels, segments.area)
        known &= segments.valid >= rule.min_valid_share * segments.area
    statistic = segments.median if rule.name in ("robust", "floor") else segments.mean
    center, sigma = _center(rule, statistic[known], segments.area[known])
    threshold = _threshold(rule, center, sigma, floor)
    with np.errstate(invalid="ignore"):
        moving = known & (statistic > threshold)
    label = np.where(known, np.where(moving, MOVING, STATIC), UNKNOWN).astype(np.uint8)
    reasons = [_reason(*row, threshold) for row in zip(label, statistic, segments.valid, segments.area)]
    return Decision(label, center, sigma, floor, threshold, reasons)


def _center(rule: Rule, values: np.ndarray, area: np.ndarray) -> tuple[float, float]:
    if not len(values):
        return float("nan"), float("nan")
    if rule.name in ("paper", "floored"):
        return float(values.mean()), float(values.std())
    values = np.minimum(values, np.finfo(np.float32).max)  # lost segments are far, but differences must exist
    center = _weighted_median(values, area)
    return center, _MAD_TO_SIGMA * _weighted_median(np.abs(values - center), area)


def _threshold(rule: Rule, center: float, sigma: float, floor: float) -> float:
    if np.isnan(center):
        return float("nan")
    if rule.name == "paper":
        return center + 2 * sigma
    if rule.name == "floored":
        return max(floor, center + 2 * sigma)
    return floor if rule.name == "floor" else max(floor, center + rule.spread * sigma)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _reason(label: int, value: float, valid: int, area: int, threshold: float) -> str:
    if label == UNKNOWN:
        return f"unknown: {valid} of {area} px can be judged"
    if np.isinf(value):
        return "moving: neither the ego flow nor any flow explains most of it"
    return f"{'moving' if label == MOVING else 'static'}: {value:.2f} px against {threshold:.2f}"


def paint(labels: np.ndarray, decision: Decision, residual: np.ndarray) -> np.ndarray:
    """Labels [H, W] uint8: every pixel takes its segment's verdict.

    A pixel in no segment is static only if its own residual is below the threshold, otherwise unknown.
    """
    with np.errstate(invalid="ignore"):
        quiet = residual <= decision.threshold
    out = np.where(quiet, STATIC, UNKNOWN).astype(np.uint8)
    inside = labels >= 0
    out[inside] = decision.label[labels[inside]]
    return out
