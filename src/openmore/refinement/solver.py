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

from openmore.refinement.blocktri import CameraSystem
from openmore.refinement.bundle import Observations, State, residuals
from openmore.refinement.coupling import Coupling
from openmore.refinement.terms import Blocks, DepthPrior, depth_blocks, reprojection_blocks

FIRST_DAMPING = 1e-4  # relative to the diagonal
TINY = 1e-9  # added to every diagonal: unknowns that nothing speaks of stay where they are


@dataclass(frozen=True)
class Settings:
    """How one solve is run."""

    free_cameras: np.ndarray  # [S] bool
    free_focal: bool = False
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


def _descend(plan: _Plan, state: State, normal: Blocks, cost: float, damping: float):
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
    Y: np.ndarray  # [O, c, 3]
    Y_focal: np.ndarray  # [P, 3]


class _Plan:
    """Index arrays that stay the same during one solve."""

    def __init__(self, state: State, obs: Observations, settings: Settings):
        self.obs, self.settings = obs, settings
        self.frames, self.point_count = len(state.R), len(state.points)
        self.width = 6 if settings.depth is None else 8
        self.by_frame = np.argsort(obs.frame, kind="stable")
        self.used_frames, self.frame_starts = _runs(obs.frame[self.by_frame])
        self.used_points, self.point_starts = _runs(obs.point)
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

    def normal_equations(self, state: State) -> Blocks:
        """Blocks per observation, before any are summed."""
        s = self.settings
        blocks = reprojection_blocks(state, self.obs, s.robust_px, self.width, s.translate)
        if s.depth is not None:
            blocks.add(*depth_blocks(state, self.obs, s.depth))
        return blocks

    def step(self, state: State, blocks: Blocks, damping: float) -> State | None:
        """The state after one damped step; None when the equations cannot be factored."""
        reduced = self.eliminate(blocks, damping, state)
        solved = reduced.system.solve()
        if solved is None:
            return None
        camera, focal = solved
        back = np.zeros((self.point_count, 3))
        along = (reduced.Y.swapaxes(1, 2) @ camera[self.obs.frame][..., None])[..., 0]
        back[self.used_points] = np.add.reduceat(along, self.point_starts)
        rest = reduced.z - back - reduced.Y_focal * focal
        point = (reduced.L_inverse.swapaxes(1, 2) @ rest[..., None])[..., 0]
        return state.moved(camera, focal, point)

    def eliminate(self, blocks: Blocks, damping: float, state: State) -> _Reduced:
        """Factor the point blocks and take their share off the camera system."""
        n, by_point = self.point_count, self.point_starts
        Hpp, bp, Hgp = np.zeros((n, 3, 3)), np.zeros((n, 3)), np.zeros((n, 3))
        Hpp[self.used_points] = np.add.reduceat(blocks.pp, by_point)
        bp[self.used_points] = np.add.reduceat(blocks.bp, by_point)
        Hgp[self.used_points] = np.add.reduceat(blocks.gp, by_point)
        L_inverse = np.linalg.inv(np.linalg.cholesky(damped(Hpp, damping)))
        z = (L_inverse @ bp[..., None])[..., 0]
        Y_focal = (L_inverse @ Hgp[..., None])[..., 0]
        Y = blocks.cp @ L_inverse[self.obs.point].swapaxes(1, 2)
        system = self._camera_system(blocks, damping, state)
        system.bg -= float((Y_focal * z).sum())
        system.h -= float((Y_focal * Y_focal).sum())
        f, used, starts = self.by_frame, self.used_frames, self.frame_starts
        point = self.obs.point
        system.b[used] -= np.add.reduceat((Y @ z[point][..., None])[f, :, 0], starts)
        system.g[used] -= np.add.reduceat((Y @ Y_focal[point][..., None])[f, :, 0], starts)
        for later, earlier, shares in self.coupling.shares(Y):
            system.subtract(later, earlier, shares)
        return _Reduced(system, L_inverse, z, Y, Y_focal)

    def _camera_system(self, blocks: Blocks, damping: float, state: State) -> CameraSystem:
        """Sum the blocks over each camera and add the priors and the damping."""
        s, c = self.settings, self.width
        Hcc, bc, Hcg = np.zeros((self.frames, c, c)), np.zeros((self.frames, c)), np.zeros((self.frames, c))
        f, used, starts = self.by_frame, self.used_frames, self.frame_starts
        Hcc[used] = np.add.reduceat(blocks.cc[f], starts)
        bc[used] = np.add.reduceat(blocks.bc[f], starts)
        Hcg[used] = np.add.reduceat(blocks.cg[f], starts)
        h, bg = blocks.gg, blocks.bg
        if s.focal_prior is not None:
            h, bg = h + s.focal_prior[1] ** -2, bg - (np.log(state.focal) - s.focal_prior[0]) * s.focal_prior[1] ** -2
        if s.depth is not None:
            s.depth.hold(state, Hcc, bc)
        span = self.coupling.span
        return CameraSystem(damped(Hcc, damping), bc, Hcg, h * (1 + damping), bg, s.free_cameras, s.free_focal, span)


def damped(blocks: np.ndarray, damping: float) -> np.ndarray:
    """Blocks [N, c, c] with their diagonals raised by the Levenberg-Marquardt damping."""
    out = blocks.copy()
    d = np.arange(blocks.shape[-1])
    out[:, d, d] = out[:, d, d] * (1 + damping) + TINY
    return out


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of a sorted array and where each run begins."""
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if len(values) else np.zeros(0, np.int64)
    return values[starts], starts
