"""Point clouds as one structured array, `CLOUD`: selecting, joining and thinning are then plain numpy.

Choices
- Rows are moved as opaque bytes (`take`, `put`, `join`). numpy's own indexing copies structured rows field by field,
  which is a hundred times slower and would dominate every export.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CLOUD = np.dtype(
    [
        ("xyz", "<f4", 3),  # world, scene units
        ("rgb", "u1", 3),
        ("confidence", "<f4"),  # as the model gives it, >= 1
        ("motion", "u1"),  # moving probability x 255
        ("frame", "<i4"),  # position in Reconstruction.frames the point was seen in
        ("pixel", "<u2", 2),  # (u, v) there, model resolution
    ]
)
_BYTES = np.dtype((np.void, CLOUD.itemsize))


def take(cloud: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """[N] CLOUD: the rows at positions `chosen` (int), or where `chosen` (bool, the cloud's shape) is true."""
    return np.take(cloud, np.flatnonzero(chosen) if chosen.dtype == bool else chosen)


def put(cloud: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """cloud[rows] = values, in place."""
    cloud.view(_BYTES)[rows] = values.view(_BYTES)


def join(clouds: Sequence[np.ndarray]) -> np.ndarray:
    """[N] CLOUD: one after the other."""
    return np.concatenate([np.zeros(0, _BYTES), *(cloud.view(_BYTES) for cloud in clouds)]).view(CLOUD)


def pick_evenly(cloud: np.ndarray, budget: int) -> np.ndarray:
    """At most `budget` points. A thinned cloud is sorted by cell, so this is even in space too."""
    if len(cloud) <= budget:
        return cloud
    return take(cloud, np.linspace(0, len(cloud) - 1, budget).astype(int))
