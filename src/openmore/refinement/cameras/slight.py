"""A camera that moves so little that no pair of frames shows it: parallax of a few pixels over a whole shot.

Choices
- From the turn that explains the shot best. With each point's inverse depth taken from the predicted depth (or all the
  same without one) translations are a linear question; bundle adjustment of all points, the farthest too, does the
  rest. A map would hold only the points whose rays span an angle.
- Whether it is true is asked of the signs. Nothing holds points to the front of the cameras while they are solved for:
  parallax of a real scene puts most on one side, whereas noise and movers put them on either.
- Next to a wide turn small parallax is not believed, whatever its signs: errors of a picture grow with the turn, and a
  translation that goes along with it explains some of them. Pans of 4 to 70 degrees around a centre that
  hardly moved showed 3 to 10 percent of the turn as parallax, most of it of one sign, along wrong paths.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State, linearise
from openmore.refinement.adjustment.rotations import log_so3
from openmore.refinement.adjustment.solver import Settings, solve
from openmore.refinement.cameras.turning import OUTLIER_PX, kept

# Width of the robust loss in pixels, steps, and the share of the evidence that must be there then: most turns show.
STAGES = ((1.0, 10, 0.75), (1.0, 30, 1.0), (0.5, 30, 1.0))
LINEAR_STEPS, LINEAR_PX = 5, 0.5
PLAIN_PX = 1.0  # of parallax
ONE_SIDE = 0.65  # share of the points that have to show plain parallax of the same sign
OF_TURN = 0.12  # median parallax, of what the turn moves in the picture


def moved_slightly(turn: State, obs: Observations, settings: Settings) -> tuple[State, Observations] | None:
    """Cameras and points that fit the tracks of a turn best, and the observations used; None for doubtful parallax.

    `turn` has points at infinity; `settings` say which cameras are free.
    """
    state = _translated(replace(turn, t=np.zeros_like(turn.t)), _expected(obs, len(turn.points)), obs, settings)
    turned = _turn(turn, np.unique(obs.frame)) * turn.focal
    for width, iterations, share in STAGES:
        state = solve(state, obs, replace(settings, robust_px=width, iterations=iterations, tolerance=1e-5)).state
        off = np.square(linearise(state, obs).residual).sum(1)
        state, obs = kept(state, obs, off < OUTLIER_PX**2)
        if not len(obs):
            return None
        if np.median(_inverse(state)) < 0:  # the other sign of all explains the same
            state = replace(state, t=-state.t, points=state.points * np.array([1.0, 1, 1, -1]))
        parallax = _inverse(state) * np.linalg.norm(state.t, axis=1).max() * state.focal
        if (parallax > PLAIN_PX).mean() < share * ONE_SIDE or np.median(parallax) < share * OF_TURN * turned:
            return None
    return kept(state, obs, (_inverse(state) > 0)[obs.point])


def _turn(state: State, frames: np.ndarray) -> float:
    """Widest angle in radians between the first of some frames and the others."""
    return float(np.linalg.norm(log_so3(state.R[frames] @ state.R[frames[0]].T), axis=1).max())


def _expected(obs: Observations, points: int) -> np.ndarray:
    """Inverse depth [P] of each point by the predicted depth, around 1; 1 where none is predicted."""
    known = np.isfinite(obs.depth) & (obs.depth > 0)
    count = np.bincount(obs.point[known], minlength=points)
    inverse = np.bincount(obs.point[known], 1 / obs.depth[known], points) / np.maximum(count, 1)
    typical = np.median(inverse[count > 0]) if known.any() else 1.0
    return np.where(count > 0, inverse / typical, 1.0)


def _translated(state: State, inverse: np.ndarray, obs: Observations, settings: Settings) -> State:
    """The turn with the translations that explain most of what it leaves over, its points at `inverse` depths [P]."""
    points = state.points / np.linalg.norm(state.points[:, :3], axis=1, keepdims=True)
    points[:, 3] = inverse
    near = linearise(replace(state, points=points / np.linalg.norm(points, axis=1, keepdims=True)), obs)
    t = state.t.copy()
    for s in np.flatnonzero(settings.free_cameras):
        rows = obs.frame == s
        A, b = near.camera[rows].reshape(-1, 6), -near.residual[rows].reshape(-1)
        weight = np.ones(len(b))
        for _ in range(LINEAR_STEPS):
            x = np.linalg.lstsq(A * weight[:, None], b * weight, rcond=None)[0]
            weight = 1 / np.sqrt(1 + np.square((A @ x - b) / LINEAR_PX))
        t[s] = x[3:]
    return replace(state, t=t, points=points / np.linalg.norm(points, axis=1, keepdims=True))


def _inverse(state: State) -> np.ndarray:
    """Signed inverse distance [P] of the points from the origin of the world."""
    return state.points[:, 3] / np.linalg.norm(state.points[:, :3], axis=1)
