"""Scale: bring the solved cameras to the units of the predicted depth, and the depth of each frame to the cameras.

Choices
- Images do not show scale. The clip takes that of the network's depth (median ratio), so that depth maps and cameras
  agree; without depth, the mean distance of the points to the first camera becomes 1 (docs/conventions.md).
- Each frame's depth gets a scale and a shift, fitted in relative error, robustly, and pulled towards the clip's scale
  with the weight of `PULL` points: a frame with few points follows the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State, residuals

PULL = 30.0  # points
FEWEST = 20  # points with predicted depth needed to take its scale
OUTLIER = 0.25  # relative depth error at which an observation begins to count less


@dataclass(frozen=True)
class DepthFit:
    """refined depth = scale * predicted depth + shift, per frame, and how well that holds."""

    scale: np.ndarray  # [S]
    shift: np.ndarray  # [S], scene units
    relative_error: float  # median |error| / depth after the fit; NaN without predicted depth


def scene_scale(state: State, obs: Observations) -> float:
    """Factor that brings the solution to the scale of the predicted depth, or to mean point distance 1 without it."""
    _, inverse = residuals(state, obs)
    near = inverse > 1e-6
    rows = near & np.isfinite(obs.depth)
    if rows.sum() >= FEWEST:
        return float(np.exp(np.median(np.log(obs.depth[rows] * inverse[rows]))))
    if not near.any():
        return 1.0
    points = state.points[np.unique(obs.point[near])]
    points = points[points[:, 3] > 1e-6]
    centre = -state.R[0].T @ state.t[0]
    distance = np.linalg.norm(points[:, :3] / points[:, 3:] - centre, axis=1)
    distance = distance[distance < 20 * np.median(distance)]  # the sky does not set the scale
    return float(1 / distance.mean())


def rescaled(state: State, scale: float) -> State:
    """The same solution in units `scale` times smaller: lengths grow by `scale`."""
    points = state.points * np.array([scale, scale, scale, 1.0])
    shutter = None if state.shutter is None else state.shutter.rescaled(scale)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return replace(state, t=state.t * scale, points=points, shutter=shutter)


def fit_depth(state: State, obs: Observations, frames: int) -> DepthFit:
    """Scale and shift of every frame's predicted depth, given cameras in its units."""
    scale, shift = np.ones(frames), np.zeros(frames)
    _, inverse = residuals(state, obs)
    rows = np.flatnonzero((inverse > 1e-6) & np.isfinite(obs.depth))
    if len(rows) < FEWEST:
        return DepthFit(scale, shift, float("nan"))
    order = rows[np.argsort(obs.frame[rows], kind="stable")]
    error = []
    for part in np.split(order, np.flatnonzero(np.diff(obs.frame[order])) + 1):
        s = obs.frame[part[0]]
        scale[s], shift[s], left = _fit(obs.depth[part], inverse[part])
        error.append(left)
    return DepthFit(scale, shift, float(np.median(np.concatenate(error))))


def _fit(predicted: np.ndarray, inverse: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Robust (scale, shift) with (scale * predicted + shift) * inverse = 1, and the |relative errors|."""
    typical = float(np.median(predicted))
    A = np.stack((predicted * inverse, typical * inverse), 1)
    x = np.array([1.0, 0.0])
    for _ in range(10):  # weighed from the first: a few points next to the camera would outweigh all others
        weight = 1 / (1 + np.square((A @ x - 1) / OUTLIER))
        H = A.T @ (weight[:, None] * A) + PULL * np.eye(2)
        x = np.linalg.solve(H, A.T @ weight + PULL * np.array([1.0, 0.0]))
    if x[0] <= 0.05:  # a prediction that runs against the geometry keeps its shape out of it
        x = np.array([float(np.median(1 / A[:, 0])), 0.0])
    return float(x[0]), float(x[1] * typical), np.abs(A @ x - 1)
