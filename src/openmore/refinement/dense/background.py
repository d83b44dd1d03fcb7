"""What a fixed camera sees when nobody is in the way: the median of frames spread over the shot.

Choices
- A pixel that shows the background stands still, whatever flow says: flow spreads over the ground beside a mover.
- A pixel that differs from it is a mover, also while it pauses. What stands still for more than half of the shot is
  background itself, and its place is taken for a mover once it has left; flow cannot tell the two apart.
- A background of TRUSTED frames tells movers better than the fusion network does, which never saw a long one.
- At most SAMPLES small pictures are held, and none for shots of fewer than FEWEST frames.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SAMPLES, FEWEST, TRUSTED = 25, 8, 16
LEAST_NOISE = 2.0  # grey levels
SAME, OTHER = 3.0, 6.0  # times the noise: below it the background is seen, above it something else
STATIC_ODDS, MOVING_ODDS = -2.0, 1.0


class Background:
    """The background of one shot of a fixed camera, [h, w, 3]."""

    def __init__(self, frames: np.ndarray, small: Callable[[int], np.ndarray]):
        self.trusted = len(frames) >= TRUSTED
        chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), SAMPLES)).round().astype(int))
        self.image = np.median(np.stack([small(int(frames[i])) for i in chosen]), axis=0).astype(np.float32)

    def judge(self, odds: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Log odds of moving [h, w] with what the background adds to them for `image` [h, w, 3] uint8."""
        import cv2

        gain = np.float32(np.median((image.astype(np.float32) + 4) / (self.image + 4)))  # cameras change exposure
        difference = cv2.GaussianBlur(np.abs(image - gain * self.image).max(-1), (0, 0), 0.8)
        noise = max(float(np.median(difference)), LEAST_NOISE)
        odds = np.where(difference < SAME * noise, STATIC_ODDS, odds)
        return np.where(difference > OTHER * noise, np.fmax(odds, MOVING_ODDS), odds).astype(np.float32)


def is_fixed(world_from_cam: np.ndarray) -> bool:
    """Whether cameras [n, 4, 4] are one and the same."""
    return bool(np.abs(world_from_cam - world_from_cam[0]).max() < 1e-9)
