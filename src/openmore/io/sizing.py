"""From the frame's shape to the model's shape and back: pictures in, intrinsics and depth out.

Choices
- "fit" (default): the long side becomes the target, the other follows the aspect ratio; both are rounded to the patch
  grid and the whole picture is kept, so the two axes may be scaled a little differently.
- "crop" and "pad" are the published preprocessing (architecture, 1.11): width 518 and centre-cropped height, or the
  long side 518 and white borders up to a square.
- Pillow's bicubic resize, as the published weights were trained with. `K` scales by the ratio of the sizes, without a
  half pixel (docs/conventions.md).
- Dense maps go back by nearest neighbour: averaging across a depth edge would invent surfaces.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from openmore.errors import ConfigError, InputError

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

Shape = tuple[int, int]  # (height, width), pixels
Mode = Literal["fit", "crop", "pad"]
PUBLISHED_SIDE, PATCH = 518, 14


@dataclass(frozen=True)
class Sizing:
    """How frames of one shape enter the model: resize to `resized_shape`, then look through the model's window."""

    original_shape: Shape
    resized_shape: Shape  # the whole picture after the resize
    model_shape: Shape  # what the model sees, multiples of the patch
    offset: tuple[int, int] = (0, 0)  # (top, left) of the model's window in the resized picture; negative when padded

    @classmethod
    def fit(cls, original_shape: Shape, long_side: int = PUBLISHED_SIDE, patch: int = PATCH) -> Sizing:
        """The whole picture, its long side as near to `long_side` as the patch grid allows."""
        target = _to_grid(_check(long_side, patch), patch)
        longest = max(original_shape)
        height, width = (
            target if side == longest else _to_grid(side * target / longest, patch) for side in original_shape
        )
        return cls(original_shape, (height, width), (height, width))

    @classmethod
    def crop(cls, original_shape: Shape, width: int = PUBLISHED_SIDE, patch: int = PATCH) -> Sizing:
        """Width `width`, aspect ratio kept; a height above `width` is cropped around the centre."""
        side = _to_grid(_check(width, patch), patch)
        height = _to_grid(original_shape[0] * side / original_shape[1], patch)
        return cls(original_shape, (height, side), (min(height, side), side), (max(height - side, 0) // 2, 0))

    @classmethod
    def pad(cls, original_shape: Shape, side: int = PUBLISHED_SIDE, patch: int = PATCH) -> Sizing:
        """The whole picture in the middle of a white square; an odd pixel of border goes to the bottom or right."""
        resized = cls.fit(original_shape, side, patch).resized_shape
        square = max(resized)
        return cls(
            original_shape, resized, (square, square), (-((square - resized[0]) // 2), -((square - resized[1]) // 2))
        )

    @classmethod
    def of(cls, mode: Mode, original_shape: Shape, side: int = PUBLISHED_SIDE, patch: int = PATCH) -> Sizing:
        """The sizing called `mode`. Raises ConfigError for another name."""
        makers = {"fit": cls.fit, "crop": cls.crop, "pad": cls.pad}
        if mode not in makers:
            raise ConfigError(f"sizing {mode!r} is unknown: choose fit, crop or pad")
        return makers[mode](original_shape, side, patch)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8 (any resolution of the whole picture) -> [h, w, 3] uint8, white where padded."""
        height, width = self.resized_shape
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        return self._through_window(resized, fill=255)

    def K_to_model(self, K: np.ndarray) -> np.ndarray:
        """Intrinsics [..., 3, 3] of the original frame -> of the model's picture."""
        return self._model_from_original() @ K

    def K_to_original(self, K: np.ndarray) -> np.ndarray:
        """Intrinsics [..., 3, 3] of the model's picture -> of the original frame."""
        return np.linalg.inv(self._model_from_original()) @ K

    def depth_to_original(self, depth: np.ndarray) -> np.ndarray:
        """[..., h, w] (depth, mask, any dtype) -> [..., H, W]; 0 where the model saw nothing (cropped away)."""
        (top, left), (h, w), (H, W) = self.offset, self.resized_shape, self.original_shape
        full = np.zeros((*depth.shape[:-2], h, w), depth.dtype)
        rows, columns = _overlap(top, self.model_shape[0], h), _overlap(left, self.model_shape[1], w)
        inside = depth[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        full[..., rows, columns] = inside
        return full[..., _nearest(H, h)[:, None], _nearest(W, w)]

    def _model_from_original(self) -> np.ndarray:
        (h, w), (H, W), (top, left) = self.resized_shape, self.original_shape, self.offset
        return np.array([[w / W, 0, -left], [0, h / H, -top], [0, 0, 1.0]])

    def _through_window(self, resized: np.ndarray, fill: int) -> np.ndarray:
        (top, left), (h, w) = self.offset, self.model_shape
        rows, columns = _overlap(top, h, resized.shape[0]), _overlap(left, w, resized.shape[1])
        out = np.full((h, w, *resized.shape[2:]), fill, resized.dtype)
        out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = resized[rows, columns]
        return out


def load_images(
    paths: Sequence[str | Path], mode: Mode = "crop", side: int = PUBLISHED_SIDE, patch: int = PATCH
) -> Tensor:
    """Pictures -> images [N, 3, h, w] float32 in 0..1, preprocessed as the published models expect.

    Shapes that still differ after sizing are centred on white up to the largest, with a warning. Raises InputError for
    a picture that is missing or damaged.
    """
    import torch

    from openmore.io.images import read_image
    from openmore.io.source import DamagedFrame, missing_path

    pictures = []
    for path in map(Path, paths):
        if not path.exists():
            raise missing_path(path)
        try:
            image, shape = read_image(path)
        except DamagedFrame as error:
            raise InputError(f"{error}: replace the file") from error
        pictures.append(Sizing.of(mode, shape, side, patch).apply(image))
    batch = np.stack(_to_one_shape(pictures))
    return torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().float() / 255


def _to_one_shape(pictures: list[np.ndarray]) -> list[np.ndarray]:
    if not pictures:
        raise InputError("the list of pictures is empty: give at least one path")
    shapes = {picture.shape[:2] for picture in pictures}
    if len(shapes) == 1:
        return pictures
    height, width = (max(sides) for sides in zip(*shapes))
    log.warning("pictures of %d shapes are centred on white to %dx%d", len(shapes), width, height)
    return [_centre_on_white(picture, (height, width)) for picture in pictures]


def _centre_on_white(picture: np.ndarray, shape: Shape) -> np.ndarray:
    h, w = picture.shape[:2]
    offset = (-((shape[0] - h) // 2), -((shape[1] - w) // 2))
    return Sizing((h, w), (h, w), shape, offset)._through_window(picture, fill=255)


def _check(side: int, patch: int) -> int:
    if side < patch:
        raise ConfigError(f"a picture of {side} pixels is smaller than one patch: give {patch} or more")
    return side


def _to_grid(side: float, patch: int) -> int:
    return max(round(side / patch), 1) * patch


def _overlap(start: int, length: int, available: int) -> slice:
    return slice(max(start, 0), min(start + length, available))


def _nearest(count: int, available: int) -> np.ndarray:
    """For each of `count` pixels, the one of `available` whose area holds its middle."""
    return ((np.arange(count) + 0.5) * available / count).astype(int)
