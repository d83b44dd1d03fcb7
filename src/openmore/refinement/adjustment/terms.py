"""The two kinds of residual, reprojection and depth prior, as blocks of the normal equations.

Choices
- Blocks are per observation; `normal` sums them over points and cameras, a slice at a time.
- The depth prior compares inverse depths, rho * (scale * d + shift) - 1: bounded for far points, relative for near
  ones. Each frame has its own scale and shift, held near 1 and 0, so a prediction that is right up to those costs
  nothing; Cauchy makes a wrong one cheap.
- A camera's block is (rotation, translation), and (log scale, shift) after them when there is a depth prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.refinement.adjustment.bundle import (
    Observations,
    State,
    camera_points,
    linearise,
    projections,
    tangent_basis,
)
from openmore.refinement.adjustment.rotations import cross_matrix


@dataclass
class Blocks:
    """Products of derivatives per observation; c = camera, g = what all share, p = point. b = minus the gradient."""

    cc: np.ndarray  # [O, c, c]
    cg: np.ndarray  # [O, c, G]
    cp: np.ndarray  # [O, c, 3]
    gp: np.ndarray  # [O, G, 3]
    pp: np.ndarray  # [O, 3, 3]
    bc: np.ndarray  # [O, c]
    bp: np.ndarray  # [O, 3]
    gg: np.ndarray  # [G, G]
    bg: np.ndarray  # [G]

    def add(self, rows: np.ndarray, other: Blocks) -> None:
        """Add the blocks of the observations `rows`."""
        for name in ("cc", "cg", "cp", "gp", "pp", "bc", "bp"):
            getattr(self, name)[rows] += getattr(other, name)
        self.gg, self.bg = self.gg + other.gg, self.bg + other.bg


@dataclass(frozen=True)
class DepthPrior:
    """How far the predicted depth is believed."""

    sigma: float  # relative error of the prediction after scale and shift
    scale_sigma: float = 0.3  # of the log scale of a frame
    shift_sigma: float = 0.1  # of the shift of a frame, scene units

    def cost(self, state: State, obs: Observations, inverse_depth: np.ndarray) -> float:
        """Sum of robust squared residuals, not halved."""
        rows = np.flatnonzero(np.isfinite(obs.depth))
        r = (inverse_depth[rows] * self.predicted(state, obs, rows) - 1) / self.sigma
        held = np.square(state.depth_scale / self.scale_sigma) + np.square(state.depth_shift / self.shift_sigma)
        return float((obs.weight[rows] * np.log1p(r * r)).sum() + held.sum())

    def predicted(self, state: State, obs: Observations, rows: np.ndarray) -> np.ndarray:
        """Scaled and shifted depth at the observations `rows`."""
        frame = obs.frame[rows]
        return np.exp(state.depth_scale)[frame] * obs.depth[rows] + state.depth_shift[frame]

    def hold(self, state: State, Hcc: np.ndarray, bc: np.ndarray) -> None:
        """Add the priors on scale and shift to the camera blocks."""
        Hcc[:, 6, 6] += self.scale_sigma**-2
        Hcc[:, 7, 7] += self.shift_sigma**-2
        bc[:, 6] -= state.depth_scale * self.scale_sigma**-2
        bc[:, 7] -= state.depth_shift * self.shift_sigma**-2


def robust_weight(residual: np.ndarray, width: float) -> np.ndarray:
    """Weight of the Cauchy loss for residuals [N, d]."""
    return 1 / (1 + np.square(residual).sum(1) / width**2)


def products(c: np.ndarray, g: np.ndarray, p: np.ndarray, r: np.ndarray, weight: np.ndarray) -> Blocks:
    """Blocks of derivatives c [N, d, C], g [N, d, G], p [N, d, 3] of residuals r [N, d]."""
    C, G = c.shape[2], g.shape[2]
    J = np.concatenate((c, g, p, r[..., None]), 2)
    H = (weight[:, None, None] * J).swapaxes(1, 2) @ J  # one product for all; the blocks are its parts
    camera, shared, point = slice(0, C), slice(C, C + G), slice(C + G, C + G + 3)
    return Blocks(
        cc=H[:, camera, camera],
        cg=H[:, camera, shared],
        cp=H[:, camera, point],
        gp=H[:, shared, point],
        pp=H[:, point, point],
        bc=-H[:, camera, -1],
        bp=-H[:, point, -1],
        gg=H[:, shared, shared].sum(0),
        bg=-H[:, shared, -1].sum(0),
    )


def reprojection_blocks(
    state: State, obs: Observations, width_px: float, width: int, translate: bool, readout: bool
) -> Blocks:
    """Blocks of the reprojection residuals, with camera blocks of `width` unknowns."""
    lin = linearise(state, obs, readout)
    camera = np.zeros((len(obs), 2, width))
    camera[:, :, :6] = lin.camera
    if not translate:
        camera[:, :, 3:6] = 0
    weight = obs.weight * robust_weight(lin.residual, width_px)
    return products(camera, lin.shared, lin.point, lin.residual, weight)


def depth_blocks(state: State, obs: Observations, prior: DepthPrior, shared: int) -> tuple[np.ndarray, Blocks]:
    """The observations that have a predicted depth, and their blocks, with zeros for the `shared` unknowns."""
    rows = np.flatnonzero(np.isfinite(obs.depth))
    seen = obs.select(rows)
    X, w = camera_points(state, seen)
    z = np.where(np.abs(X[:, 2]) < 1e-9, 1e-9, X[:, 2])
    rho, predicted = w / z, prior.predicted(state, obs, rows)
    by_z = -rho / z * predicted
    camera = np.zeros((len(rows), 1, 8))
    camera[:, 0, :3] = by_z[:, None] * -cross_matrix(X)[:, 2]
    camera[:, 0, 5] = by_z * w
    camera[:, 0, 6] = rho * (predicted - state.depth_shift[seen.frame])
    camera[:, 0, 7] = rho
    by_X = by_z[:, None] * projections(state, seen)[:, 2]
    by_X[:, 3] += predicted / z
    point = by_X[:, None, :] @ tangent_basis(state.points)[seen.point]
    r = (rho * predicted - 1)[:, None] / prior.sigma
    weight = seen.weight * robust_weight(r, 1.0)
    nothing = np.zeros((len(rows), 1, shared))
    return rows, products(camera / prior.sigma, nothing, point / prior.sigma, r, weight)
