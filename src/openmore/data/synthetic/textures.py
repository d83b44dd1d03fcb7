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
_LOG_SIZE = SIZE.bit_length() - 1
_STARTS = np.concatenate(([0], np.cumsum([(SIZE >> level) ** 2 for level in range(LEVELS)])))
ROWS = int(_STARTS[-1])  # table rows per texture
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class TextureBank:
    """Textures ready to be sampled on one device."""

    table: Tensor  # [count * ROWS, 4] float16, RGB and one unused channel (aligned rows gather faster)
    starts: Tensor  # [LEVELS] int32, first row of each level inside a texture

    @property
    def count(self) -> int:
        return self.table.shape[0] // ROWS

    def taps(self, first_row: Tensor, u: Tensor, v: Tensor, level: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Rows and weights of a bilinear lookup.

        Args:
            first_row: first table row of the texture (number * ROWS), int32, any shape.
            u, v: position in tiles (period 1), float32, the same shape.
            level: int32 in 0..LEVELS-1, the same shape.

        Returns:
            Four rows (int32) and their weights (float32), each of that shape.
        """
        shift = _LOG_SIZE - level
        size = 1 << shift
        x, y = u * size, v * size
        x0, y0 = x.floor(), y.floor()
        fx, fy = x - x0, y - y0
        mask = size - 1
        x0, y0 = x0.int(), y0.int()
        x1, y1 = (x0 + 1) & mask, (y0 + 1) & mask
        x0, y0 = x0 & mask, y0 & mask
        base = first_row + self.starts.index_select(0, level)
        top, bottom = base + (y0 << shift), base + (y1 << shift)
        left, above = 1 - fx, 1 - fy
        rows = [top + x0, top + x1, bottom + x0, bottom + x1]
        return rows, [left * above, fx * above, left * fy, fx * fy]

    def lookup(self, rows: list[Tensor], weights: list[Tensor]) -> Tensor:
        """Weighted sum of table rows, lists of [P] -> colours [3, P] float32."""
        shares = torch.stack(weights, -1).to(self.table.dtype)
        bag = torch.nn.functional.embedding_bag(
            torch.stack(rows, -1), self.table, mode="sum", per_sample_weights=shares
        )
        return bag.float().T[:3].contiguous()  # converting first: half precision is slow to transpose


def level_of(footprint: Tensor) -> tuple[Tensor, Tensor]:
    """Texels per pixel -> (level int32 in 0..LEVELS-2, blend towards the next level in 0..1).

    The blend is the mantissa: linear between powers of two instead of logarithmic, continuous all the same.
    """
    bits = footprint.clamp(1.0, float(1 << (LEVELS - 1)) * 0.999).view(torch.int32)
    level = (bits >> 23) - 127
    blend = (bits & 0x7FFFFF).to(torch.float32) * (1.0 / (1 << 23))
    return level, blend


def build_bank(pictures: list[np.ndarray], device: torch.device | str) -> TextureBank:
    """Pictures [SIZE, SIZE, 3] float32 in 0..1 -> bank. Stored, and averaged into levels, as linear light (squares)."""
    table = np.zeros((len(pictures) * ROWS, 4), np.float16)
    for k, picture in enumerate(pictures):
        level = picture * picture
        for start in _STARTS[:-1]:
            table[k * ROWS + start : k * ROWS + start + level.size // 3, :3] = level.reshape(-1, 3)
            level = level[0::2] + level[1::2]
            level = (level[:, 0::2] + level[:, 1::2]) / 4
    return TextureBank(torch.from_numpy(table).to(device), torch.from_numpy(_STARTS[:-1].astype(np.int32)).to(device))


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
