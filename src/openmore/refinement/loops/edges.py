"""What far pairs of frames say of the drift between them: one verified similarity for each.

Choices
- Long tracks are cut, so a place seen again is two points of the map; matches of a far pair tie them together. Three
  ties give a similarity (RANSAC), all of them the best one.
- The best one is sought in pixels: each point moved over must land where its twin was seen, in all frames that saw it.
  Two pictures from one place show no scale; the frames around them do.
- Derivatives are differences, so whatever model of a camera `State` has is the one that is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State, residuals
from openmore.refinement.adjustment.triangulate import point_starts
from openmore.refinement.loops import sim3
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.twoview import Pair

LEAST_TIES = 12  # that agree
LEAST_SHARE = 0.3  # of the ties of a pair
DISTANCE = 0.1  # of a point from its camera: what RANSAC takes for the uncertainty of its place
AGREE_PX = 4.0
MOST_TIES = 100  # of a pair that are looked at: more tell nothing new
STEPS = 4
DIFFERENCE = 1e-6


@dataclass(frozen=True)
class Ties:
    """Points of the map that a pair's matches call the same."""

    a: int  # frames
    b: int
    points_a: np.ndarray  # [M] rows of the points seen in a
    points_b: np.ndarray  # [M]


@dataclass(frozen=True)
class Loop:
    """A verified pair: the map near frame a, moved by `b_from_a`, is the map near frame b."""

    ties: Ties  # those that agree
    b_from_a: np.ndarray  # [4, 4] similarity of the solver's world
    information: np.ndarray  # [7, 7] of a right increment in `a`'s coordinates (see `verify_loop`), pixels^-2


def find_ties(
    pairs: Sequence[Pair], keypoints: Sequence[Keypoints], state: State, obs: Observations, apart: int
) -> list[Ties]:
    """Ties of all pairs at least `apart` frames from each other that have enough of them."""
    order = np.argsort(obs.frame, kind="stable")
    bounds = np.searchsorted(obs.frame[order], np.arange(len(state.R) + 1))
    place = state.points[:, 3] > 1e-6  # a point at infinity has no place to compare

    def points_at(frame: int, index: np.ndarray) -> np.ndarray:
        """Map points of key points, -1 for none."""
        rows = order[bounds[frame] : bounds[frame + 1]]
        if not len(rows):
            return np.full(len(index), -1)
        seen, wanted = obs.uv[rows] @ [1, 1j], keypoints[frame].uv[index].astype(np.float64) @ [1, 1j]
        by_place = np.argsort(seen)
        at = by_place[np.minimum(np.searchsorted(seen[by_place], wanted), len(rows) - 1)]
        point = obs.point[rows[at]]
        return np.where((seen[at] == wanted) & place[point], point, -1)

    found = []
    for pair in pairs:
        if pair.b - pair.a < apart:
            continue
        a, b = points_at(pair.a, pair.index[:, 0]), points_at(pair.b, pair.index[:, 1])
        both = np.flatnonzero((a >= 0) & (b >= 0) & (a != b))
        both = both[np.unique(np.stack((a[both], b[both])), axis=1, return_index=True)[1]]
        if len(both) >= LEAST_TIES:
            both = both[np.linspace(0, len(both) - 1, min(len(both), MOST_TIES)).astype(int)]
            found.append(Ties(pair.a, pair.b, a[both], b[both]))
    return found


def verify_loop(ties: Ties, state: State, obs: Observations, local_from_world: np.ndarray) -> Loop | None:
    """The similarity most ties agree with; None when too few do.

    `local_from_world` [4, 4] gives the coordinates that the increments of `information` are taken in.
    """
    a, b = (state.points[p, :3] / state.points[p, 3:] for p in (ties.points_a, ties.points_b))
    eye = -state.R[ties.b].T @ state.t[ties.b]
    model, inlier = sim3.ransac(a, b, DISTANCE * np.linalg.norm(b - eye, axis=1))
    if not _enough(inlier):
        return None
    world_from_local = np.linalg.inv(local_from_world)
    for _ in range(2):  # what three points said of the scale was rough: ask all again
        chosen = Ties(ties.a, ties.b, ties.points_a[inlier], ties.points_b[inlier])
        fitted, information = _fit(_Sights(chosen, state, obs), model @ world_from_local, local_from_world)
        model = fitted @ local_from_world
        inlier = gaps(ties, state, obs, model) < AGREE_PX
        if not _enough(inlier):
            return None
    return Loop(Ties(ties.a, ties.b, ties.points_a[inlier], ties.points_b[inlier]), model, information)


def gaps(ties: Ties, state: State, obs: Observations, b_from_a: np.ndarray) -> np.ndarray:
    """[M] pixels: how far each tied point, moved over, lands from where its twin was seen; RMS over both ways."""
    sights = _Sights(ties, state, obs)
    squared = np.minimum(np.square(sights.residual(b_from_a, sights.a, sights.b)).sum(1), 1e6)
    total = np.bincount(sights.tie, squared, len(ties.points_a))
    return np.sqrt(total / np.maximum(np.bincount(sights.tie, minlength=len(ties.points_a)), 1))


def _fit(sights: _Sights, b_from_local: np.ndarray, local_from_world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The similarity [4, 4] that brings twins closest in pixels, robustly, and its information [7, 7]."""
    a = sights.a @ local_from_world.T

    def residual(model: np.ndarray) -> np.ndarray:
        return sights.residual(model, a, sights.b).ravel()

    increments = sim3.exp(DIFFERENCE * np.eye(7))
    model, H = b_from_local, np.eye(7)
    for _ in range(STEPS):
        r = residual(model)
        J = np.stack([residual(model @ step) - r for step in increments], 1) / DIFFERENCE
        weight = np.repeat(1 / (1 + np.square(r.reshape(-1, 2)).sum(1) / AGREE_PX**2), 2)
        JW = J.T * weight
        H = JW @ J
        model = model @ sim3.exp(-np.linalg.solve(H + 1e-9 * np.trace(H) * np.eye(7), JW @ r)[None])[0]
    return model, H


def _enough(inlier: np.ndarray) -> bool:
    return bool(inlier.sum() >= max(LEAST_TIES, LEAST_SHARE * len(inlier)))


class _Sights:
    """All observations of tied points, each to be met by the point's twin."""

    def __init__(self, ties: Ties, state: State, obs: Observations):
        self.state = state
        self.a, self.b = state.points[ties.points_a], state.points[ties.points_b]
        rows_b, tie_b = rows_of_points(obs, ties.points_b)
        rows_a, tie_a = rows_of_points(obs, ties.points_a)
        self.tie = np.concatenate((tie_b, tie_a))
        # Points moved from a are rows 0..M-1 of the table, those moved from b follow.
        seen = obs.select(np.concatenate((rows_b, rows_a)))
        self.obs = replace(seen, point=np.concatenate((tie_b, tie_a + len(self.a))))

    def residual(self, b_from_a: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """[n, 2] pixels, `a` and `b` [M, 4] being the homogeneous points in the coordinates `b_from_a` connects."""
        moved = np.concatenate((a @ b_from_a.T, b @ np.linalg.inv(b_from_a).T))
        residual, inverse_depth = residuals(replace(self.state, points=moved), self.obs)
        return np.where(inverse_depth[:, None] > 0, residual, 1e3)


def rows_of_points(obs: Observations, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Observation rows of some points, and which of `points` each belongs to. Every point is seen somewhere."""
    starts = np.r_[point_starts(obs), len(obs)]
    length = starts[points + 1] - starts[points]
    which = np.repeat(np.arange(len(points)), length)
    return np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length) + starts[points][which], which
