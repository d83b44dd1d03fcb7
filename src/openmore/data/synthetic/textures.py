"""A bank of tileable textures with mip levels, sampled by one gather per pixel.

Choices
- Pictures, not formulas per pixel: any pattern (or photograph) costs the same few taps, on CPU and GPU alike.
- All levels of all textures lie in one table [rows, 4]; `embedding_bag` with weights is then the whole filter:
  trilinear for the first layer, bilinear for the second, in one kernel.
- Level = exponent of the footprint, read from the float's bits: no logarithm, the same bits on every machine.
- Half precision: the bank is read far more often than written, and 8-bit cameras cannot see the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openmore.data.synthetic.patterns import pattern
from openmore.errors import InputError

SIZE = 256  # texels per side of level 0
LEVELS = 8  # 256, 128, ..., 2
_STARTS = np.concatenate(([0], np.cumsum([(SIZE >> level) ** 2 for level in range(LEVELS)])))
ROWS = int(_STARTS[-1])  # table rows per texture
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class TextureBank:
    """Textures ready to be sampled on one device."""

    table: Tensor  # [count * ROWS, 4] float16, RGB and one unused channel (aligned rows gather faster)
    starts: Tensor  # [LEVELS] int64, first row of each level inside a texture

    @property
    def count(self) -> int:
        return self.table.shape[0] // ROWS

    def taps(self, texture: Tensor, u: Tensor, v: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and weights of a bilinear lookup.

        Args:
            texture: number of the texture, int64, any shape.
            u, v: position in tiles (period 1), float32, the same shape.
            level: int64 in 0..LEVELS-1, the same shape.

        Returns:
            rows int64 and weights float32, both [4, *shape].
        """
        size = SIZE >> level
        x, y = u * size, v * size
        x0, y0 = x.floor(), y.floor()
        fx, fy = x - x0, y - y0
        mask = size - 1
        x0, y0 = x0.long() & mask, y0.long() & mask
        x1, y1 = (x0 + 1) & mask, (y0 + 1) & mask
        base = texture * ROWS + self.starts[level]
        top, bottom = base + y0 * size, base + y1 * size
        gx, gy = 1 - fx, 1 - fy
        rows = torch.stack((top + x0, top + x1, bottom + x0, bottom + x1))
        return rows, torch.stack((gx * gy, fx * gy, gx * fy, fx * fy))

    def lookup(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of table rows: rows and weights [taps, P] -> colours [3, P] float32."""
        bag = torch.nn.functional.embedding_bag(
            rows.T.contiguous(), self.table, per_sample_weights=weights.T.to(self.table.dtype), mode="sum"
        )
        return bag[:, :3].T.float()


def level_of(footprint: Tensor) -> tuple[Tensor, Tensor]:
    """Texels per pixel -> (level int64 in 0..LEVELS-2, blend towards the next level in 0..1).

    The blend is the mantissa: linear between powers of two instead of logarithmic, continuous all the same.
    """
    bits = footprint.clamp(1.0, float(1 << (LEVELS - 1)) * 0.999).view(torch.int32)
    level = ((bits >> 23) - 127).long()
    blend = (bits & 0x7FFFFF).to(torch.float32) * (1.0 / (1 << 23))
    return level, blend


def build_bank(pictures: list[np.ndarray], device: torch.device | str) -> TextureBank:
    """Pictures [SIZE, SIZE, 3] float32 in 0..1 -> bank. Levels are 2x2 means in linear light (squares)."""
    table = np.zeros((len(pictures) * ROWS, 4), np.float16)
    for k, picture in enumerate(pictures):
        level = picture
        for start in _STARTS[:-1]:
            table[k * ROWS + start : k * ROWS + start + level.size // 3, :3] = level.reshape(-1, 3)
            square = level * level
            square = square[0::2] + square[1::2]
            level = np.sqrt((square[:, 0::2] + square[:, 1::2]) / 4)
    return TextureBank(torch.from_numpy(table).to(device), torch.from_numpy(_STARTS[:-1].copy()).to(device))


@lru_cache(maxsize=4)
def procedural_bank(count: int = 104, seed: int = 0, device: str = "cpu") -> TextureBank:
    """The default bank; about two seconds to make, once per process and device."""
    return build_bank([pattern(number, SIZE, seed) for number in range(count)], device)


@lru_cache(maxsize=4)
def photo_bank(folder: str, device: str = "cpu", limit: int = 256) -> TextureBank:
    """Photographs of a folder (first `limit` by name), mirrored so that they tile.

    Raises InputError when the folder is missing, holds no picture, or a picture cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"textures {folder}: not a folder; give a folder of pictures ({', '.join(PHOTO_SUFFIXES)})")
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)[:limit]
    if not paths:
        raise InputError(f"textures {folder}: no pictures in it; expected files ending in {', '.join(PHOTO_SUFFIXES)}")
    return build_bank([_photo(path) for path in paths], device)


def _photo(path: Path) -> np.ndarray:
    """The central square of a picture, mirrored into a tile [SIZE, SIZE, 3]."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            square = image.convert("RGB").resize((SIZE // 2, SIZE // 2), box=(left, top, left + side, top + side))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"texture {path}: cannot be read as a picture ({error}); remove it or mend it") from error
    quarter = np.asarray(square, dtype=np.float32) / 255
    half = np.concatenate((quarter, quarter[:, ::-1]), 1)
    return np.concatenate((half, half[::-1]), 0)
