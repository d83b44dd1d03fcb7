"""Colours that mean something in exported files.

Choices
- Time runs along the one map of this project (io.colours).
- glTF and USD store LINEAR colours; pictures are sRGB.
"""

from __future__ import annotations

import numpy as np

from openmore.io.colours import ramp


def time_colours(count: int) -> np.ndarray:
    """[count, 3] uint8, first frame dark violet, last yellow."""
    return ramp(np.linspace(0, 1, count))


def linear_from_srgb(rgb: np.ndarray) -> np.ndarray:
    """uint8 sRGB [N, 3] -> float32 linear 0..1 [N, 3] (IEC 61966-2-1)."""
    s = np.arange(256) / 255
    table = np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)
    return table.astype(np.float32)[rgb]
