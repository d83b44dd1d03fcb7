"""4D consistency without truth and without tracks: do the static pixels of two frames agree on one surface?

Choices
- Static pixels of frame a are lifted by a's depth and camera, moved into frame b and compared with b's depth there.
  Nothing but the prediction is needed, so any video gives a number; it says "consistent", not "right".
- Two measures: the relative depth difference, and the round trip a -> b -> a in pixels through b's own depth.
- A surface that b sees in front of the lifted point hides it; such pixels (b nearer by more than 10 %) are left out
  and their share is reported, because otherwise occlusion would count as error, or error hide as occlusion.
- Medians: depth edges give a few wild values whatever the method.
- Geometry alone cannot see a camera sliding along a wall, and a frozen prediction is perfectly consistent. So
  `flow_residual` compares the flow that depth and cameras predict with the flow seen in the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from openmore.errors import DataError
from openmore.evaluation.poses import invert

HIDDEN = 0.1  # b's depth below (1 - HIDDEN) of the lifted depth: something else is in front


@dataclass(frozen=True)
class Consistency:
    """Agreement of static pixels over all frame pairs at one distance in time."""

    depth_relative: float  # median |z_lifted - z_b| / z_b
    within_5_percent: float  # share of compared pixels
    round_trip_px: float  # median distance after a -> b -> a, pixels
    compared: int  # pixel pairs
    hidden: float  # share left out as occluded

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def consistency(
    depth: np.ndarray,
    K: np.ndarray,
    world_from_cam: np.ndarray,
    static: np.ndarray | None = None,
    *,
    gap: int = 1,
    stride: int = 4,
) -> Consistency:
    """Depth [S, h, w], K [S, 3, 3] of those pixels, world_from_cam [S, 4, 4], `static` [S, h, w] bool (default all).

    Compares every frame with the one `gap` later on a grid of every `stride`-th pixel. Raises DataError when no pixel
    of any pair can be compared.
    """
    if len(depth) <= gap:
        raise DataError(f"{len(depth)} frames cannot be compared {gap} apart: give more frames or a smaller gap")
    static = np.ones(depth.shape, bool) if static is None else static
    parts = []
    for a in range(len(depth) - gap):
        pair = [a, a + gap]
        parts.append(compare_pair(depth[pair], K[pair], world_from_cam[pair], static[pair], stride))
    return pool(parts)


def flow_residual(
    depth: np.ndarray,
    K: np.ndarray,
    world_from_cam: np.ndarray,
    flow: np.ndarray,
    static: np.ndarray | None = None,
    *,
    stride: int = 4,
) -> float:
    """Median distance in pixels between predicted and observed flow of static pixels, consecutive frames.

    `flow` [S-1, 2, h, w] from each frame to the next, NaN = unknown; the rest as in `consistency`. Raises DataError
    when no pixel can be compared.
    """
    h, w = depth.shape[1:]
    v, u = np.mgrid[0:h:stride, 0:w:stride].reshape(2, -1)
    residuals = []
    for a in range(len(flow)):
        keep = (depth[a, v, u] > 0) & np.isfinite(flow[a, :, v, u]).all(1)
        if static is not None:
            keep &= static[a, v, u]
        start = np.stack((u, v), -1)[keep].astype(np.float64)
        b_from_a = invert(world_from_cam[a + 1]) @ world_from_cam[a]
        uv, z = project(move(start, depth[a, v, u][keep], K[a], b_from_a), K[a + 1])
        seen = flow[a, :, v, u][keep]
        residuals.append(np.linalg.norm(uv - start - seen, axis=-1)[z > 1e-9])
    pooled = np.concatenate(residuals) if residuals else np.zeros(0)
    if not len(pooled):
        raise DataError("no static pixel has both depth and flow: nothing can be compared")
    return float(np.median(pooled))


Part = tuple[np.ndarray, np.ndarray, int]  # relative differences, round trips, number of hidden pixels


def compare_pair(depth: np.ndarray, K: np.ndarray, pose: np.ndarray, static: np.ndarray, stride: int) -> Part:
    """Relative depth differences and round trips of one pair (arrays [2, ...])."""
    h, w = depth.shape[1:]
    v, u = np.mgrid[0:h:stride, 0:w:stride].reshape(2, -1)
    keep = static[0, v, u] & (depth[0, v, u] > 0)
    start = np.stack((u, v), -1)[keep].astype(np.float64)
    b_from_a = invert(pose[1]) @ pose[0]
    lifted = move(start, depth[0, v, u][keep], K[0], b_from_a)
    uv, z = project(lifted, K[1])
    column, row = np.round(uv).astype(int).T
    seen = (z > 1e-9) & (column >= 0) & (column < w) & (row >= 0) & (row < h)
    start, uv, z, column, row = start[seen], uv[seen], z[seen], column[seen], row[seen]
    z_b = depth[1, row, column]
    usable = static[1, row, column] & (z_b > 0)
    hidden = usable & (z_b < (1 - HIDDEN) * z)
    compared = usable & ~hidden
    back, _ = project(move(uv[compared], z_b[compared], K[1], invert(b_from_a)), K[0])
    relative = np.abs(z[compared] - z_b[compared]) / z_b[compared]
    return relative, np.linalg.norm(back - start[compared], axis=-1), int(hidden.sum())


def pool(parts: Sequence[Part]) -> Consistency:
    """One number per measure from all pairs."""
    relative, round_trip = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    hidden = sum(part[2] for part in parts)
    if not len(relative):
        raise DataError("no static pixel is seen by two frames: the cameras, or the static mask, leave nothing")
    return Consistency(
        float(np.median(relative)),
        float(np.mean(relative < 0.05)),
        float(np.median(round_trip)),
        len(relative),
        hidden / (hidden + len(relative)),
    )


def move(uv: np.ndarray, z: np.ndarray, K: np.ndarray, b_from_a: np.ndarray) -> np.ndarray:
    """Pixels [P, 2] with depth [P] of camera a -> points [P, 3] in camera b."""
    rays = (uv - K[:2, 2]) / (K[0, 0], K[1, 1])
    points = np.column_stack((rays, np.ones(len(rays)))) * z[:, None]
    return points @ b_from_a[:3, :3].T + b_from_a[:3, 3]


def project(points: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Camera points [P, 3] -> pixels [P, 2] and depth [P]; pixels of points behind the camera are far outside."""
    z = points[:, 2]
    safe = np.where(z > 1e-9, z, 1e-9)[:, None]
    return np.clip(points[:, :2] / safe * (K[0, 0], K[1, 1]) + K[:2, 2], -1e6, 1e6), z
