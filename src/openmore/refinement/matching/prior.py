"""What the network says of one frame, read at key points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOVING = 0.5  # probability above which no key point is taken
LEAST_STATIC = 0.2  # share of the picture the motion probability must leave, or it is not believed
LEAST_WEIGHT = 0.25  # of an observation, where the network is least sure
UNSURE = 0.2  # share of the points whose depth is not used, those of least confidence


@dataclass(frozen=True)
class Prior:
    """The network's arrays for one frame, at any resolution; any may be missing."""

    depth: np.ndarray | None = None  # [h, w] float32, z; 0 or NaN = none
    confidence: np.ndarray | None = None  # [h, w] float32, larger is surer
    motion: np.ndarray | None = None  # [h, w] float32, probability of moving

    def depth_at(self, uv: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Predicted depth [N] float32 at pixels [N, 2] of a picture of `shape`; NaN = none."""
        if self.depth is None or not len(uv):
            return np.full(len(uv), np.nan, np.float32)
        depth = nearest(self.depth, uv, shape)
        depth = np.where(depth > 0, depth, np.nan).astype(np.float32)
        if self.confidence is not None:
            sure = nearest(self.confidence, uv, shape)
            depth[sure < np.nanquantile(sure, UNSURE)] = np.nan
        return depth

    def weight_at(self, uv: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Weight [N] float32 of observations: (1 - motion) times the confidence over its median, at most 1.

        A motion map that would leave nothing is not believed, as in `moving_mask`.
        """
        weight = np.ones(len(uv), np.float32)
        if not len(uv):
            return weight
        if self.confidence is not None:
            usual = float(np.median(self.confidence))
            weight *= np.clip(nearest(self.confidence, uv, shape) / max(usual, 1e-9), LEAST_WEIGHT, 1)
        if self.motion is not None and float((self.motion > MOVING).mean()) <= 1 - LEAST_STATIC:
            weight *= np.clip(1 - nearest(self.motion, uv, shape), LEAST_WEIGHT, 1)
        return weight


def moving_mask(prior: Prior, shape: tuple[int, ...]) -> np.ndarray | None:
    """Where the network sees movers, [H, W] bool; None when it says nothing, or nothing usable."""
    import cv2

    if prior.motion is None:
        return None
    motion = cv2.resize(np.asarray(prior.motion, np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    moving = motion > MOVING
    return moving if moving.mean() <= 1 - LEAST_STATIC else None


def nearest(values: np.ndarray, uv: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values [N] of an array [h, w] at pixels [N, 2] of a picture of `shape`."""
    h, w = values.shape
    u = np.clip(np.round(uv[:, 0] * (w / shape[1])), 0, w - 1).astype(int)
    v = np.clip(np.round(uv[:, 1] * (h / shape[0])), 0, h - 1).astype(int)
    return values[v, u]
