"""JPEG without the bit stream: what quantisation does to a picture, for many pictures at once.

Choices
- The standard's tables, quality scaling and 4:2:0 chroma, so that blocks and ringing are those of real files.
- Entropy coding is lossless and left out; chroma is enlarged by repetition, as simple decoders do.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

# Annex K of the JPEG standard (ITU-T T.81).
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
    99, 99, 99, *(99,) * 32,
)  # fmt: skip
_YCC_FROM_RGB = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


@lru_cache(maxsize=4)
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """The DCT matrix [8, 8] and both tables [2, 8, 8]."""
    k, n = np.arange(8)[:, None], np.arange(8)[None]
    dct = np.cos((2 * n + 1) * k * np.pi / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
    table = np.array([_LUMA, _CHROMA], dtype=np.float32).reshape(2, 8, 8)
    return torch.from_numpy(dct.astype(np.float32)).to(device), torch.from_numpy(table).to(device)


def quantise(images: Tensor, quality: Tensor) -> Tensor:
    """Images [F, 3, H, W] float32 in 0..255 through JPEG at `quality` [F] (1..100); same shape, not rounded."""
    height, width = images.shape[-2:]
    pad = (0, -width % 16, 0, -height % 16)
    r, g, b = torch.nn.functional.pad(images, pad, mode="replicate").unbind(1)
    luma, blue, red = (m[0] * r + m[1] * g + m[2] * b for m in _YCC_FROM_RGB)
    q = quality.float()
    scale = torch.where(q < 50, 5000 / q, 200 - 2 * q)
    luma = _round_trip(luma - 128, 0, scale) + 128
    blue, red = (_enlarge(_round_trip(_halve(c), 1, scale)) for c in (blue, red))
    out = torch.stack((luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue), 1)
    return out[..., :height, :width]


def _round_trip(plane: Tensor, table: int, scale: Tensor) -> Tensor:
    """Plane [F, H, W] -> the plane after quantising its 8x8 DCT."""
    dct, tables = _constants(plane.device)
    steps = ((tables[table] * scale[:, None, None] + 50) / 100).floor().clamp(1, 255)[:, None, None]
    f, height, width = plane.shape
    blocks = plane.view(f, height // 8, 8, width // 8, 8).transpose(2, 3)
    coefficients = ((dct @ blocks @ dct.T) / steps).round() * steps
    return (dct.T @ coefficients @ dct).transpose(2, 3).reshape(f, height, width)


def _halve(plane: Tensor) -> Tensor:
    rows = plane[:, 0::2] + plane[:, 1::2]
    return (rows[..., 0::2] + rows[..., 1::2]) * 0.25


def _enlarge(plane: Tensor) -> Tensor:
    return plane.repeat_interleave(2, 1).repeat_interleave(2, 2)
