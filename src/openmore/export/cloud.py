"""Clouds as one structured array, and their thinning piece by piece in bounded memory.

Choices
- A cloud is ONE structured array (`CLOUD`): selecting, joining and thinning are then plain numpy.
- One point per cell: the surest static one (confidence x probability of being static).
- The cloud is kept sorted by cell, so a new piece finds its cells by bisection; points in new cells wait in a list
  until there are enough of them to be worth a merge.
- When the cloud outgrows its budget the cell grows by sqrt(2) (a surface then has half as many) and everything is
  thinned again: the budget is met by even thinning, never by forgetting frames.
"""

from __future__ import annotations

import math

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
_BITS = 21  # per axis of the packed cell index: 2 million cells a side before far cells share a key
_OCTANTS = 8  # cells never reach across an axis, so that many remain however large they grow
_MERGE_AT = 200_000  # waiting points that are worth a merge


def cell_keys(xyz: np.ndarray, voxel: float) -> np.ndarray:
    """[N] int64 key of the cell of side `voxel` that holds each point [N, 3]."""
    cell = np.floor(xyz.astype(np.float64) / voxel).astype(np.int64) & ((1 << _BITS) - 1)
    return (cell[:, 0] << 2 * _BITS) | (cell[:, 1] << _BITS) | cell[:, 2]


def score(cloud: np.ndarray) -> np.ndarray:
    """[N] float32: how much a point deserves to stand for its cell."""
    return cloud["confidence"] * (1 - cloud["motion"].astype(np.float32) / 255)


def thin(cloud: np.ndarray, voxel: float) -> np.ndarray:
    """The best point of every cell, sorted by cell. A `voxel` of 0 returns the cloud as it is."""
    return _best_per_cell(cloud, voxel)[0] if voxel and len(cloud) else cloud


class VoxelThinner:
    """Collects CLOUD arrays and holds about `budget` of their points at most."""

    def __init__(self, voxel: float, budget: int):
        self.voxel = self.first_voxel = voxel  # scene units; 0: no cells until the budget forces some
        self.budget = budget
        self._cloud = np.zeros(0, CLOUD)  # sorted by key
        self._keys = np.zeros(0, np.int64)
        self._waiting: list[np.ndarray] = []

    def add(self, cloud: np.ndarray) -> None:
        """Take in one frame's points."""
        if self.voxel:
            cloud, keys = _best_per_cell(cloud, self.voxel)
            cloud = self._replace_worse(cloud, keys)
        self._waiting.append(cloud)
        if sum(map(len, self._waiting)) >= min(_MERGE_AT, self.budget):
            self._merge()

    def result(self) -> np.ndarray:
        """The thinned cloud so far, at most `budget` points."""
        self._merge()
        return pick_evenly(self._cloud, self.budget)

    def _replace_worse(self, cloud: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Let better points take over the cells that exist; return the points of new cells."""
        at = np.searchsorted(self._keys, keys)
        known = at < len(self._keys)
        known[known] = self._keys[at[known]] == keys[known]
        at, candidates = at[known], cloud[known]
        better = score(candidates) > score(self._cloud[at])
        self._cloud[at[better]] = candidates[better]
        return cloud[~known]

    def _merge(self) -> None:
        cloud = np.concatenate([self._cloud, *self._waiting])
        self._waiting.clear()
        if self.voxel:
            cloud, self._keys = _best_per_cell(cloud, self.voxel)
        while len(cloud) > max(self.budget, _OCTANTS):
            self.voxel = self.voxel * math.sqrt(2) if self.voxel else _starting_voxel(cloud["xyz"])
            cloud, self._keys = _best_per_cell(cloud, self.voxel)
        self._cloud = cloud


def pick_evenly(cloud: np.ndarray, budget: int) -> np.ndarray:
    """At most `budget` points. A thinned cloud is sorted by cell, so this is even in space too."""
    if len(cloud) <= budget:
        return cloud
    return cloud[np.linspace(0, len(cloud) - 1, budget).astype(int)]


def _best_per_cell(cloud: np.ndarray, voxel: float) -> tuple[np.ndarray, np.ndarray]:
    keys = cell_keys(cloud["xyz"], voxel)
    order = np.lexsort((-score(cloud), keys))
    keys = keys[order]
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    return cloud[order[first]], keys[first]


def _starting_voxel(xyz: np.ndarray) -> float:
    """A cell small against the cloud: a thousandth of the middle half's size."""
    low, high = np.percentile(xyz, (25, 75), axis=0)
    return float(np.linalg.norm(high - low)) / 1000 or 1e-6
