"""Regions of a picture that move or rest as one: the S_k of the supplement.

Choices
- A segmenter answers with a label map [H, W] int32: 0..K-1, and -1 where it has no region.
- `Superpixels` (scikit-image) needs no weights: many small regions whose edges follow colour. Felzenszwalb's regions
  adapt their size to the texture, SLIC's are even.
- `ResidualRegions` needs nothing at all: it cuts the picture where the residual steps over the noise floor.
- `InstanceIds` are true object masks (synthetic world); SAM2 is in `sam2.py`.
- Segmenters may look at the residual; those that do not are the paper's.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

from openmore.errors import ConfigError, InputError, MissingExtra

NAMES = ("residual", "felzenszwalb", "slic", "sam2-tiny", "sam2-small", "sam2-base-plus", "sam2-large")


class Segmenter(Protocol):
    """A way to cut pictures into regions."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def __call__(self, image: np.ndarray, frame: int, residual: np.ndarray, floor: float) -> np.ndarray:
        """Regions of `image` [H, W, 3] uint8 RGB, frame number `frame`, as labels [H, W] int32, -1 = none.

        residual: [H, W] float32, pixels, NaN where unknown; floor: pixels below which nothing moves.
        """
        ...


class Superpixels:
    """Felzenszwalb or SLIC regions; `size` is about the side of the smallest region in pixels at 518 px width."""

    def __init__(self, method: Literal["felzenszwalb", "slic"] = "felzenszwalb", size: float = 8.0):
        if method not in ("felzenszwalb", "slic"):
            raise ConfigError(f"superpixel method {method!r} is unknown: choose felzenszwalb or slic")
        self.method, self.size = method, size

    @property
    def name(self) -> str:
        return self.method

    def __call__(self, image: np.ndarray, frame: int, residual: np.ndarray, floor: float) -> np.ndarray:
        try:
            from skimage import segmentation
        except ImportError as error:
            raise MissingExtra("scikit-image", "masks", f"segments {self.method}") from error
        side = max(self.size * image.shape[1] / 518, 3.0)
        if self.method == "felzenszwalb":
            labels = segmentation.felzenszwalb(image, scale=side * side, sigma=0.8, min_size=int(side * side))
        else:
            # compactness 20 and free-standing pieces: lower values merge a low-contrast picture into a few regions
            count = max(int(image.shape[0] * image.shape[1] / (4 * side * side)), 1)
            labels = segmentation.slic(image, count, compactness=20.0, start_label=0, channel_axis=-1)
        return labels.astype(np.int32)


class ResidualRegions:
    """Connected pixels above or below the noise floor, after smoothing; tiny islands join their surroundings."""

    name = "residual"

    def __init__(self, smallest: float = 12.0):
        self.smallest = smallest  # side in pixels of the smallest island at 518 px width

    def __call__(self, image: np.ndarray, frame: int, residual: np.ndarray, floor: float) -> np.ndarray:
        import cv2

        side = max(self.smallest * image.shape[1] / 518, 3.0)
        filled = np.nan_to_num(residual, nan=0.0).astype(np.float32)
        high = (cv2.medianBlur(np.clip(filled, 0, 1e4), 5) > floor).astype(np.uint8)
        high = without_islands(without_islands(high, side * side), side * side, of=0)
        regions, labels = cv2.connectedComponents(high, connectivity=4)
        _, rest = cv2.connectedComponents(1 - high, connectivity=4)
        return np.where(high > 0, labels - 1, regions - 1 + rest - 1).astype(np.int32)


def without_islands(mask: np.ndarray, smallest: float, of: int = 1) -> np.ndarray:
    """A 0/1 uint8 mask [H, W] whose connected pieces of value `of` below `smallest` pixels are flipped."""
    import cv2

    _, pieces, stats, _ = cv2.connectedComponentsWithStats((mask == of).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < smallest
    small[0] = False  # the other value
    return np.where(small[pieces], 1 - of, mask).astype(np.uint8)


def split_mixed(labels: np.ndarray, residual: np.ndarray, floor: float, smallest: float) -> np.ndarray:
    """Cut the part that differs out of regions: a person stands and waves, a dark car drives past a dark wood.

    Pixels of `labels` [H, W] on the other side of `floor` than their region's majority (residual [H, W], pixels) become
    regions of their own where they hang together on at least `smallest` squared pixels at 518 px width; such a part may
    span several regions, because an object does.
    """
    import cv2

    inside, judged, above = labels >= 0, ~np.isnan(residual), residual > floor
    count = int(labels.max(initial=-1)) + 1
    high = np.bincount(labels[inside], above[inside], minlength=count)
    total = np.bincount(labels[inside], judged[inside], minlength=count)
    moving = inside & (high > total / 2)[labels]
    out = labels.copy()
    for differs in (inside & ~moving & above, moving & judged & ~above):
        _, parts, stats, _ = cv2.connectedComponentsWithStats(differs.astype(np.uint8), connectivity=4)
        large = stats[:, cv2.CC_STAT_AREA] >= (smallest * labels.shape[1] / 518) ** 2
        large[0] = False  # pixels that agree with their region
        renumbered = np.take(np.where(large, count + np.cumsum(large) - 1, -1), parts.astype(np.int64))
        out = np.where(renumbered >= 0, renumbered, out)
        count += int(large.sum())
    return out.astype(np.int32)


class InstanceIds:
    """True object ids [S, H, W] int: region 0 is whatever has the smallest id."""

    name = "instances"

    def __init__(self, instances: np.ndarray):
        self.instances = instances

    def __call__(self, image: np.ndarray, frame: int, residual: np.ndarray, floor: float) -> np.ndarray:
        if frame >= len(self.instances) or self.instances.shape[1:] != image.shape[:2]:
            given = list(self.instances.shape)
            raise InputError(
                f"instance ids {given} have no frame {frame} of {list(image.shape[:2])}: give one per frame"
            )
        _, labels = np.unique(self.instances[frame], return_inverse=True)
        return labels.reshape(image.shape[:2]).astype(np.int32)


def require_name(name: str) -> None:
    """Raise ConfigError listing the names unless `name` is one of them, with or without a folder of weights."""
    kind, _, weights = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind not in NAMES or (weights and not kind.startswith("sam2")):
        raise ConfigError(f"segmenter {name!r} is unknown: choose one of {', '.join(NAMES)} (sam2-tiny:FOLDER)")


def get_segmenter(name: str, **options: Any) -> Segmenter:
    """The segmenter called `name`. "sam2-tiny:PATH" loads weights from a folder. Raises ConfigError listing names."""
    require_name(name)
    kind, _, weights = name.partition(":")
    if kind == "residual":
        return ResidualRegions(**options)
    if kind in ("felzenszwalb", "slic"):
        return Superpixels(kind, **options)  # type: ignore[arg-type]
    from openmore.masks.sam2 import SAM2Segmenter

    return SAM2Segmenter.from_pretrained(kind.removeprefix("sam2-"), weights or None, **options)
