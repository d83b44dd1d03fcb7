"""`points.ply` of a scene folder: a first look at the static world, with the movers of the middle frame.

Choices
- A fixed budget: at most `CLOUD_FRAMES` frames are read and each gives an equal share of `CLOUD_POINTS`, picked evenly
  over its pixels. `openmore export` makes the thinned, filtered cloud.
- Each frame's least confident fifth and everything that moves (probability 0.5 or more) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmore.types import FramePrediction

CLOUD_FRAMES, CLOUD_POINTS = 200, 500_000
LEAST_SURE_PERCENT = 20
MOVING = 0.5
_NO_COLOUR = 200  # grey of frames without pictures


def scene_cloud(frames: Sequence[FramePrediction]) -> tuple[np.ndarray, np.ndarray]:
    """World points [N, 3] float32 and colours [N, 3] uint8 of a scene."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), CLOUD_FRAMES)).round().astype(int))
    share = CLOUD_POINTS // (len(chosen) + 1)
    pieces = [_points(frames[int(i)], share, moving=False) for i in chosen]
    pieces.append(_points(frames[len(frames) // 2], share, moving=True))
    return np.concatenate([xyz for xyz, _ in pieces]), np.concatenate([rgb for _, rgb in pieces])


def _points(frame: FramePrediction, count: int, moving: bool) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` points of the frame's static or moving surface."""
    import torch

    from openmore.geometry.camera import depth_to_world

    keep = np.isfinite(frame.depth) & (frame.depth > 0)
    keep &= frame.confidence >= np.percentile(frame.confidence, LEAST_SURE_PERCENT)
    movers = np.zeros(frame.shape, bool) if frame.motion is None else frame.motion >= MOVING
    picked = np.flatnonzero(keep & (movers if moving else ~movers))
    if len(picked) > count:
        picked = picked[np.linspace(0, len(picked) - 1, count).astype(int)]
    depth, K, world_from_cam = map(torch.from_numpy, (frame.depth, frame.K_model, frame.camera.world_from_cam))
    xyz = depth_to_world(depth, K.float(), world_from_cam.float()).numpy().reshape(-1, 3)[picked]
    if frame.rgb is None:
        return xyz, np.full((len(xyz), 3), _NO_COLOUR, np.uint8)
    return xyz, frame.rgb.reshape(-1, 3)[picked]
