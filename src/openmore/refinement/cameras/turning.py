"""A camera that only turns: rotations from pairs, then bundle adjustment with all points at infinity.

Choices
- Rotations are chained along the strongest pairs from the first frame, and the adjustment takes the rest of the error
  out; every frame keeps the centre of the first, which is what such a video says about it.
- Where the shutter rolls it is solved for as well (`rolling`): a pan by hand bends every picture.
- The focal length is solved for together with the rotations: a turning camera shows it well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State
from openmore.refinement.adjustment.rolling import free_axes, is_possible, unbent, with_twist
from openmore.refinement.adjustment.solver import Settings, solve
from openmore.refinement.adjustment.triangulate import fits, support
from openmore.refinement.cameras.focal import intrinsics, matched_rays
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.tracks import renumber
from openmore.refinement.matching.twoview import ROTATION_PX, Pair, bearings, fit_rotation

OUTLIER_PX = 3.0
TWISTS = 2  # solves with a rolling shutter, the motion within frames measured anew before each
ROBUST_PX = (4.0, 1.0)  # of the two solves: chained rotations may begin pixels away, where a narrow loss is flat


def chain_rotations(
    frames: np.ndarray, pairs: Sequence[Pair], keypoints: Sequence[Keypoints], K: np.ndarray, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """cam_from_world rotations [total, 3, 3] and which frames were reached, from the first of `frames`."""
    R, known = np.tile(np.eye(3), (total, 1, 1)), np.zeros(total, bool)
    known[frames[0]] = True
    left = sorted(pairs, key=lambda p: -len(p.index))
    while left:
        pair = next((p for p in left if known[p.a] != known[p.b]), None)
        if pair is None:
            break
        left.remove(pair)
        turn = fit_rotation(*matched_rays(pair, keypoints, K), ROTATION_PX / K[0, 0])[0]
        if known[pair.a]:
            R[pair.b] = turn @ R[pair.a]
        else:
            R[pair.a] = turn.T @ R[pair.b]
        known[[pair.a, pair.b]] = True
    return R, known


def adjust_rotations(
    state: State, obs: Observations, known: np.ndarray, first: int, free_focal: bool,
    prior: tuple[float, float] | None, may_roll: bool = True,
) -> tuple[State, Observations]:  # fmt: skip
    """Rotations (and focal length) that fit the tracks best; `state` gives the start. Also the observations used.

    Not `may_roll`: the shutter is taken for a global one, whatever the tracks show.
    """
    obs = obs.select(known[obs.frame])
    every = renumber(obs.select((np.bincount(obs.point) > 1)[obs.point]))
    free = known.copy()
    free[first] = False
    settings = Settings(free, free_focal=free_focal, translate=False, iterations=20, focal_prior=prior)
    state, used = _adjusted(state, every, settings, ROBUST_PX)
    rolling = unbent(state, used, settings) if may_roll and len(used) else None
    if rolling is None:
        return state, used
    for _ in range(TWISTS):
        rolling = with_twist(rolling, known)
        rolling, seen = _adjusted(rolling, every, replace(settings, free_readout=free_axes(rolling)), ROBUST_PX[1:])
    better = is_possible(rolling) and support(rolling, seen) > support(state, used)
    return (rolling, seen) if better else (state, used)


def _adjusted(
    state: State, obs: Observations, settings: Settings, widths: Sequence[float]
) -> tuple[State, Observations]:
    """A solve for each width of the robust loss, outliers dropped after each."""
    state = replace(state, points=_at_infinity(state, obs))
    for width in widths:
        state = solve(state, obs, replace(settings, robust_px=width)).state
        state = replace(state, points=_far(state.points[:, :3]))  # nothing holds w: its sign would be an accident
        state, obs = kept(state, obs, fits(state, obs, OUTLIER_PX))
    return state, obs


def kept(state: State, obs: Observations, ok: np.ndarray) -> tuple[State, Observations]:
    """Without the observations that are not `ok` [O], and the points that keep less than two."""
    enough = np.bincount(obs.point[ok], minlength=len(state.points)) > 1
    return replace(state, points=state.points[enough]), renumber(obs.select(ok & enough[obs.point]))


def _at_infinity(state: State, obs: Observations) -> np.ndarray:
    """Directions [P, 4] of the tracks, from their first observations; a tiny w tells front from back."""
    starts = np.flatnonzero(np.r_[True, np.diff(obs.point) != 0])
    rays = bearings(obs.uv[starts], intrinsics(state.focal, state.aspect, state.center))
    world = (state.R[obs.frame[starts]].swapaxes(1, 2) @ rays[..., None])[..., 0]
    return _far(world)


def _far(directions: np.ndarray) -> np.ndarray:
    """Points [P, 4] at the end of directions [P, 3]."""
    points = np.concatenate((directions, np.full((len(directions), 1), 1e-6)), 1)
    return points / np.linalg.norm(points, axis=1, keepdims=True)
