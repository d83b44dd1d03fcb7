"""Points from cameras: linear homogeneous triangulation of all tracks at once, and the angle their rays span."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State, projections, residuals
from openmore.refinement.adjustment.rotations import angle_between


def triangulate(state: State, obs: Observations) -> np.ndarray:
    """Unit homogeneous points [P, 4], w >= 0, from observations sorted by point and numbered without gaps.

    The DLT in normalised coordinates; rays that are parallel give a point at infinity, which is an answer. Cameras
    that coincide make it return their centre, which is none: see `best_points`.
    """
    points = np.linalg.eigh(_normal_matrices(state, obs))[1][:, :, 0]
    return np.where(points[:, 3:] < 0, -points, points)


def best_points(state: State, obs: Observations) -> np.ndarray:
    """Points [P, 4] for judging cameras: triangulated or at infinity, whichever fits the track better."""
    normal = _normal_matrices(state, obs)
    near = np.linalg.eigh(normal)[1][:, :, 0]
    far = np.zeros_like(near)
    far[:, :3] = np.linalg.eigh(normal[:, :3, :3])[1][:, :, 0]
    far[:, 3] = 1e-9  # says on which side of the camera it lies
    starts = point_starts(obs)
    ray = np.concatenate(((obs.uv[starts] - state.center) / state.focal, np.ones((len(starts), 1))), 1)
    ahead = (far[:, :3] * (state.R[obs.frame[starts]].swapaxes(1, 2) @ ray[..., None])[..., 0]).sum(1)
    far[:, :3] *= np.where(ahead < 0, -1.0, 1.0)[:, None]
    near = np.where(near[:, 3:] < 0, -near, near)
    error = [np.add.reduceat(_bounded_error(replace(state, points=p), obs), starts) for p in (near, far)]
    return np.where((error[0] <= error[1])[:, None], near, far)


def _bounded_error(state: State, obs: Observations, width_px: float = 3.0) -> np.ndarray:
    """Squared error [O], one where it exceeds `width_px` or the point lies behind."""
    residual, inverse_depth = residuals(state, obs)
    return np.where(inverse_depth > 0, np.minimum(np.square(residual).sum(1) / width_px**2, 1), 1)


def _normal_matrices(state: State, obs: Observations) -> np.ndarray:
    """A^T A [P, 4, 4] of the linear equations each track puts on its point."""
    if not len(obs):
        return np.zeros((0, 4, 4))
    x = (obs.uv - state.center) / (state.focal * np.array([1.0, state.aspect]))
    P = projections(state, obs)
    rows = x[:, :, None] * P[:, 2:3] - P[:, :2]
    return np.add.reduceat(rows.swapaxes(1, 2) @ rows, point_starts(obs))


def ray_angles(state: State, obs: Observations) -> np.ndarray:
    """Largest angle [P] in degrees between a track's first ray and its others."""
    if not len(obs):
        return np.zeros(0)
    rays = np.concatenate(((obs.uv - state.center) / (state.focal * np.array([1.0, state.aspect])),
                           np.ones((len(obs), 1))), 1)  # fmt: skip
    rays = (projections(state, obs)[:, :, :3].swapaxes(1, 2) @ rays[..., None])[..., 0]
    starts = point_starts(obs)
    first = np.repeat(rays[starts], np.diff(np.r_[starts, len(obs)]), axis=0)
    return np.degrees(np.maximum.reduceat(angle_between(rays, first), starts))


def fits(state: State, obs: Observations, width_px: float) -> np.ndarray:
    """Which observations [O] lie in front of their camera and within `width_px` of their point."""
    residual, inverse_depth = residuals(state, obs)
    return (np.square(residual).sum(1) < width_px**2) & (inverse_depth > 0)


def support(state: State, obs: Observations) -> float:
    """What solutions are compared by: 1 / (1 + error^2 / px^2), summed over observations in front of their cameras."""
    residual, inverse_depth = residuals(state, obs)
    return float((1 / (1 + np.square(residual).sum(1)))[inverse_depth > 0].sum())


def point_starts(obs: Observations) -> np.ndarray:
    """Row at which each point's observations begin."""
    return np.flatnonzero(np.r_[True, np.diff(obs.point) != 0])
