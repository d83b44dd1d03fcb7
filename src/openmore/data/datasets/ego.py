"""Motion labels where flow, depth and cameras are all exact: what does not move with the camera moves by itself."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from openmore.geometry.ego_flow import ego_flow
from openmore.types import UNKNOWN


def moving_by_flow(
    depth: np.ndarray,
    K: np.ndarray,
    world_from_cam: np.ndarray,
    i: int,
    neighbours: Iterable[tuple[int, np.ndarray | None]],
    threshold_px: float,
) -> np.ndarray:
    """Labels [H, W] uint8 of frame `i`: 1 where a flow differs from the ego flow, 0 static, 255 unknown.

    Args:
        depth: [H, W] of frame i, 0 = unknown.
        K, world_from_cam: [N, 3, 3] and [N, 4, 4] of the sequence.
        neighbours: (place in the sequence, true flow [2, H, W] to it or None).
        threshold_px: difference in pixels from which a pixel moves.
    """
    motion = np.full(depth.shape, UNKNOWN, np.uint8)
    for j, flow in neighbours:
        if flow is None or not 0 <= j < len(K):
            continue
        cameras = [
            torch.from_numpy(np.array(x, dtype=np.float64)) for x in (K[i], world_from_cam[i], K[j], world_from_cam[j])
        ]
        expected, _ = ego_flow(torch.from_numpy(depth.astype(np.float64)), *cameras)
        difference = np.linalg.norm(flow - expected.numpy(), axis=0)
        known = np.isfinite(difference) & (depth > 0)
        motion[known & (motion == UNKNOWN)] = 0
        motion[known & (difference > threshold_px)] = 1
    return motion
