"""How far matched pixels lie from where two cameras say they may lie: Sampson's distance in pixels.

Choices
- First-order distance to the epipolar constraint; needs matches, cameras and K, no depth.
- Two cameras at one place have no epipolar lines: matches are then compared with the rotation alone, the distance to
  the homography at infinity. "One place" is a translation below 1e-9 of the unit.
- It is blind to scale and to the sign of a translation's length, and to depth: read it beside rotation errors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmore.evaluation.matching import Matches
from openmore.evaluation.poses import invert

_ONE_PLACE = 1e-9


def sampson(uv_a: np.ndarray, uv_b: np.ndarray, K_a: np.ndarray, K_b: np.ndarray, b_from_a: np.ndarray) -> np.ndarray:
    """Distances [M] in pixels of matches [M, 2] under the relative camera [4, 4]."""
    a, b = (np.column_stack((uv, np.ones(len(uv)))) for uv in (uv_a, uv_b))
    R, t = b_from_a[:3, :3], b_from_a[:3, 3]
    if np.linalg.norm(t) < _ONE_PLACE:
        return rotation_distance(a, uv_b, K_a, K_b, R)
    t = t / np.linalg.norm(t)
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    F = np.linalg.inv(K_b).T @ cross @ R @ np.linalg.inv(K_a)
    line_b, line_a = a @ F.T, b @ F
    gradient = np.sqrt((line_b[:, :2] ** 2).sum(1) + (line_a[:, :2] ** 2).sum(1))
    return np.abs((b * line_b).sum(1)) / np.maximum(gradient, 1e-12)


def rotation_distance(a: np.ndarray, uv_b: np.ndarray, K_a: np.ndarray, K_b: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Distances [M] between matches in b and homogeneous pixels `a` [M, 3] moved by the rotation alone."""
    moved = a @ (K_b @ R @ np.linalg.inv(K_a)).T
    return np.linalg.norm(moved[:, :2] / np.where(np.abs(moved[:, 2:]) < 1e-9, 1e-9, moved[:, 2:]) - uv_b, axis=1)


def median_sampson(matches: Sequence[Matches], K: np.ndarray, world_from_cam: np.ndarray) -> float:
    """Median over all matches of all pairs; NaN when there is no match. K [S, 3, 3], world_from_cam [S, 4, 4]."""
    distances = [
        sampson(m.uv_a, m.uv_b, K[m.a], K[m.b], invert(world_from_cam[m.b]) @ world_from_cam[m.a]) for m in matches
    ]
    pooled = np.concatenate(distances) if distances else np.zeros(0)
    return float(np.median(pooled)) if len(pooled) else float("nan")
