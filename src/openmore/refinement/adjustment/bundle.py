"""What bundle adjustment solves for, and the residuals with their derivatives.

Choices
- Points are homogeneous 4-vectors of unit length (Triggs et al. 2000): X = (x, w), the place x / w. Points at infinity
  (sky, pure rotation) are ordinary values, so a video without parallax needs no special case in the solver.
- Cameras move by a left perturbation of cam_from_world; one log focal length is shared by all frames; the principal
  point and the aspect ratio are taken as given.
- A rolling shutter reads the rows (or, in a picture on its side, the columns) one after another: a pixel is seen by the
  camera of its own moment (`shutter`), and the pose of a frame is that of its middle.
- Everything is numpy float64 over flat observation arrays sorted by point: no per-point Python.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from openmore.refinement.adjustment.rotations import cross_matrix, exp_so3
from openmore.refinement.adjustment.shutter import Shutter


@dataclass(frozen=True)
class Observations:
    """Where points were seen. Sorted by point, then frame; a point is seen at most once in a frame."""

    point: np.ndarray  # [O] int64, row of the point table
    frame: np.ndarray  # [O] int64
    uv: np.ndarray  # [O, 2] float64, pixels
    weight: np.ndarray  # [O] float64, 1 / variance in units of the noise; 0 switches an observation off
    depth: np.ndarray  # [O] float64, depth predicted at uv; NaN = none

    def select(self, keep: np.ndarray) -> Observations:
        """Some rows, by mask [O] or by increasing numbers; the point numbers stay."""
        return Observations(self.point[keep], self.frame[keep], self.uv[keep], self.weight[keep], self.depth[keep])

    def __len__(self) -> int:
        return len(self.point)


@dataclass(frozen=True)
class State:
    """The unknowns."""

    R: np.ndarray  # [S, 3, 3] rotation of cam_from_world
    t: np.ndarray  # [S, 3] translation of cam_from_world
    points: np.ndarray  # [P, 4] homogeneous, unit length
    focal: float  # pixels, along x
    aspect: float  # fy / fx
    center: np.ndarray  # [2] principal point, pixels
    depth_scale: np.ndarray  # [S] log of the factor on the predicted depth
    depth_shift: np.ndarray  # [S] added to the scaled depth
    shutter: Shutter | None = None  # None: global

    def moved(self, camera: np.ndarray, shared: np.ndarray, point: np.ndarray) -> State:
        """The state after the increments camera [S, 6 or 8] (rotation, translation, ...), shared [G], point [P, 3].

        `shared` is the log focal length, alone or with the two readouts. The motion within a frame stays as it is.
        """
        turn = exp_so3(camera[:, :3])
        points = self.points + (tangent_basis(self.points) @ point[..., None])[..., 0]
        scale, shift = self.depth_scale, self.depth_shift
        if camera.shape[1] == 8:
            scale, shift = scale + camera[:, 6], shift + camera[:, 7]
        return replace(
            self,
            R=turn @ self.R,
            t=(turn @ self.t[..., None])[..., 0] + camera[:, 3:6],
            points=points / np.linalg.norm(points, axis=1, keepdims=True),
            focal=self.focal * float(np.exp(shared[0])),
            depth_scale=scale,
            depth_shift=shift,
            shutter=self.shutter if len(shared) == 1 or self.shutter is None else self.shutter.slower(shared[1:]),
        )


@dataclass(frozen=True)
class Linearised:
    """Residuals and derivatives of the reprojection, pixels."""

    residual: np.ndarray  # [O, 2]
    camera: np.ndarray  # [O, 2, 6]
    shared: np.ndarray  # [O, 2, G], with respect to the log focal length and, if asked for, the two readouts
    point: np.ndarray  # [O, 2, 3], in the tangent space of the homogeneous point
    inverse_depth: np.ndarray  # [O], w / z: negative behind the camera


def tangent_basis(unit: np.ndarray) -> np.ndarray:
    """Three orthonormal directions [P, 4, 3] perpendicular to each unit vector [P, 4] (a Householder reflection)."""
    sign = np.where(unit[:, 3] < 0, -1.0, 1.0)
    v = unit.copy()
    v[:, 3] += sign
    beta = 2 / np.square(v).sum(1)
    return np.eye(4)[None, :, :3] - (beta[:, None] * v)[:, :, None] * v[:, None, :3]


def moments(state: State, uv: np.ndarray) -> np.ndarray:
    """Where pixels [O, 2] lie in the time of their picture's readout along its width and height [O, 2], -1/2 to 1/2."""
    return (uv - state.center) / (2 * state.center)


def projections(state: State, obs: Observations) -> np.ndarray:
    """cam_from_world [O, 3, 4] of each observation, at its own moment."""
    P = np.concatenate((state.R, state.t[:, :, None]), -1)[obs.frame]
    if state.shutter is None:
        return P
    since = state.shutter.since(obs.frame, moments(state, obs.uv))
    P = exp_so3(since[:, :3]) @ P
    P[:, :, 3] += since[:, 3:]
    return P


def camera_points(state: State, obs: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Homogeneous points in the axes of the cameras that saw them: [O, 3] and w [O]."""
    X = state.points[obs.point]
    return (projections(state, obs) @ X[..., None])[..., 0], X[:, 3]


def residuals(state: State, obs: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Reprojection minus observation [O, 2] in pixels, and inverse depths [O]."""
    Xc, w = camera_points(state, obs)
    z = _safe(Xc[:, 2])
    f = state.focal * np.array([1.0, state.aspect])
    return Xc[:, :2] / z[:, None] * f + state.center - obs.uv, w / z


def linearise(state: State, obs: Observations, readout: bool = False) -> Linearised:
    """Residuals and analytic derivatives at `state`, on demand also those with respect to the readouts.

    A camera that rolls is moved by its increment at each observation's own moment, and its twist stays: both differ
    from the exact derivative by the turn of the camera within one frame.
    """
    P, X = projections(state, obs), state.points[obs.point]
    Xc, w = (P @ X[..., None])[..., 0], X[:, 3]
    z = _safe(Xc[:, 2])
    f = state.focal * np.array([1.0, state.aspect])
    xy = Xc[:, :2] / z[:, None]
    image = xy * f
    # Derivative of the pixel with respect to the point in camera axes.
    D = np.zeros((len(obs), 2, 3))
    D[:, 0, 0], D[:, 1, 1] = f[0] / z, f[1] / z
    D[:, :, 2] = -image / z[:, None]
    camera = np.empty((len(obs), 2, 6))
    camera[:, :, :3] = -D @ cross_matrix(Xc)
    camera[:, :, 3:] = D * w[:, None, None]
    point = (D @ P) @ tangent_basis(state.points)[obs.point]
    shared = image[:, :, None]
    if readout:
        assert state.shutter is not None
        along = (camera @ state.shutter.twist[obs.frame][..., None])[..., 0]
        shared = np.concatenate((shared, along[:, :, None] * moments(state, obs.uv)[:, None]), 2)
    return Linearised(image + state.center - obs.uv, camera, shared, point, w / z)


def _safe(z: np.ndarray) -> np.ndarray:
    return np.where(np.abs(z) < 1e-9, 1e-9, z)
