from __future__ import annotations

import cv2
import numpy as np
import pytest

from openmore.masks.clip import MaskClip

SHAPE, FRAMES = (96, 128), 5


def texture(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Smooth random colours, uint8 [H, W, 3]."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(*shape, 3)).astype(np.float32), (0, 0), 1.5)
    return np.clip(128 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)


def moving_square(pan: int = 0, step: int = 5, size: int = 30) -> tuple[MaskClip, np.ndarray]:
    """A panning camera looks at a wall that a square slides along: the clip and its truth [S, H, W] bool."""
    height, width = SHAPE
    wall, square = texture((height, width + pan * FRAMES + 1), 0), texture((size, size), 1)
    images, truth = [], []
    for t in range(FRAMES):
        image, mask = wall[:, pan * t : pan * t + width].copy(), np.zeros(SHAPE, bool)
        left = 30 + (step - pan) * t
        if step:
            image[30 : 30 + size, left : left + size], mask[30 : 30 + size, left : left + size] = square, True
        images.append(image)
        truth.append(mask)
    return MaskClip(np.stack(images), "square"), np.stack(truth)


@pytest.fixture(scope="session")
def fixed_camera() -> tuple[MaskClip, np.ndarray]:
    return moving_square()


@pytest.fixture(scope="session")
def panning_camera() -> tuple[MaskClip, np.ndarray]:
    return moving_square(pan=3)
