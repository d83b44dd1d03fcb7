"""One colour map for amounts, without matplotlib.

Viridis: ordered in brightness, safe for colour-blind readers and in a black-and-white print.
"""

from __future__ import annotations

import numpy as np

# Samples of viridis (matplotlib, CC0) that linear interpolation reproduces to within 2 of 255.
_VIRIDIS = np.array(
    [(68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142),
     (31, 158, 137), (53, 183, 121), (109, 205, 89), (180, 222, 44), (253, 231, 37)]
)  # fmt: skip
MOVING = np.array((213, 94, 0))  # vermilion: told apart from grey and from the map by every kind of sight


def ramp(share: np.ndarray) -> np.ndarray:
    """Values 0..1 [...] -> uint8 [..., 3]; 0 dark violet, 1 yellow."""
    at = np.clip(share, 0, 1) * (len(_VIRIDIS) - 1)
    steps = np.arange(len(_VIRIDIS))
    return np.stack([np.interp(at, steps, channel) for channel in _VIRIDIS.T], -1).round().astype(np.uint8)
