"""Geometry-true augmentation: crop and resize with the camera, colour without it.

Choices
- The picture is resized isotropically until it covers the target, then cropped about its principal point, so that the
  network's assumption (principal point in the middle) holds and fx / fy never changes.
- Pixel centres are integers: u' = (u + 0.5) s - 0.5 - left, which is what an area resize of the picture does. K follows
  exactly.
- Depth, masks and flow are taken from the nearest source pixel: averages of depth are points in mid-air.
- Colour changes are drawn once per clip or per frame (training_recipe section 1.2); geometry never differs within one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from openmore.data.sample import Sample
from openmore.errors import ConfigError

Random = np.random.Generator
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True)
class ColourJitter:
    """How far colours may stray; factors are drawn from 1 +- the number."""

    probability: float = 0.9  # that a clip (or frame) is touched at all
    per_clip: float = 0.3  # probability of one draw for all frames of a clip; 0.7 suits streaming
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.1  # turns of the colour circle, up to +- this
    grey: float = 0.05  # probability of losing all colour


def draw_shape(
    rng: Random,
    native: tuple[int, int],
    long_side: int = 518,
    patch: int = 14,
    short_scale: tuple[float, float] = (0.8, 1.2),
) -> tuple[int, int]:
    """(H, W) on the patch grid: the long side fixed, the short side the native one times U(short_scale).

    Raises ConfigError when the long side is not a whole number of patches.
    """
    if long_side % patch or long_side <= 0:
        raise ConfigError(f"long side {long_side} is not a multiple of the patch size {patch}")
    height, width = native
    ratio = min(height, width) / max(height, width) * rng.uniform(*short_scale)
    short = int(np.clip(round(long_side * ratio / patch) * patch, min(10 * patch, long_side), long_side))
    return (short, long_side) if width >= height else (long_side, short)


def resize_and_crop(sample: Sample, shape: tuple[int, int]) -> Sample:
    """The clip at `shape` = (H, W): isotropic resize to cover, crop about the principal point, everything along.

    All frames share one crop; when their intrinsics differ it is centred on the mean principal point.
    """
    scale = cover_scale(sample, shape)
    resized = np.ceil(np.array(sample.shape) * scale - 1e-6).astype(int)  # (H, W) of the resized picture
    exact = resized / np.array(sample.shape)  # whole pixels: the axes may differ by less than one pixel in all
    centre = (sample.K[:, [1, 0], 2].mean(0) + 0.5) * exact
    corner = np.clip(np.rint(centre - np.array(shape) / 2).astype(int), 0, resized - np.array(shape))
    rows = _nearest(corner[0], shape[0], exact[0], sample.shape[0])
    columns = _nearest(corner[1], shape[1], exact[1], sample.shape[1])
    nearest = {k: v[..., rows[:, None], columns] for k, v in sample.arrays().items() if k in _DENSE}
    for key in ("flow_forward", "flow_backward"):
        if key in nearest:
            nearest[key] = nearest[key] * exact[[1, 0]].astype(np.float32)[:, None, None]
    return replace(
        sample,
        images=_resize_images(sample.images, resized, corner, shape),
        K=_follow(sample.K, exact, corner),
        **nearest,
    )


_DENSE = ("depth", "motion", "flow_forward", "flow_backward", "instances", "valid", "sky")


def cover_scale(sample: Sample, shape: tuple[int, int]) -> float:
    """The smallest resize after which a crop of `shape` about the principal point lies inside the picture."""
    size = np.array(sample.shape, dtype=np.float64)
    centre = np.clip(
        sample.K[:, [1, 0], 2].mean(0) + 0.5, 0.25 * size, 0.75 * size
    )  # beyond that the crop is not centred
    return float((np.array(shape) / 2 / np.minimum(centre, size - centre)).max())


def _nearest(first: int, count: int, scale: float, size: int) -> np.ndarray:
    """Source rows (or columns) of the target's `count` rows."""
    return np.clip(np.rint((np.arange(first, first + count) + 0.5) / scale - 0.5).astype(int), 0, size - 1)


def _follow(K: np.ndarray, scale: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Intrinsics [S, 3, 3] after resizing by `scale` (rows, columns) and cropping at `corner` (row, column)."""
    out = K.copy()
    for axis, (s, first) in enumerate(((scale[1], corner[1]), (scale[0], corner[0]))):
        out[:, axis] *= s
        out[:, axis, 2] += 0.5 * s - 0.5 - first
    return out


def _resize_images(images: np.ndarray, resized: np.ndarray, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    import cv2

    height, width = int(resized[0]), int(resized[1])
    method = cv2.INTER_AREA if height < images.shape[1] else cv2.INTER_CUBIC
    top, left = corner
    return np.stack(
        [
            cv2.resize(i, (width, height), interpolation=method)[top : top + shape[0], left : left + shape[1]]
            for i in images
        ]
    )


def jitter_colours(sample: Sample, rng: Random, jitter: ColourJitter | None = None) -> Sample:
    """The clip in other light: brightness, contrast, saturation, hue, sometimes grey."""
    jitter = jitter or ColourJitter()
    together = rng.random() < jitter.per_clip
    images = np.empty_like(sample.images)
    change = _draw_colours(rng, jitter)
    for s, image in enumerate(sample.images):
        if s and not together:
            change = _draw_colours(rng, jitter)
        images[s] = image if change is None else _recolour(image, *change)
    return replace(sample, images=images)


def _draw_colours(rng: Random, jitter: ColourJitter) -> tuple[np.ndarray, float, float] | None:
    """A 3x3 colour matrix, a contrast and a brightness; None leaves the picture alone."""
    coin, brightness, contrast, saturation, hue, grey = rng.random(6)  # always as many: later draws do not shift
    if coin >= jitter.probability:
        return None
    brightness, contrast, saturation = (
        1 + spread * (2 * draw - 1)
        for spread, draw in zip(
            (jitter.brightness, jitter.contrast, jitter.saturation), (brightness, contrast, saturation)
        )
    )
    if grey < jitter.grey:
        saturation = 0.0
    angle = 2 * np.pi * jitter.hue * (2 * hue - 1)
    turn = np.eye(3)
    turn[1:, 1:] = saturation * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.linalg.inv(_YIQ) @ turn @ _YIQ, contrast, brightness


def _recolour(image: np.ndarray, matrix: np.ndarray, contrast: float, brightness: float) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8: colour matrix, contrast about the mean grey, brightness."""
    values = image.astype(np.float32) @ matrix.T.astype(np.float32)
    mean = float((values @ _LUMA).mean())
    values = ((values - mean) * contrast + mean) * brightness
    return np.rint(values.clip(0, 255)).astype(np.uint8)
