"""The solver's second run, with what the first one's residuals say of movers as weights.

Choices
- Matches on movers are dropped, all others weighed by the probability of standing still; nothing is matched again.
- Where movers hold next to no matches the answer would be the same, and nothing is solved.
- The second answer is taken only if it explains the static tracks at least as well and changes something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from openmore.refinement.matching.prior import LEAST_WEIGHT, MOVING, nearest
from openmore.refinement.matching.survey import Survey
from openmore.refinement.matching.twoview import Pair
from openmore.refinement.report import Fit, SecondSolve

FEW = 0.01  # share of the matches on movers below which there is nothing to gain
TIE = 0.002  # inlier share
CLEARLY = 0.02  # inlier share that a large change must gain
LARGE_TURN_DEG, LARGE_SHIFT = 1.0, 0.05
# Changes below which the first answer stays (degrees, share of the path): depth need not be measured again for them.
LEAST_TURN_DEG, LEAST_SHIFT = 0.1, 0.005


def without_movers(seen: Survey, motion: Sequence[np.ndarray]) -> tuple[Survey, float]:
    """The survey without matches on movers, and the share of the matches dropped. `motion` [h, w] per frame."""
    still = [1 - nearest(m, points.uv, seen.shape) for m, points in zip(motion, seen.keypoints)]
    pairs: dict[tuple[int, int], Pair] = {}
    kept = total = 0
    for key, pair in seen.pairs.items():
        keep = (still[pair.a][pair.index[:, 0]] >= 1 - MOVING) & (still[pair.b][pair.index[:, 1]] >= 1 - MOVING)
        kept, total = kept + int(keep.sum()), total + len(keep)
        if keep.any():
            pairs[key] = replace(pair, index=pair.index[keep])
    weight = [w * np.clip(s, LEAST_WEIGHT, 1).astype(np.float32) for w, s in zip(seen.weight, still)]
    return replace(seen, pairs=pairs, weight=weight), 1 - kept / max(total, 1)


def compare(before: Fit, after: Fit, first: np.ndarray, second: np.ndarray, dropped: float) -> SecondSolve:
    """Whether the second answer is to be taken: fits to the static tracks, and both answers' cameras [S, 4, 4]."""
    turn, shift = difference(first, second)
    better = _explains(after, before) and (turn > LEAST_TURN_DEG or shift > LEAST_SHIFT)
    if turn > LARGE_TURN_DEG or shift > LARGE_SHIFT:  # two answers far apart: a weak video, not better weights
        better = better and after.inlier_share > before.inlier_share + CLEARLY
    return SecondSolve(better, dropped, turn, shift, before.median_px, after.median_px)


def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Largest turn in degrees and largest shift as a share of the path between two answers, first cameras aligned."""
    a, b = np.linalg.inv(a[0]) @ a, np.linalg.inv(b[0]) @ b
    cosine = (np.einsum("sij,sij->s", a[:, :3, :3], b[:, :3, :3]) - 1) / 2
    length = np.linalg.norm(np.diff(a[:, :3, 3], axis=0), axis=1).sum()
    scale = np.linalg.norm(a[:, :3, 3]) / max(np.linalg.norm(b[:, :3, 3]), 1e-12)
    away = np.linalg.norm(a[:, :3, 3] - scale * b[:, :3, 3], axis=1).max()
    shift = away / length if length > 1e-9 else 0.0
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max()), float(shift)


def _explains(after: Fit, before: Fit) -> bool:
    if after.inlier_share < before.inlier_share - TIE:
        return False
    return after.inlier_share > before.inlier_share + TIE or after.median_px <= before.median_px
