"""The normal equations of a bundle adjustment, summed over points and cameras a slice of the points at a time.

Choices
- All that is kept per observation is the block of its camera against its point; every other block is summed as soon as
  it is made. Memory is 150 bytes an observation instead of a thousand.
- Slices end where a point ends, so that its sums are never split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State
from openmore.refinement.adjustment.terms import DepthPrior, depth_blocks, reprojection_blocks

SLICE = 20_000  # observations


@dataclass(frozen=True)
class Slice:
    """Neighbouring points with all their observations."""

    rows: slice  # of the observations
    points: slice  # of the point table
    obs: Observations  # numbered from the first of these points
    used: np.ndarray  # their points, numbered likewise, and where the observations of each begin
    starts: np.ndarray
    by_frame: np.ndarray  # the observations in order of their frames,
    frames: np.ndarray  # the distinct frames and where each begins
    frame_starts: np.ndarray

    def per_point(self, values: np.ndarray, into: np.ndarray) -> None:
        """Put sums of values [n, ...] over each point into a table [P, ...]."""
        into[self.points][self.used] = np.add.reduceat(values, self.starts)

    def per_frame(self, values: np.ndarray, into: np.ndarray) -> None:
        """Add sums of values [n, ...] over each frame to a table [S, ...]."""
        into[self.frames] += np.add.reduceat(values[self.by_frame], self.frame_starts)


def slices(obs: Observations, points: int) -> Iterator[Slice]:
    """Cut observations sorted by point."""
    begin = 0
    while begin < len(obs):
        end = begin + SLICE
        # The whole of the last point; a point of its own when it alone is longer.
        end = len(obs) if end >= len(obs) else int(np.searchsorted(obs.point, obs.point[end - 1], side="right"))
        part = obs.select(np.arange(begin, end))
        first, last = int(part.point[0]), int(part.point[-1]) + 1
        part = replace(part, point=part.point - first)
        by_frame = np.argsort(part.frame, kind="stable")
        rows = slice(begin, end)
        yield Slice(rows, slice(first, last), part, *runs(part.point), by_frame, *runs(part.frame[by_frame]))
        begin = end


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of a sorted array and where each run begins."""
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if len(values) else np.zeros(0, np.int64)
    return values[starts], starts


@dataclass
class Normal:
    """Sums of products of derivatives; c = camera, g = what all share, p = point. b = minus the gradient."""

    cc: np.ndarray  # [S, c, c]
    cg: np.ndarray  # [S, c, G]
    bc: np.ndarray  # [S, c]
    pp: np.ndarray  # [P, 3, 3]
    gp: np.ndarray  # [P, G, 3]
    bp: np.ndarray  # [P, 3]
    cp: np.ndarray  # [O, c, 3], per observation
    gg: np.ndarray  # [G, G]
    bg: np.ndarray  # [G]

    @staticmethod
    def zeros(frames: int, points: int, observations: int, c: int, shared: int) -> Normal:
        """Nothing summed yet."""
        cameras = np.zeros((frames, c, c)), np.zeros((frames, c, shared)), np.zeros((frames, c))
        return Normal(
            *cameras, np.zeros((points, 3, 3)), np.zeros((points, shared, 3)), np.zeros((points, 3)),
            np.empty((observations, c, 3)), np.zeros((shared, shared)), np.zeros(shared),
        )  # fmt: skip


def normal_equations(
    state: State, parts: list[Slice], observations: int, *,
    robust_px: float, translate: bool, readout: bool, depth: DepthPrior | None,
) -> Normal:  # fmt: skip
    """The normal equations at `state`, without priors on cameras and without damping.

    What all cameras share is the log focal length and, with `readout`, the two readouts after it.
    """
    width, shared = 6 if depth is None else 8, 3 if readout else 1
    total = Normal.zeros(len(state.R), len(state.points), observations, width, shared)
    for part in parts:
        local = replace(state, points=state.points[part.points])
        blocks = reprojection_blocks(local, part.obs, robust_px, width, translate, readout)
        if depth is not None:
            blocks.add(*depth_blocks(local, part.obs, depth, shared))
        total.cp[part.rows] = blocks.cp
        for name in ("pp", "gp", "bp"):
            part.per_point(getattr(blocks, name), getattr(total, name))
        for name in ("cc", "cg", "bc"):
            part.per_frame(getattr(blocks, name), getattr(total, name))
        total.gg, total.bg = total.gg + blocks.gg, total.bg + blocks.bg
    return total
