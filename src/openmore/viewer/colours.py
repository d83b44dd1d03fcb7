"""Colours of points: their own, or a quantity on a colour-blind-safe map with a legend.

Choices
- One map for amounts (viridis): ordered in brightness, safe for colour-blind readers and in black and white.
- Depth is seen from the first camera, at all times: the same wall keeps its colour.
- Ranges are percentiles, so that one far point does not darken everything; the legend prints them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.io.colours import legend, ramp
from openmore.types import Camera

MODES = ("rgb", "depth", "confidence", "motion", "time")
_UNITS = {"depth": "depth, scene units", "confidence": "confidence", "motion": "moving probability", "time": "frame"}


@dataclass(frozen=True)
class Range:
    """The values at the two ends of a map."""

    low: float
    high: float

    def share(self, values: np.ndarray) -> np.ndarray:
        """Values -> 0..1 within the range, clipped."""
        return np.clip((values - self.low) / max(self.high - self.low, 1e-12), 0, 1)


class CloudColours:
    """Turns a CLOUD into colours; ranges are fixed once, so that colours mean the same at all times."""

    def __init__(self, cameras: list[Camera]):
        self._first_from_world = cameras[0].cam_from_world
        self._ranges = {"motion": Range(0, 1), "time": Range(0, max(len(cameras) - 1, 1))}

    def fit(self, cloud: np.ndarray) -> None:
        """Set the ranges of depth and confidence from a representative cloud."""
        for mode in ("depth", "confidence"):
            if len(cloud):
                low, high = np.percentile(self.values(cloud, mode), (2, 98))
                self._ranges[mode] = Range(float(low), float(high))

    def values(self, cloud: np.ndarray, mode: str) -> np.ndarray:
        """[N] the quantity behind a colour mode other than rgb."""
        if mode == "depth":
            return cloud["xyz"] @ self._first_from_world[2, :3] + self._first_from_world[2, 3]
        if mode == "motion":
            return cloud["motion"] / 255
        return cloud["frame" if mode == "time" else mode].astype(np.float32)

    def __call__(self, cloud: np.ndarray, mode: str) -> np.ndarray:
        """[N, 3] uint8."""
        if mode == "rgb":
            return cloud["rgb"]
        return ramp(self.range_of(mode).share(self.values(cloud, mode)))

    def range_of(self, mode: str) -> Range:
        """The range of a mode; 0..1 until `fit` has seen points."""
        return self._ranges.get(mode, Range(0, 1))

    def legend(self, mode: str, width: int = 300) -> np.ndarray:
        """[LEGEND_HEIGHT, width, 3] uint8: the map with its two end values and what it shows."""
        values = self.range_of(mode)
        ends = f"{values.low:.3g}", f"{values.high:.3g}"
        return legend(ramp(np.linspace(0, 1, width)), ends[0], _UNITS[mode], ends[1], width)
