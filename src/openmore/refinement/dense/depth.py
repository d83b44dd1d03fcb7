"""Dense depth of one frame: what is triangulated, made whole along the picture's edges.

Choices
- The noise of flow and cameras is measured: it is the median of what triangulation leaves over. Gates and uncertainties
  scale with it.
- Everything is done in the logarithm of inverse depth: a near surface that bleeds into a far one, or a level that pulls
  at it, would otherwise be a small error in inverse depth and a large one in depth.
- What is not measured takes the shape of the predicted depth, scaled to what is measured; how far measurements may
  leave it is how far the sure ones do in this frame. Each frame so finds out what the prediction is worth.
- A measurement that reaches to infinity (far surfaces) takes the most probable depth between it and the prediction.
- Pixels off their epipolar lines (movers, bad flow) count for nothing and take the depth of what surrounds them; so do
  movers that are known: what of their motion happens to lie along the lines would be taken for depth.
- Confidence is 1 + depth / uncertainty, so 1 is a guess and 11 is ten percent; it never exceeds what flow can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.refinement.dense.smoothing import Edges, fill
from openmore.refinement.dense.triangulated import FLOW_SIGMA, Triangulation

LEAST_NOISE = 0.15  # pixels
CAUTION = 2.0  # times the formal uncertainty: errors of neighbouring pixels and of cameras are not independent
RELATIVE = 0.03  # share of a pixel's inverse depth that is never undercut
NEAREST, FARTHEST = 20.0, 0.03  # times the frame's median inverse depth
STRENGTH, TENSION = 100.0, 60.0
DOUBT, LEAST_DOUBT, MOST_DOUBT = 2.5, 0.15, 1.0  # of the prediction: medians of what it is off, and log units
BALANCE_STEPS = 6
FEW = 0.02  # share of the pixels that must be triangulated, or the frame has no parallax
PLANE_STEPS, PLANE_WIDTH, PLANE_PULL = 10, 0.3, 0.002  # width in medians of the inverse depth; pull towards level
GOOD = 0.3  # relative uncertainty of those


@dataclass(frozen=True)
class DenseDepth:
    """A full map and how far it can be trusted."""

    inverse: np.ndarray  # [H, W] float32, 1 / z, > 0
    sigma: np.ndarray  # [H, W] float32, its uncertainty
    triangulated: np.ndarray  # [H, W] bool, measured here to within GOOD, not filled in
    noise: float  # pixels


def noise_of(found: Triangulation) -> float:
    """Pixels that flow and cameras are off by, from what most of the picture leaves over."""
    seen = found.residual[np.isfinite(found.residual)]
    return max(float(np.median(seen)), LEAST_NOISE) if len(seen) else LEAST_NOISE


def complete(
    found: Triangulation, edges: Edges, still: np.ndarray | None = None, predicted: np.ndarray | None = None
) -> DenseDepth | None:
    """A dense map from a triangulation [H, W]; None when the frame shows no parallax.

    `still` [H, W], 0..1, weighs what was triangulated: the probability that the pixel stands still, where it is known.
    `predicted` [H, W] is depth, > 0, in any scale; without it every pixel is expected at the frame's median.
    """
    noise = noise_of(found)
    sigma = CAUTION * noise / FLOW_SIGMA / np.sqrt(np.maximum(found.information, 1e-12))
    on_line = (found.residual < 3 * noise + 0.8) & (found.information > 0)  # NaN compares false
    sure = on_line & (sigma < GOOD * found.inverse)
    if sure.mean() < FEW:
        return None
    middle = float(np.median(found.inverse[sure]))
    limits = FARTHEST * middle, NEAREST * middle
    expected, doubt = _expected(found.inverse, sure, predicted, limits)
    measured = _balanced(found.inverse, sigma, expected, doubt, limits)
    agreed = np.exp(-np.square(np.nan_to_num(found.residual, nan=0) / (2 * noise + 0.4)))
    certainty = agreed / (np.square(sigma * np.exp(-measured)) + RELATIVE**2)
    weight = np.where(on_line, certainty, 0).astype(np.float32)
    if still is not None:
        weight, sure = weight * still, sure & (still > 0.5)
    nothing = np.zeros_like(expected)
    off, around = fill(measured - expected, weight, edges, nothing, strength=STRENGTH, tension=TENSION)
    inverse = np.clip(np.exp(expected + off), *limits).astype(np.float32)
    return DenseDepth(inverse, inverse / np.sqrt(np.maximum(around, 0) + 1), sure, noise)


def _expected(
    inverse: np.ndarray, sure: np.ndarray, predicted: np.ndarray | None, limits: tuple[float, float]
) -> tuple[np.ndarray, float]:
    """Log inverse depth [H, W] as predicted, in the scale of the `sure` pixels of `inverse`; and how far it is off."""
    if predicted is None:
        return np.full_like(inverse, np.log(np.median(inverse[sure]))), MOST_DOUBT
    ratio = float(np.median(inverse[sure] * predicted[sure]))
    expected = np.log(np.clip(ratio / np.maximum(predicted, 1e-12), *limits)).astype(np.float32)
    off = float(np.median(np.abs(np.log(np.maximum(inverse[sure], limits[0])) - expected[sure])))
    return expected, float(np.clip(DOUBT * off, LEAST_DOUBT, MOST_DOUBT))


def _balanced(
    inverse: np.ndarray, sigma: np.ndarray, expected: np.ndarray, doubt: float, limits: tuple[float, float]
) -> np.ndarray:
    """Log inverse depth [H, W] that is most probable for inverse depth measured to within `sigma` and `expected`."""
    precision = (1 / np.square(sigma)).astype(np.float32)
    pull = np.float32(1 / doubt**2)
    x = np.log(np.clip((inverse + np.hypot(inverse, sigma)) / 2, *limits)).astype(np.float32)
    for _ in range(BALANCE_STEPS):  # Gauss-Newton, one unit at most: the exponential overshoots
        y = np.exp(x)
        slope = (y - inverse) * y * precision + pull * (x - expected)
        x -= np.clip(slope / (np.square(y) * precision + pull), -1, 1)
    return np.clip(x, *np.log(limits)).astype(np.float32)


def guess(dense: DenseDepth) -> np.ndarray:
    """Inverse depth [H, W] to look again from: unmeasured pixels go on as the plane that most measured ones lie on.

    Inverse depth of a plane is linear in the picture: a road continues to the wheels. What is then seen decides.
    """
    height, width = dense.inverse.shape
    v, u = np.mgrid[:height, :width].astype(np.float64)
    A = np.stack((np.ones_like(u), u / width - 0.5, v / height - 0.5), -1)
    middle = float(np.median(dense.inverse[dense.triangulated]))
    rows, y = A[dense.triangulated][::7], dense.inverse[dense.triangulated][::7] / middle
    robust = np.ones(len(y))
    for _ in range(PLANE_STEPS):
        W = robust[:, None] * rows
        x = np.linalg.solve(rows.T @ W + np.diag((1e-9, 1, 1)) * PLANE_PULL * len(y), W.T @ y)
        robust = 1 / (1 + np.square((rows @ x - y) / PLANE_WIDTH))
    plane = np.clip(A @ x, FARTHEST, NEAREST) * middle
    return np.where(dense.triangulated, dense.inverse, plane).astype(np.float32)


def confidence_of(dense: DenseDepth) -> np.ndarray:
    """[H, W] float32, >= 1: 1 + depth / uncertainty."""
    return (1 + dense.inverse / dense.sigma).astype(np.float32)
