"""Why each mask is what it is: every d_k, mu, sigma, threshold and reason, as plain data that turns into JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from openmore.masks.clip import Origin
from openmore.masks.decision import Decision, Segments
from openmore.masks.evidence import Evidence
from openmore.types import MOVING, UNKNOWN


@dataclass(frozen=True)
class SegmentReport:
    """One region's case."""

    id: int
    area: int  # pixels
    valid: int  # pixels that could be judged
    d: float | None  # pixels, d_k of equation 1 (mean residual); None without valid pixels
    median: float | None  # pixels; None without valid pixels or when most are lost
    label: int  # 0, 1 or 255
    reason: str


@dataclass(frozen=True)
class PairReport:
    """One frame against another."""

    other: int  # frame number of the other picture
    ego: str  # "geometry", "homography" or "epipolar"
    noise: float  # pixels, the flow's own error (median of the forward-backward check)


@dataclass(frozen=True)
class FrameReport:
    """One frame's mask and what it rests on; without a rule (the reconstruction's own masks) that is None or empty."""

    frame: int  # place in the clip; its mask is masks/{frame:05d}.png
    index: int  # number in the source: differs from the place with a stride, a rate or damaged frames
    name: str | None  # in the source: file name, or "clip.mp4#12"
    moving: float  # share of the picture's pixels in the final mask
    unknown: float
    mu: float | None  # pixels; the median for robust rules
    sigma: float | None  # pixels
    floor: float | None  # pixels
    threshold: float | None  # pixels
    pairs: list[PairReport]
    segments: list[SegmentReport]


@dataclass
class MaskReport:
    """A clip's masks explained."""

    name: str
    settings: dict[str, Any]
    frames: list[FrameReport] = field(default_factory=list)
    agreement: dict[str, float] | None = None  # with the motion head's own masks: share of equal pixels, IoU
    skipped: list[dict[str, Any]] = field(default_factory=list)  # damaged frames: {"index": int, "reason": str}

    def to_json(self) -> dict[str, Any]:
        """Plain values, NaN and infinity as None."""
        return asdict(self)


@dataclass(frozen=True)
class Case:
    """Everything a frame's verdict rests on, before the final mask is known."""

    frame: int
    pairs: list[Evidence]
    segments: Segments
    decision: Decision

    def report(self, mask: np.ndarray, origin: Origin) -> FrameReport:
        """The frame's report; `mask` [H, W] uint8 is its final mask."""
        d = self.decision
        pairs = [PairReport(e.other, e.ego, round(e.noise, 4)) for e in self.pairs]
        numbers = _number(d.center), _number(d.sigma), round(d.floor, 4), _number(d.threshold)
        head = self.frame, origin.index, origin.name, *_shares(mask)
        return FrameReport(*head, *numbers, pairs, _segments(self.segments, d))


def bare_report(frame: int, mask: np.ndarray, origin: Origin) -> FrameReport:
    """The report of a mask [H, W] uint8 that no rule decided."""
    return FrameReport(frame, origin.index, origin.name, *_shares(mask), None, None, None, None, [], [])


def _shares(mask: np.ndarray) -> tuple[float, float]:
    """Shares of moving and unknown pixels."""
    return round(float(np.mean(mask == MOVING)), 5), round(float(np.mean(mask == UNKNOWN)), 5)


def _segments(segments: Segments, decision: Decision) -> list[SegmentReport]:
    rows = zip(segments.area, segments.valid, segments.mean, segments.median, decision.label, decision.reason)
    return [
        SegmentReport(i, int(area), int(valid), _number(mean), _number(median), int(label), reason)
        for i, (area, valid, mean, median, label, reason) in enumerate(rows)
    ]


def agreement(masks: Sequence[np.ndarray], motion: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """How far masks and the motion head's probabilities [S, H, W] agree, over pixels that are not unknown."""
    both = either = equal = known = 0
    for mask, probability in zip(masks, motion):
        use = mask != UNKNOWN
        a, b = (mask == MOVING) & use, (probability > threshold) & use
        both, either = both + int((a & b).sum()), either + int((a | b).sum())
        equal, known = equal + int(((a == b) & use).sum()), known + int(use.sum())
    return {"iou": both / either if either else 1.0, "equal": equal / known if known else 1.0}


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
