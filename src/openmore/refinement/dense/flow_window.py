"""Dense flow between frames of a window, with the known turn of the camera undone first.

Choices
- The other picture is warped by the homography of the cameras' rotation before flow is estimated: what remains is
  parallax and movers, so wide steps and fast turns cost no accuracy.
- Each pair is computed once, both ways; flow older than the widest step is dropped. Memory does not grow with the clip.
- Pairs whose pictures hardly overlap have no flow; nor has what belongs to the screen, or lands there.
- Several frames may ask at a time, from threads of their own: the first to ask for a pair computes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from openmore.flow.base import FlowEstimator

LEAST_OVERLAP = 0.3  # of the picture


class FlowWindow:
    """Where the pixels of frame a are in frame b, for frames not too far apart.

    `picture(s)` is uint8 [H, W, 3]; K [S, 3, 3] in its pixels; world_from_cam [S, 4, 4]; `screen` [H, W] bool as
    `on_screen` finds it.
    """

    def __init__(
        self, picture: Callable[[int], np.ndarray], K: np.ndarray, world_from_cam: np.ndarray, flow: FlowEstimator,
        screen: np.ndarray | None = None,
    ):  # fmt: skip
        self._screen = None if screen is None else screen.astype(np.float32)
        self.K, self.world_from_cam, self._picture, self._flow = K, world_from_cam, picture, flow
        self._pictures: dict[int, np.ndarray] = {}
        self._pairs: dict[tuple[int, int], _Pair] = {}
        self._lock = threading.Lock()  # of the two dictionaries

    def picture(self, s: int) -> np.ndarray:
        """Frame s [H, W, 3] uint8."""
        with self._lock:
            if s not in self._pictures:
                self._pictures[s] = self._picture(s)
            return self._pictures[s]

    def b_from_a(self, a: int, b: int) -> np.ndarray:
        """[4, 4], camera b from camera a."""
        return np.linalg.inv(self.world_from_cam[b]) @ self.world_from_cam[a]

    def seen(self, a: int, b: int) -> np.ndarray | None:
        """[3, H, W] float32: the pixel of frame b that shows each pixel of frame a, and the confidence 0..1.

        None when the two pictures hardly overlap.
        """
        first, second = min(a, b), max(a, b)
        with self._lock:
            pair = self._pairs.setdefault((first, second), _Pair())
        with pair.lock:
            if not pair.computed:
                pair.both, pair.computed = self._compute(first, second), True
        return None if pair.both is None else pair.both[a > b]

    def look_again(self, a: int, b: int, inverse: np.ndarray) -> np.ndarray:
        """`seen` [3, H, W] once more, with the motion that inverse depth [h, w] of frame a predicts undone first."""
        import cv2

        image_a, image_b = self.picture(a), self.picture(b)
        height, width = image_a.shape[:2]
        v, u = np.mgrid[:height, :width].astype(np.float32)
        full = cv2.resize(inverse, (width, height), interpolation=cv2.INTER_LINEAR)
        expected = landing(self.K[a], self.K[b], self.b_from_a(a, b), full)
        at = np.nan_to_num(expected, nan=-1.0).astype(np.float32)
        undone = cv2.remap(image_b, at[0], at[1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
        there, _ = self._flow.both(image_a, undone)
        x, y = u + there.flow[0], v + there.flow[1]
        beyond = np.stack([cv2.remap(f, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE) for f in at])
        usable = inside(expected, (height, width)) & inside(np.stack((x, y)), (height, width))
        return self._told(beyond, np.where(usable, there.confidence, 0))

    def forget(self, before: int) -> None:
        """Drop what only frames before `before` need."""
        with self._lock:
            self._pairs = {pair: value for pair, value in self._pairs.items() if pair[1] >= before}
            self._pictures = {s: value for s, value in self._pictures.items() if s >= before}

    def _compute(self, a: int, b: int) -> tuple[np.ndarray, np.ndarray] | None:
        import cv2

        image_a, image_b = self.picture(a), self.picture(b)
        height, width = image_a.shape[:2]
        H = self.K[b] @ self.b_from_a(a, b)[:3, :3] @ np.linalg.inv(self.K[a])
        v, u = np.mgrid[:height, :width].astype(np.float32)
        if inside(mapped(H, u, v), (height, width)).mean() < LEAST_OVERLAP:
            return None
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        turned = cv2.warpPerspective(image_b, H, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)
        there, back = self._flow.both(image_a, turned)
        forward = mapped(H, u + there.flow[0], v + there.flow[1])
        here = mapped(np.linalg.inv(H), u, v)
        x, y = (np.nan_to_num(c, nan=-1.0) for c in here)
        fields = [
            cv2.remap(f, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE) for f in (*back.flow, back.confidence)
        ]
        backward = np.stack((here[0] + fields[0], here[1] + fields[1]))
        usable = inside(here, (height, width))
        return self._told(forward, there.confidence), self._told(backward, np.where(usable, fields[2], 0))

    def _told(self, pixels: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """[3, H, W]: pixels, and how surely; not at all outside the picture and on the screen."""
        import cv2

        sure = np.where(inside(pixels, confidence.shape), confidence, 0)
        pixels = np.nan_to_num(pixels, nan=0.0).astype(np.float32)
        if self._screen is not None:
            there = cv2.remap(self._screen, pixels[0], pixels[1], cv2.INTER_LINEAR)
            sure = np.where((self._screen > 0) | (there > 0), 0, sure)
        return np.concatenate((pixels, sure[None])).astype(np.float32)


class _Pair:
    """What two frames see of each other, once somebody has asked."""

    def __init__(self) -> None:
        self.lock, self.computed = threading.Lock(), False
        self.both: tuple[np.ndarray, np.ndarray] | None = None


def mapped(H: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Pixels [2, H, W] float32 under a homography [3, 3]; NaN behind the camera."""
    z = H[2, 0] * u + H[2, 1] * v + H[2, 2]
    z = np.where(z > 1e-6, z, np.nan)
    return np.stack([(row[0] * u + row[1] * v + row[2]) / z for row in H[:2]]).astype(np.float32)


def landing(K_a: np.ndarray, K_b: np.ndarray, b_from_a: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Pixels [2, H, W] of picture b where the pixels of a are that have inverse depth [H, W]; NaN behind the camera."""
    return seen_from(K_a, K_b, b_from_a, inverse)[0]


def seen_from(
    K_a: np.ndarray, K_b: np.ndarray, b_from_a: np.ndarray, inverse: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`landing`, and how much deeper than in a each pixel [H, W] lies in b: z over z, below zero behind the camera."""
    v, u = np.mgrid[: inverse.shape[0], : inverse.shape[1]].astype(np.float32)
    at_infinity = K_b @ b_from_a[:3, :3] @ np.linalg.inv(K_a)
    x, y, z = (row[0] * u + row[1] * v + row[2] + e * inverse for row, e in zip(at_infinity, K_b @ b_from_a[:3, 3]))
    return np.stack((x, y)) / np.where(z > 1e-3, z, np.nan), z


def inside(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which of the pixels [2, H, W] lie in a picture of `shape`."""
    x, y = pixels
    return (x >= 0) & (x <= shape[1] - 1) & (y >= 0) & (y <= shape[0] - 1)
