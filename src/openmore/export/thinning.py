"""Voxel thinning of clouds that arrive in pieces, in bounded memory.

Choices
- One point per cell: the surest static one (confidence x probability of being static).
- The cloud is kept sorted by cell, so a new piece finds its cells by bisection; points in new cells wait in a list
  until there are enough of them to be worth a merge.
- When the cloud outgrows its budget the cell grows by sqrt(2) (a surface then has half as many) and everything is
  thinned again: the budget is met by even thinning, never by forgetting frames.
"""

from __future__ import annotations

import math

import numpy as np

from openmore.export.cloud import CLOUD, join, pick_evenly, put, take

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
        at, candidates = at[known], take(cloud, known)
        better = score(candidates) > score(take(self._cloud, at))
        put(self._cloud, at[better], take(candidates, better))
        return take(cloud, ~known)

    def _merge(self) -> None:
        cloud = join([self._cloud, *self._waiting])
        self._waiting.clear()
        if self.voxel:
            cloud, self._keys = _best_per_cell(cloud, self.voxel)
        while len(cloud) > max(self.budget, _OCTANTS):
            self.voxel = self.voxel * math.sqrt(2) if self.voxel else _starting_voxel(cloud["xyz"])
            cloud, self._keys = _best_per_cell(cloud, self.voxel)
        self._cloud = cloud


def _best_per_cell(cloud: np.ndarray, voxel: float) -> tuple[np.ndarray, np.ndarray]:
    """The best point of every cell, sorted by cell, and the cells' keys; of equals the first one given."""
    if not len(cloud):
        return cloud, np.zeros(0, np.int64)
    keys = cell_keys(cloud["xyz"], voxel)
    order = np.argsort(keys)  # not stable, and therefore 30 times faster than lexsort; ties are settled below
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    sizes = np.diff(np.append(starts, len(keys)))
    values = score(cloud)[order]
    is_best = values == np.repeat(np.maximum.reduceat(values, starts), sizes)
    winners = np.minimum.reduceat(np.where(is_best, order, len(order)), starts)
    return take(cloud, winners), keys[starts]


def _starting_voxel(xyz: np.ndarray) -> float:
    """A cell small against the cloud: a thousandth of the middle half's size."""
    low, high = np.percentile(xyz, (25, 75), axis=0)
    return float(np.linalg.norm(high - low)) / 1000 or 1e-6
