"""Depth that neighbouring frames agree on.

Choices
- Each frame was measured by itself, so errors differ from frame to frame. A pixel that stands still is seen by its
  neighbours too: each says by which factor the depth is off that it saw there, and the weighted median of those, the
  frame's own "by none" among them, is taken. It follows no single frame.
- Who finds depth off by more than MOST sees something else there, before or behind it, and is not counted.
- Movers keep their depth, and have no say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from openmore.refinement.dense.flow_window import seen_from
from openmore.refinement.dense.residual_motion import MOVING
from openmore.refinement.dense.triangulated import weighted_median
from openmore.refinement.dense.walk import DenseFrame

OFFSETS = (-1, 1, -2, 2, -3, 3)  # frames
MOST = 0.4  # log units; 0.2 gains two thirds as much, and without a limit the far side of outlines suffers


def agreed(
    frames: Sequence[DenseFrame], K: np.ndarray, world_from_cam: np.ndarray, shot: np.ndarray
) -> list[DenseFrame]:
    """The same frames, their depth settled among neighbours of one shot.

    K [S, 3, 3] in pixels of the depth maps; `shot` [S] the number of each frame's shot, -1 for frames that stay as they
    are and are not asked, as are those without depth.
    """
    return [
        frame
        if frame.depth is None or shot[s] < 0
        else replace(frame, depth=_settled(s, frames, K, world_from_cam, shot))
        for s, frame in enumerate(frames)
    ]


def _settled(
    s: int, frames: Sequence[DenseFrame], K: np.ndarray, world_from_cam: np.ndarray, shot: np.ndarray
) -> np.ndarray:
    """Depth [h, w] of frame s."""
    own = frames[s]
    assert own.depth is not None
    factors, votes = [np.zeros_like(own.depth)], [_votes(own)]
    for offset in OFFSETS:
        t = s + offset
        if 0 <= t < len(frames) and shot[t] == shot[s] and frames[t].depth is not None:
            factor, vote = _said(own.depth, frames[t], K[s], K[t], np.linalg.inv(world_from_cam[t]) @ world_from_cam[s])
            factors.append(factor)
            votes.append(vote)
    factor = weighted_median(np.stack(factors), np.stack(votes))
    return own.depth * np.exp(np.where(_moves(own), 0, factor))


def _said(
    depth: np.ndarray, other: DenseFrame, K: np.ndarray, K_other: np.ndarray, other_from_cam: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithm [h, w] of the factor by which `other` finds the depth [h, w] too small, and the weight of that."""
    import cv2

    assert other.depth is not None
    at, deeper = seen_from(K, K_other, other_from_cam, 1 / depth)
    x, y = np.nan_to_num(at, nan=-1.0).astype(np.float32)
    told = np.where(_moves(other), 0, _votes(other))
    there = cv2.remap(np.log(other.depth), x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
    vote = cv2.remap(told, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT, 0)
    factor = (there - np.log(depth * np.maximum(deeper, 1e-9))).astype(np.float32)
    return factor, np.where(np.abs(factor) < MOST, vote, 0)


def _votes(frame: DenseFrame) -> np.ndarray:
    assert frame.depth is not None
    return np.ones_like(frame.depth) if frame.confidence is None else frame.confidence.astype(np.float32)


def _moves(frame: DenseFrame) -> np.ndarray:
    assert frame.depth is not None
    return np.zeros(frame.depth.shape, bool) if frame.motion is None else frame.motion > MOVING
