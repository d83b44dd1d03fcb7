"""The last solves of a map: outliers judged anew, a narrower loss each time, and whether the shutter rolls.

Choices
- Between the first solve and the others the shutter is asked for. Cameras that were bent to fit a rolling picture see
  other points and outliers than straight ones: they begin once more.
- A rolling shutter must be better than none, and possible in the end; else the map is what it was without.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openmore.refinement.adjustment.bundle import State
from openmore.refinement.adjustment.rolling import is_possible, unbent
from openmore.refinement.adjustment.solver import Settings
from openmore.refinement.adjustment.triangulate import support
from openmore.refinement.cameras.mapper import Mapper
from openmore.refinement.matching.tracks import renumber

WIDTHS_PX = (1.0, 0.5, 0.25)  # of the robust loss: in the end noise of key points is left

Snapshot = tuple[State, np.ndarray, np.ndarray]


def polish(mapper: Mapper) -> None:
    """Bring a grown map to its end."""
    mapper.polish(WIDTHS_PX[0])
    upright = _snapshot(mapper)
    if mapper.state.shutter is None:
        _try_rolling(mapper, upright)
    _narrow(mapper)
    if not is_possible(mapper.state):
        mapper.state, mapper.placed, mapper.good = upright
        _narrow(mapper)


def _narrow(mapper: Mapper) -> None:
    for width in WIDTHS_PX[1:]:
        mapper.polish(width)


def _snapshot(mapper: Mapper) -> Snapshot:
    return replace(mapper.state, points=mapper.state.points.copy()), mapper.placed.copy(), mapper.good.copy()


def _try_rolling(mapper: Mapper, upright: Snapshot) -> None:
    """Go on with a rolling shutter, where the tracks show one and are better explained by it than `upright`."""
    used = mapper.used()
    points = np.unique(used.point)
    free = mapper.known.copy()
    free[np.flatnonzero(free)[0]] = False
    settings = Settings(free, mapper.focal.free, focal_prior=mapper.focal.prior, tolerance=1e-3)
    found = unbent(replace(mapper.state, points=mapper.state.points[points]), renumber(used), settings)
    if found is None:
        return
    before = support(mapper.state, used)
    mapper.state = replace(found, points=mapper.state.points)
    mapper.polish(WIDTHS_PX[0])
    if support(mapper.state, mapper.used()) < before:
        mapper.state, mapper.placed, mapper.good = upright
