"""Dense depth of one frame: what is triangulated, made whole along the picture's edges.

Choices
- The noise of flow and cameras is measured: it is the median of what triangulation leaves over. Gates and uncertainties
  scale with it.
- Inverse depth below its own uncertainty is lifted to it: the distance of far surfaces is a guess, and the shorter one
  errs less.
- Far from anything measured, the map tends to the frame's median; a plane there made some clips better, others worse.
- Pixels off their epipolar lines (movers, bad flow) count for nothing and take the depth of what surrounds them; so do
  movers that are known: what of their motion happens to lie along the lines would be taken for depth.
- Confidence is 1 + depth / uncertainty, so 1 is a guess and 11 is ten percent; it never exceeds what flow can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.refinement.smoothing import Edges, fill, smooth
from openmore.refinement.triangulated import FLOW_SIGMA, Triangulation

LEAST_NOISE = 0.15  # pixels
CAUTION = 2.0  # times the formal uncertainty: errors of neighbouring pixels and of cameras are not independent
RELATIVE, ABSOLUTE = 0.03, 0.01  # share of the pixel's and of the frame's inverse depth that is never undercut
HEAVIEST = 400.0  # weight of a pixel, where the prior has 1
NEAREST, FARTHEST = 20.0, 0.03  # times the frame's median inverse depth
STRENGTH = 100.0
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


def complete(found: Triangulation, edges: Edges, still: np.ndarray | None = None) -> DenseDepth | None:
    """A dense map from a triangulation [H, W]; None when the frame shows no parallax.

    `still` [H, W], 0..1, weighs what was triangulated: the probability that the pixel stands still, where it is known.
    """
    noise = noise_of(found)
    sigma = CAUTION * noise / FLOW_SIGMA / np.sqrt(np.maximum(found.information, 1e-12))
    on_line = (found.residual < 3 * noise + 0.8) & (found.information > 0)  # NaN compares false
    sure = on_line & (sigma < GOOD * found.inverse)
    if sure.mean() < FEW:
        return None
    middle = np.float32(np.median(found.inverse[sure]))
    lifted = (found.inverse + np.sqrt(np.square(found.inverse) + 4 * np.square(sigma))) / 2
    lifted = np.minimum(lifted, NEAREST * middle).astype(np.float32)
    variance = np.square(sigma) + np.square(RELATIVE * lifted) + np.square(ABSOLUTE * middle)
    agreed = np.exp(-np.square(np.nan_to_num(found.residual, nan=0) / (2 * noise + 0.4)))
    weight = np.where(on_line, np.minimum(middle**2 / variance, HEAVIEST) * agreed, 0).astype(np.float32)
    if still is not None:
        weight, sure = weight * still, sure & (still > 0.5)
    level = np.full_like(lifted, middle)
    inverse = np.maximum(fill(lifted, weight, edges, level, strength=STRENGTH), FARTHEST * middle)
    around = smooth(weight[None], edges, STRENGTH)[0]
    return DenseDepth(inverse, middle / np.sqrt(np.maximum(around, 0) + 1), sure, noise)


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
