"""Bundle adjustment in which loops take part, without the far couplings that would make its matrix dense.

Choices
- Loops are held at one end and pull at the other: a point of the free end is also seen by the cameras that saw its twin
  at the held end, and those do not move. Then the ends change roles. No free camera is coupled to a far one, so the
  system stays block tridiagonal.
- Adjusted by its tracks alone, the map would bend open again (half of the gap after four steps); single cameras held
  at the loops become kinks in the path (up to 2 degrees). Both were measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State
from openmore.refinement.adjustment.solver import Settings, solve
from openmore.refinement.loops.edges import Loop, rows_of_points

ITERATIONS = 3  # of each of the two solves


def adjust_with_loops(state: State, obs: Observations, placed: np.ndarray, loops: Sequence[Loop]) -> State:
    """The state after adjusting all cameras `placed` [S] bool, first those of the loops' ends b, then those of a."""
    a = np.concatenate([loop.ties.points_a for loop in loops])
    b = np.concatenate([loop.ties.points_b for loop in loops])
    for held, pulled in ((a, b), (b, a)):
        free = placed.copy()
        free[obs.frame[np.isin(obs.point, held)]] = False
        free[np.flatnonzero(placed)[0]] = False
        if free.any():
            shared = _with_twins(obs, held, pulled)
            state = solve(state, shared, Settings(free, iterations=ITERATIONS, tolerance=1e-3)).state
    return state


def _with_twins(obs: Observations, held: np.ndarray, pulled: np.ndarray) -> Observations:
    """The observations, those of each point of `held` [M] once more as ones of its twin in `pulled` [M]."""
    rows, twin = rows_of_points(obs, held)
    row = np.concatenate((np.arange(len(obs)), rows))
    point = np.concatenate((obs.point, pulled[twin]))
    order = np.lexsort((obs.frame[row], point))  # stable: a point's own observation comes before a borrowed one
    row, point = row[order], point[order]
    new = np.r_[True, (np.diff(point) != 0) | (np.diff(obs.frame[row]) != 0)]
    row, point = row[new], point[new]
    return Observations(point, obs.frame[row], obs.uv[row], obs.weight[row], obs.depth[row])
