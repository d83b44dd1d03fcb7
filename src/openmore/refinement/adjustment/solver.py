"""Robust bundle adjustment: Levenberg-Marquardt with the points eliminated by the Schur complement.

Choices
- Robust loss: Cauchy by iteratively reweighted least squares; its width in pixels is the caller's.
- The 3x3 block of each point is factored once a step. What it leaves on pairs of cameras is summed by `coupling`: work
  and memory grow with the points times the stretch of frames that sees them, not with all frames times all points.
- The reduced system is `blocktri`: dense for short clips, block tridiagonal for long ones; both exact.
- Gauge: cameras that are not free stay; the scale is held by the damping (and the depth prior when there is one).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.refinement.adjustment.blocktri import CameraSystem
from openmore.refinement.adjustment.bundle import Observations, State, residuals
from openmore.refinement.adjustment.coupling import Coupling
from openmore.refinement.adjustment.normal import Normal, normal_equations, slices
from openmore.refinement.adjustment.terms import DepthPrior

FIRST_DAMPING = 1e-4  # relative to the diagonal
TINY = 1e-9  # added to every diagonal: unknowns that nothing speaks of stay where they are


@dataclass(frozen=True)
class Settings:
    """How one solve is run."""

    free_cameras: np.ndarray  # [S] bool
    free_focal: bool = False
    free_readout: tuple[bool, bool] = (False, False)  # along the width and the height; needs a shutter
    translate: bool = True  # False: rotations only, the camera stands on a tripod
    robust_px: float = 1.0  # width of the Cauchy loss, pixels
    iterations: int = 20
    tolerance: float = 1e-4  # stop when a step lowers the cost by less than this share
    depth: DepthPrior | None = None
    focal_prior: tuple[float, float] | None = None  # log focal length expected, its standard deviation


@dataclass(frozen=True)
class Solution:
    """Where the solver stopped."""

    state: State
    cost: float  # robust cost at the end
    initial_cost: float
    steps: int  # accepted steps
    converged: bool  # False: stopped by the number of iterations


def solve(state: State, obs: Observations, settings: Settings) -> Solution:
    """Minimise the robust cost over the free unknowns. `obs` must be sorted by point."""
    plan = _Plan(state, obs, settings)
    damping = FIRST_DAMPING
    cost = initial = plan.cost(state)
    for step in range(settings.iterations):
        normal = plan.normal_equations(state)
        moved, trial, damping = _descend(plan, state, normal, cost, damping)
        if moved is None:
            return Solution(state, cost, initial, step, True)
        gain, cost, state = (cost - trial) / cost, trial, moved
        if gain < settings.tolerance:
            return Solution(state, cost, initial, step + 1, True)
    return Solution(state, cost, initial, settings.iterations, False)


def camera_covariance(state: State, obs: Observations, settings: Settings) -> np.ndarray:
    """Covariance [S, 6, 6] of each camera's (rotation, translation) relative to the fixed ones; zero where fixed.

    For observations with a standard deviation of one pixel. Points and focal length are marginalised out; the scale is
    fixed by the distance of the camera farthest from the origin of the world.
    """
    plan = _Plan(state, obs, settings)
    reduced = plan.eliminate(plan.normal_equations(state), FIRST_DAMPING * 1e-3, state)
    far = int(np.argmax(np.linalg.norm(state.t, axis=1) * settings.free_cameras))
    reduced.system.hold_distance(far, state.t[far])
    return reduced.system.covariance()[:, :6, :6]


def _descend(plan: _Plan, state: State, normal: Normal, cost: float, damping: float):
    """Raise the damping until a step lowers the cost: (state, cost, next damping); no state when none does."""
    factor = 4.0
    for _ in range(6):
        moved = plan.step(state, normal, damping)
        trial = plan.cost(moved) if moved is not None else np.inf
        if trial < cost:
            return moved, trial, max(damping / 5, 1e-9)
        damping, factor = damping * factor, factor * 2
    return None, cost, damping


@dataclass
class _Reduced:
    """What is left after the points are eliminated, and what is needed to get them back."""

    system: CameraSystem
    L_inverse: np.ndarray  # [P, 3, 3], inverse Cholesky factors of the point blocks
    z: np.ndarray  # [P, 3]
    z_shared: np.ndarray  # [P, 3, G]


class _Plan:
    """Index arrays that stay the same during one solve."""

    def __init__(self, state: State, obs: Observations, settings: Settings):
        self.obs, self.settings = obs, settings
        self.slices = list(slices(obs, len(state.points)))
        self.coupling = Coupling(obs, settings.free_cameras)

    def cost(self, state: State) -> float:
        """Half the sum of robust squared residuals, plus the priors."""
        s, obs = self.settings, self.obs
        residual, inverse_depth = residuals(state, obs)
        c2 = s.robust_px**2
        total = c2 * float((obs.weight * np.log1p(np.square(residual).sum(1) / c2)).sum())
        if s.depth is not None:
            total += s.depth.cost(state, obs, inverse_depth)
        if s.focal_prior is not None:
            total += ((np.log(state.focal) - s.focal_prior[0]) / s.focal_prior[1]) ** 2
        return total / 2

    def normal_equations(self, state: State) -> Normal:
        """Without the priors on cameras and the damping."""
        s = self.settings
        return normal_equations(
            state, self.slices, len(self.obs),
            robust_px=s.robust_px, translate=s.translate, readout=any(s.free_readout), depth=s.depth,
        )  # fmt: skip

    def step(self, state: State, normal: Normal, damping: float) -> State | None:
        """The state after one damped step; None when the equations cannot be factored."""
        reduced = self.eliminate(normal, damping, state)
        solved = reduced.system.solve()
        if solved is None:
            return None
        camera, shared = solved
        along = np.zeros_like(reduced.z)
        for part in self.slices:
            of_points = normal.cp[part.rows].swapaxes(1, 2)
            part.per_point((of_points @ camera[part.obs.frame][..., None])[..., 0], along)
        rest = reduced.z - (reduced.L_inverse @ along[..., None])[..., 0] - reduced.z_shared @ shared
        point = (reduced.L_inverse.swapaxes(1, 2) @ rest[..., None])[..., 0]
        return state.moved(camera, shared, point)

    def eliminate(self, normal: Normal, damping: float, state: State) -> _Reduced:
        """Factor the point blocks and take their share off the camera system."""
        L_inverse = np.linalg.inv(np.linalg.cholesky(damped(normal.pp, damping)))
        # [P, 3, 1 + G]: for the right side and for what is shared
        z = L_inverse @ np.concatenate((normal.bp[..., None], normal.gp.swapaxes(1, 2)), -1)
        system = self._camera_system(normal, damping, state)
        among = np.einsum("pkg,pkh->gh", z, z, optimize=True)
        system.bg = system.bg - among[0, 1:]
        system.h = system.h - among[1:, 1:]
        back = L_inverse.swapaxes(1, 2) @ z
        share = np.zeros((*system.b.shape, z.shape[-1]))
        for part in self.slices:
            part.per_frame(normal.cp[part.rows] @ back[part.points][part.obs.point], share)
        system.b -= share[..., 0]
        system.g -= share[..., 1:]
        for later, earlier, shares in self.coupling.shares(normal.cp, L_inverse):
            system.subtract(later, earlier, shares)
        return _Reduced(system, L_inverse, z[..., 0], z[..., 1:])

    def _camera_system(self, normal: Normal, damping: float, state: State) -> CameraSystem:
        """The camera blocks with the priors and the damping."""
        s = self.settings
        Hcc, bc, h, bg = normal.cc.copy(), normal.bc.copy(), normal.gg.copy(), normal.bg.copy()
        if s.focal_prior is not None:
            h[0, 0] += s.focal_prior[1] ** -2
            bg[0] -= (np.log(state.focal) - s.focal_prior[0]) * s.focal_prior[1] ** -2
        if s.depth is not None:
            s.depth.hold(state, Hcc, bc)
        border = normal.cg.copy(), h * (1 + damping * np.eye(len(h))), bg
        free_shared = np.array([s.free_focal, *s.free_readout][: len(h)])
        return CameraSystem(damped(Hcc, damping), bc, *border, s.free_cameras, free_shared, self.coupling.span)


def damped(blocks: np.ndarray, damping: float) -> np.ndarray:
    """Blocks [N, c, c] with their diagonals raised by the Levenberg-Marquardt damping."""
    out = blocks.copy()
    d = np.arange(blocks.shape[-1])
    out[:, d, d] = out[:, d, d] * (1 + damping) + TINY
    return out
