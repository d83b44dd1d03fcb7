"""Inverse depth of every pixel from where several frames see it again, under known cameras.

Choices
- A pixel of frame a at inverse depth rho lands in frame b at (A + rho B) / z: linear up to the division, so a few
  reweighted least-squares steps over all frames solve for rho; the start is the weighted median of the frames' answers.
- Robust (Geman-McClure) in units of each flow's own uncertainty: a frame that saw something else has no say.
- What is left over, in pixels, is how far the flows are from anything a static point could do: movers and bad flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FLOW_SIGMA = 0.3  # pixels, of flow that passes the forward-backward check exactly
STEPS = 5
WIDTH = 2.0  # of the robust loss, standard deviations
_LEAST_Z = 0.05  # of the landing depth relative to the pixel's own, in units of the ray


@dataclass(frozen=True)
class Sight:
    """Where the pixels of a grid are seen in one other frame, and what the cameras allow."""

    A: np.ndarray  # [3, H, W] float32, homogeneous pixels at infinity
    B: np.ndarray  # [3] float32, the epipole's direction: homogeneous pixels per unit of inverse depth
    seen: np.ndarray  # [2, H, W] float32, pixels of the other frame
    variance: np.ndarray  # [H, W] float32, squared pixels; infinite = not seen
    upright: np.ndarray  # [2, H, W] float32, seen, as a global shutter would have it

    def linear(self, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residual c + rho d in pixels, linearised where the point now lands: c and d, each [2, H, W]."""
        z = np.maximum(self.A[2] + inverse * self.B[2], _LEAST_Z)
        return (self.upright * self.A[2] - self.A[:2]) / z, (self.upright * self.B[2] - self.B[:2, None, None]) / z


@dataclass(frozen=True)
class Triangulation:
    """What the frames agree on, per pixel."""

    inverse: np.ndarray  # [H, W] float32, 1 / z, >= 0; meaningless where information is 0
    information: np.ndarray  # [H, W] float32, 1 / variance of it
    residual: np.ndarray  # [H, W] float32, pixels between where it should land and does, median; NaN = unseen


def sight(
    K_a: np.ndarray, K_b: np.ndarray, b_from_a: np.ndarray, u: np.ndarray, v: np.ndarray, seen: np.ndarray,
    confidence: np.ndarray, rolled: np.ndarray | None = None,
) -> Sight:  # fmt: skip
    """The sight of pixels (u, v) [H, W] of frame a in frame b: `seen` [2, H, W] with `confidence` [H, W] 0..1.

    `rolled` [2, H, W]: how far a rolling shutter has moved what was seen; u and v are without such a shift.
    """
    M = K_b @ b_from_a[:3, :3] @ np.linalg.inv(K_a)
    A = np.stack([row[0] * u + row[1] * v + row[2] for row in M]).astype(np.float32)
    usable = (confidence > 0.5) & np.isfinite(seen).all(0)
    spread = FLOW_SIGMA**2 + 0.5 * (1 / np.maximum(confidence, 0.5) - 1)
    variance = np.where(usable, spread, np.inf).astype(np.float32)
    B = (K_b @ b_from_a[:3, 3]).astype(np.float32)
    seen = np.where(usable, seen, 0).astype(np.float32)
    return Sight(A, B, seen, variance, seen if rolled is None else seen - rolled)


def triangulate(sights: Sequence[Sight], shape: tuple[int, int]) -> Triangulation:
    """Fuse all sights of a grid of `shape` (H, W)."""
    if not sights:
        nothing = np.zeros(shape, np.float32)
        return Triangulation(nothing, nothing, np.full(shape, np.nan, np.float32))
    inverse = _start(sights, shape)
    for _ in range(STEPS):
        information = np.zeros(shape, np.float32)
        pull = np.zeros(shape, np.float32)
        for s in sights:
            c, d = s.linear(inverse)
            off = np.square(c + inverse * d).sum(0) / s.variance
            weight = 1 / np.square(1 + off / WIDTH**2) / s.variance
            information += weight * np.square(d).sum(0)
            pull -= weight * (c * d).sum(0)
        inverse = np.where(information > 0, pull / np.maximum(information, 1e-20), inverse)
        inverse = np.maximum(inverse, 0).astype(np.float32)
    return Triangulation(inverse, information, _residual(sights, inverse))


def _start(sights: Sequence[Sight], shape: tuple[int, int]) -> np.ndarray:
    """The weighted median of what each frame says alone, >= 0."""
    zero = np.zeros(shape, np.float32)
    answers, weights = [], []
    for s in sights:
        c, d = s.linear(zero)
        along = np.square(d).sum(0)
        weights.append(along / s.variance)
        answers.append(np.where(weights[-1] > 0, -(c * d).sum(0) / np.maximum(along, 1e-12), np.inf))
    chosen = weighted_median(np.stack(answers), np.stack(weights))
    return np.where(np.isfinite(chosen), np.maximum(chosen, 0), 0).astype(np.float32)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The median over the first axis of values [N, ...] with weights [N, ...] >= 0; the smallest where all are zero."""
    order = np.argsort(values, axis=0)
    total = np.cumsum(np.take_along_axis(weights, order, 0), 0)
    middle = (total >= 0.5 * total[-1:]).argmax(0)
    return np.take_along_axis(values, np.take_along_axis(order, middle[None], 0), 0)[0]


def _residual(sights: Sequence[Sight], inverse: np.ndarray) -> np.ndarray:
    """Lower median over the frames that see the pixel; NaN where none does."""
    distances = []
    for s in sights:
        c, d = s.linear(inverse)
        distances.append(np.where(np.isfinite(s.variance), np.sqrt(np.square(c + inverse * d).sum(0)), np.nan))
    ordered = np.sort(np.stack(distances), axis=0)  # NaN sorts last
    told = np.isfinite(ordered).sum(0)
    middle = np.take_along_axis(ordered, (np.maximum(told - 1, 0) // 2)[None], 0)[0]
    return np.where(told > 0, middle, np.nan).astype(np.float32)
