"""What eliminated points leave on pairs of cameras: the sum of Y_i Y_k^T over the observations i, k of each point.

Y_i is the block of observation i's camera against its point, times the inverse of the point block's Cholesky factor.

Choices
- Points seen in the same stretch of frames go into one matrix [frames * c, points * 3], zero where a point was not
  seen; its product with itself holds all their pairs. One large product is many times faster than a small one for
  every pair, the zeros included.
- Stretches begin and end at multiples of `STEP` frames: few matrices, and little more than half of them zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from openmore.refinement.adjustment.bundle import Observations

STEP = 4  # frames
LARGEST = 4_000_000  # numbers in a matrix: 32 MB


@dataclass(frozen=True)
class _Stretch:
    """Points of one stretch of free frames."""

    first: int  # place of the first frame among the free ones
    frames: int
    points: int
    rows: np.ndarray  # [n] observations
    at: np.ndarray  # [n] their frames' places in the stretch
    column: np.ndarray  # [n] their points' places in the matrix


class Coupling:
    """The stretches of one set of observations, found once for all steps of a solve."""

    def __init__(self, obs: Observations, free: np.ndarray):
        """`obs` sorted by point; `free` [S] says which cameras move."""
        self.free, self.point = np.flatnonzero(free), obs.point
        rows = np.flatnonzero(free[obs.frame])
        place = (np.cumsum(free) - 1)[obs.frame[rows]]
        new = np.diff(obs.point[rows], prepend=-1) != 0
        starts = np.flatnonzero(new)
        if not len(starts):
            self.stretches, self.span = [], 0
            return
        first = np.minimum.reduceat(place, starts) // STEP
        last = np.maximum.reduceat(place, starts) // STEP
        self.stretches = list(self._stretches(rows, place, np.cumsum(new) - 1, first, last))
        self.span = max(s.frames for s in self.stretches) - 1  # largest distance of two coupled free frames

    def _stretches(
        self, rows: np.ndarray, place: np.ndarray, point: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> Iterator[_Stretch]:
        """`point` [n] numbers the points of the observations; `first` and `last` [points] are in units of STEP."""
        order = np.lexsort((last, first))
        change = (np.diff(first[order], prepend=-1) != 0) | (np.diff(last[order], prepend=-1) != 0)
        number = np.empty(len(order), np.int64)  # of the stretch a point belongs to
        number[order] = np.cumsum(change) - 1
        by_stretch = np.argsort(number[point], kind="stable")
        bounds = np.searchsorted(number[point][by_stretch], np.arange(number.max() + 2))
        for mine in (by_stretch[a:b] for a, b in pairwise(bounds)):
            begin = int(first[point[mine[0]]]) * STEP
            frames = min((int(last[point[mine[0]]]) + 1) * STEP, len(self.free)) - begin
            column = np.cumsum(np.diff(point[mine], prepend=-1) != 0) - 1
            most = max(LARGEST // (18 * frames), 1)  # points
            for start in range(0, int(column[-1]) + 1, most):
                a, b = np.searchsorted(column, (start, start + most))
                own = column[a:b] - start
                yield _Stretch(begin, frames, int(own[-1]) + 1, rows[mine[a:b]], place[mine[a:b]] - begin, own)

    def shares(self, cp: np.ndarray, L_inverse: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Frames [n], not later frames [n] and their blocks [n, c, c], one stretch after another.

        `cp` [O, c, 3] are the observations' blocks, `L_inverse` [P, 3, 3] the points' inverse factors.
        """
        c = cp.shape[1]
        for s in self.stretches:
            spread = np.zeros((s.frames, c, s.points, 3))
            spread[s.at, :, s.column] = cp[s.rows] @ L_inverse[self.point[s.rows]].swapaxes(1, 2)
            flat = spread.reshape(s.frames * c, s.points * 3)
            product = (flat @ flat.T).reshape(s.frames, c, s.frames, c)
            later, earlier = np.tril_indices(s.frames)
            frames = self.free[s.first : s.first + s.frames]
            yield frames[later], frames[earlier], product[later, :, earlier]
