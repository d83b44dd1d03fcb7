"""What neighbouring frames show where a pixel must be if it stands still: cameras and depth alone, no flow.

Choices
- Flow loses what is small and fast, and then says nothing. A picture taken for another one's from its depth says at
  once what does not belong there: movers, what they uncover, and depth that is wrong.
- Differences are given as they are, colour by colour; what they mean beside the outlines is for a network to say.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from openmore.refinement.dense.flow_window import inside, landing

OFFSETS = (1, -1, 3, -3)  # frames
COLOURS = ("red", "green", "blue")
CHANNELS = tuple(f"{what}{offset:+d}" for offset in OFFSETS for what in (*COLOURS, "shown"))


def appearance(
    image: np.ndarray,
    other: Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray] | None],
    K: np.ndarray,
    inverse: np.ndarray,
) -> np.ndarray:
    """[len(CHANNELS), H, W] float32: per offset the neighbour's colours less the frame's own, in -2..2, and 1 where
    there are any.

    `image` [H, W, 3] uint8 with `K` [3, 3] and inverse depth [H, W]; `other(offset)` is the neighbour's image, its K
    and other_from_cam [4, 4], or None where there is no such frame.
    """
    found = np.zeros((len(CHANNELS), *inverse.shape), np.float32)
    for i, offset in enumerate(OFFSETS):
        neighbour = other(offset)
        if neighbour is not None:
            found[4 * i : 4 * i + 4] = _difference(image, *neighbour, K, inverse)
    return found


def _difference(
    image: np.ndarray, other: np.ndarray, K_other: np.ndarray, other_from_cam: np.ndarray, K: np.ndarray,
    inverse: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """[4, H, W] for one neighbour."""
    import cv2

    at = landing(K, K_other, other_from_cam, inverse)
    shown = inside(at, inverse.shape)
    x, y = np.nan_to_num(at, nan=-1.0).astype(np.float32)
    there = cv2.remap(other, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
    off = (there.astype(np.float32) - image) / 127.5
    return np.concatenate((np.where(shown[..., None], off, 0).transpose(2, 0, 1), shown[None])).astype(np.float32)
