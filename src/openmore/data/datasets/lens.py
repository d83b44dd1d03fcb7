"""Lens distortion: which models there are, and pictures without it.

Choices
- Coefficients are OpenCV's (k1 k2 p1 p2 [k3 ...]); fisheye models are refused, because a pinhole cannot hold them.
- Undistorted pictures keep K and size; depth and labels are moved by nearest neighbour.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from openmore.data.datasets.base import Pixels

NEGLIGIBLE = 1e-6


def undistort(pixels: Pixels, K: np.ndarray, coefficients: tuple[float, ...]) -> Pixels:
    """The frame as a pinhole with the same K [3, 3] (integer pixel centres) would have seen it."""
    if np.abs(coefficients).max(initial=0) < NEGLIGIBLE:
        return pixels
    import cv2

    shape = (pixels.image.shape[0], pixels.image.shape[1])
    maps = _maps(tuple(K.ravel().tolist()), tuple(coefficients), shape)

    def nearest(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else cv2.remap(values, *maps, interpolation=cv2.INTER_NEAREST)

    image = cv2.remap(pixels.image, *maps, interpolation=cv2.INTER_LINEAR)
    depth, motion = nearest(pixels.depth), nearest(pixels.motion)
    return replace(pixels, image=image, depth=depth, motion=motion)


@lru_cache(maxsize=8)
def _maps(
    K: tuple[float, ...], coefficients: tuple[float, ...], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    import cv2

    matrix = np.array(K).reshape(3, 3)
    size = (shape[1], shape[0])
    map_x, map_y = cv2.initUndistortRectifyMap(matrix, np.array(coefficients), np.eye(3), matrix, size, cv2.CV_32FC1)
    return map_x, map_y
