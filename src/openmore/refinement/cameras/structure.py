"""The sparse scene a solution stands on: points and where they were seen, in the units of the cameras returned.

Choices
- Only observations the solver kept, and only points in front of their cameras and nearer than `FAR` times the median
  distance: a point at infinity holds a rotation but is no place.
- Shots are joined; frame numbers are those of the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State, residuals
from openmore.refinement.matching.tracks import renumber

FAR = 50.0


@dataclass(frozen=True)
class Structure:
    """Points and observations; rows of `point`, `frame` and `uv` belong together."""

    xyz: np.ndarray  # [N, 3] world
    point: np.ndarray  # [M] int64, row of xyz
    frame: np.ndarray  # [M] int64
    uv: np.ndarray  # [M, 2] float64, pixels of the pictures given, integer centres

    @staticmethod
    def none() -> Structure:
        return Structure(np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2)))

    def scaled_pixels(self, ratio: np.ndarray) -> Structure:
        """The same with pixels [2] times as large."""
        return Structure(self.xyz, self.point, self.frame, self.uv * ratio)


def structure_of(state: State, obs: Observations, world_from_solver: np.ndarray) -> Structure:
    """What of a solution is a place, moved by the rigid [4, 4]. `obs` is numbered as `state.points`."""
    if not len(obs):
        return Structure.none()
    inverse = residuals(state, obs)[1]
    depth = 1 / np.maximum(inverse, 1e-12)
    near = (inverse > 0) & (depth < FAR * np.median(depth))
    lost = np.bincount(obs.point[~near], minlength=len(state.points)) > 0
    keep = ~lost[obs.point]
    obs = obs.select(keep)
    points = state.points[np.unique(obs.point)]
    xyz = points[:, :3] / points[:, 3:]
    xyz = xyz @ world_from_solver[:3, :3].T + world_from_solver[:3, 3]
    return Structure(xyz, renumber(obs).point, obs.frame, obs.uv)


def joined(parts: Sequence[Structure]) -> Structure:
    """Several shots as one."""
    if not parts:
        return Structure.none()
    offset = np.cumsum([0, *(len(p.xyz) for p in parts)])
    point = np.concatenate([p.point + o for p, o in zip(parts, offset)])
    return Structure(
        np.concatenate([p.xyz for p in parts]),
        point,
        np.concatenate([p.frame for p in parts]),
        np.concatenate([p.uv for p in parts]),
    )
