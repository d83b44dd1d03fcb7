"""A rolling shutter: the pixels of a picture are seen one line after another while the camera moves.

Choices
- The motion within a frame is constant: `twist`, the same increments as those of `State.moved`, per frame interval.
- A sensor reads along one side of the picture, which side and in which direction depends on how the camera was held:
  `readout` has a number for the width and one for the height, and one of them is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Shutter:
    """When and how the pixels of each frame are seen. The pose of a frame is that of its principal point."""

    readout: np.ndarray  # [S, 2] frame intervals from the left column to the right one, from the top row to the bottom
    twist: np.ndarray  # [S, 6] rotation and translation of cam_from_world per frame interval

    @staticmethod
    def none(frames: int) -> Shutter:
        """One that is global in all frames."""
        return Shutter(np.zeros((frames, 2)), np.zeros((frames, 6)))

    @property
    def rolls(self) -> bool:
        """Whether any frame was not seen at once."""
        return bool(self.readout.any())

    def since(self, frame: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """Motion [O, 6] between the middle of frames [O] and `moments` [O, 2], see `bundle.moments`."""
        return (moments * self.readout[frame]).sum(1)[:, None] * self.twist[frame]

    def slower(self, readout: np.ndarray) -> Shutter:
        """The same with `readout` [2] added."""
        return replace(self, readout=self.readout + readout)

    def rescaled(self, scale: float) -> Shutter:
        """The same where lengths have grown by `scale`."""
        return replace(self, twist=self.twist * np.repeat([1.0, scale], 3))

    def shift(self, frame: int, uv: np.ndarray, K: np.ndarray) -> np.ndarray:
        """How far the turn of the camera within a frame has moved what is seen at pixels uv [2, ...]; like uv.

        Less this, a pixel is where a global shutter would have seen it, to first order and but for the camera's
        translation within the frame. K [3, 3] in the pixels of uv.
        """
        fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
        x, y = (uv[0] - cx) / fx, (uv[1] - cy) / fy
        moment = self.readout[frame, 0] * (uv[0] - cx) / (2 * cx) + self.readout[frame, 1] * (uv[1] - cy) / (2 * cy)
        w = self.twist[frame, :3]
        forward = w[0] * y - w[1] * x
        return np.stack((
            fx * moment * (w[1] - w[2] * y - x * forward), fy * moment * (w[2] * x - w[0] - y * forward)
        )).astype(uv.dtype)  # fmt: skip
