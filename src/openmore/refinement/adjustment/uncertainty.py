"""How sure a solution is of its cameras: standard deviations from the curvature of the cost at the answer.

Choices
- The noise of an observation is taken from the solution's own residuals (median, so outliers do not raise it).
- Relative to the first placed camera, whose pose defines the world, and with the scale held; both have no uncertainty.
- It says how well the tracks determine the cameras if the scene is static, the lens right and the tracks independent:
  a lower bound.
"""

from __future__ import annotations

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State, residuals
from openmore.refinement.adjustment.solver import Settings, camera_covariance

MEDIAN_OF_RAYLEIGH = 1.1774  # median length of a 2-D Gaussian error over its standard deviation


def camera_sigmas(state: State, obs: Observations, placed: np.ndarray, moving: bool) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of rotation [S] in degrees and of the centre [S] in units of `state`; NaN where not placed.

    `moving` False: the camera turns on the spot and its centre is exact.
    """
    rotation, center = np.full(len(placed), np.nan), np.full(len(placed), np.nan)
    if not len(obs):
        return rotation, center
    free = placed.copy()
    free[np.flatnonzero(placed)[0]] = False
    covariance = camera_covariance(state, obs, Settings(free, translate=moving))
    noise_px = float(np.median(np.linalg.norm(residuals(state, obs)[0], axis=1))) / MEDIAN_OF_RAYLEIGH
    variance = np.maximum(np.einsum("sii->si", covariance), 0) * noise_px**2
    rotation[placed] = np.degrees(np.sqrt(variance[placed, :3].sum(1)))
    # The centre is -R^T t: to first order it moves by -R^T dt, as far as t does.
    center[placed] = np.sqrt(variance[placed, 3:].sum(1)) if moving else 0.0
    return rotation, center
