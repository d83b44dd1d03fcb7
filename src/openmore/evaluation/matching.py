"""Point matches between frames, from SIFT: the network-free witness that baselines and epipolar errors rest on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.errors import InputError

RATIO = 0.8  # Lowe's test
MAX_FEATURES = 2000


@dataclass(frozen=True)
class Features:
    """Key points of one frame."""

    uv: np.ndarray  # [P, 2] float64 pixels, integer centres
    descriptors: np.ndarray  # [P, 128] float32


def features_of(image: np.ndarray, count: int = MAX_FEATURES) -> Features:
    """SIFT features of a picture [H, W, 3] uint8 RGB; P may be 0."""
    import cv2

    if image.dtype != np.uint8 or image.ndim != 3:
        raise InputError(f"SIFT got a picture {image.dtype} {list(image.shape)}: expected uint8 [H, W, 3]")
    keys, descriptors = cv2.SIFT.create(count).detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    if not keys:
        return Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32))
    return Features(np.array([key.pt for key in keys], dtype=np.float64), descriptors)


def match(a: Features, b: Features, ratio: float = RATIO) -> np.ndarray:
    """Index pairs [M, 2] that pass the ratio test and choose each other."""
    if len(a.uv) < 2 or len(b.uv) < 2:
        return np.zeros((0, 2), int)
    similarity = a.descriptors @ b.descriptors.T
    # SIFT descriptors have nearly equal length, but only nearly.
    squared = (a.descriptors**2).sum(1)[:, None] + (b.descriptors**2).sum(1) - 2 * similarity
    best_two = np.argpartition(squared, 1, axis=1)[:, :2]
    distances = np.take_along_axis(squared, best_two, 1)
    nearest = np.where(distances[:, 0] <= distances[:, 1], best_two[:, 0], best_two[:, 1])
    rows = np.arange(len(a.uv))
    distinct = distances.min(1) < ratio**2 * distances.max(1)
    mutual = squared.argmin(0)[nearest] == rows
    keep = distinct & mutual
    return np.column_stack((rows[keep], nearest[keep]))


@dataclass(frozen=True)
class Matches:
    """Matched pixels of two frames."""

    a: int  # frame
    b: int  # frame
    uv_a: np.ndarray  # [M, 2]
    uv_b: np.ndarray  # [M, 2]


def consecutive_matches(images: np.ndarray, gap: int = 1) -> list[Matches]:
    """Matches of every frame with the one `gap` later; images [S, H, W, 3] uint8."""
    features = [features_of(image) for image in images]
    found = []
    for a in range(len(images) - gap):
        pairs = match(features[a], features[a + gap])
        found.append(Matches(a, a + gap, features[a].uv[pairs[:, 0]], features[a + gap].uv[pairs[:, 1]]))
    return found
