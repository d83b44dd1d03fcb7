"""Tracks: key points of many frames that are one point of the scene, as flat observation tables.

Choices
- Matches are joined by union-find. A track that visits a frame twice keeps neither of the two points there.
- Of all tracks only those are kept that are among the longest of some cell of some frame: bundle adjustment gets
  covered pictures and long tracks, and its cost is bounded by the number of cells.
- Tracks of long clips are cut to `span` frames, which keeps the camera system banded and time linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from openmore.refinement.adjustment.bundle import Observations
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.twoview import Pair

CELLS = 12  # along the longer side


def link(
    keypoints: Sequence[Keypoints],
    pairs: Iterable[Pair],
    depth: Sequence[np.ndarray],
    weight: Sequence[np.ndarray] | None = None,
) -> Observations:
    """All tracks of at least two frames, with the depth predicted at their key points and their weights (default 1)."""
    offset = np.r_[0, np.cumsum([len(points) for points in keypoints])]
    root = _components(int(offset[-1]), [(p.index + offset[[p.a, p.b]]) for p in pairs])
    frame = np.repeat(np.arange(len(keypoints)), np.diff(offset))
    _, place, count = np.unique(root * len(keypoints) + frame, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(count[place] == 1)
    _, place, count = np.unique(root[rows], return_inverse=True, return_counts=True)
    rows, point = rows[count[place] > 1], place[count[place] > 1]
    uv = np.concatenate([points.uv for points in keypoints])[rows].astype(np.float64)
    depths = np.concatenate(depth)[rows].astype(np.float64)
    weights = None if weight is None else np.concatenate(weight)[rows].astype(np.float64)
    return table(point, frame[rows], uv, depths, weights)


def table(
    point: np.ndarray, frame: np.ndarray, uv: np.ndarray, depth: np.ndarray, weight: np.ndarray | None = None
) -> Observations:
    """Sort observations by point and frame and number the points from 0; weight 1 unless given."""
    order = np.lexsort((frame, point))
    _, number = np.unique(point[order], return_inverse=True)
    return Observations(
        number.astype(np.int64),
        frame[order].astype(np.int64),
        uv[order],
        np.ones(len(order)) if weight is None else weight[order],
        depth[order],
    )


def thin(obs: Observations, per_cell: int, shape: tuple[int, int]) -> Observations:
    """Keep a track if it is among the `per_cell` longest in one of the cells of one of its frames."""
    if not len(obs):
        return obs
    length = np.bincount(obs.point)[obs.point]
    size = max(shape) / CELLS
    cell = (obs.uv // size).astype(np.int64)
    where = (obs.frame * (CELLS + 1) + cell[:, 1]) * (CELLS + 1) + cell[:, 0]
    order = np.lexsort((-length, where))
    starts = np.flatnonzero(np.r_[True, np.diff(where[order]) != 0])
    rank = np.empty(len(obs), np.int64)
    rank[order] = np.arange(len(obs)) - np.repeat(starts, np.diff(np.r_[starts, len(obs)]))
    wanted = np.zeros(obs.point.max() + 1, bool)
    wanted[obs.point[rank < per_cell]] = True
    return renumber(obs.select(wanted[obs.point]))


def cut(obs: Observations, span: int) -> Observations:
    """Cut tracks so that none reaches over more than `span` frames; pieces of one frame are dropped."""
    if not len(obs):
        return obs
    starts = np.flatnonzero(np.r_[True, np.diff(obs.point) != 0])
    first = np.repeat(obs.frame[starts], np.diff(np.r_[starts, len(obs)]))
    piece = (obs.frame - first) // span
    key = obs.point * (int(piece.max()) + 1) + piece
    _, number, count = np.unique(key, return_inverse=True, return_counts=True)
    pieces = Observations(number.astype(np.int64), obs.frame, obs.uv, obs.weight, obs.depth)
    return renumber(pieces.select(count[number] > 1))


def renumber(obs: Observations) -> Observations:
    """Number the points from 0 without gaps; the order stays."""
    _, number = np.unique(obs.point, return_inverse=True)
    return Observations(number.astype(np.int64), obs.frame, obs.uv, obs.weight, obs.depth)


def _components(size: int, edges: Sequence[np.ndarray]) -> np.ndarray:
    """Representative [size] of each node's connected component; edges are arrays [M, 2]."""
    parent = list(range(size))

    def find(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for edge in edges:
        for x, y in edge.tolist():
            parent[find(y)] = find(x)
    return np.array([find(x) for x in range(size)], np.int64)
