"""The camera: edge smoothing, lens and motion blur, exposure, tone, noise, JPEG, quantisation.

Choices
- Exposure is metered once per clip on a coarse grid of its first frame, as a camera that locks it.
- Silhouettes are smoothed where the surface's slot changes: the look of supersampling for the price of one blur.
- Motion blur averages the picture along its own flow, a first-order shutter.
- The tone curve is a square root (gamma 2): exact in IEEE arithmetic, unlike a power.
- Noise comes from one fixed tile read at a random place: the same on every device, and cheap.
- Frames that need no motion blur or JPEG do not pay for them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from openmore.data.synthetic.jpeg import quantise

if TYPE_CHECKING:
    from openmore.data.synthetic.render import Packed

NOISE_TILE = 1 << 20
BLUR_TAPS = 7
MIDDLE_GREY = 0.24  # linear light that automatic exposure aims at


def expose(packed: Packed, linear: Tensor, slot: Tensor, motion: Tensor | None) -> Tensor:
    """Linear light [3, F, H, W] -> pixel values uint8 [F, 3, H, W].

    Args:
        slot: [F, H, W] which surface each pixel shows.
        motion: [N, 2, H, W] flow of the N frames with an open shutter, in the order of `packed.blurred`.
    """
    image = linear.transpose(0, 1) * _gain(packed)
    grey = (image[:, :1] + image[:, 1:2] * 2 + image[:, 2:]) * 0.25
    image = grey + (image - grey) * packed.frame["saturation"][:, :, None, None]
    image = _smooth_edges(image.clamp(0.0, 4.0), slot)
    if motion is not None:
        image[packed.blurred] = _motion_blur(image[packed.blurred], motion, packed.frame["shutter"][packed.blurred])
    image = image + (blur3(image) - image) * packed.frame["blur"][:, :, None, None]
    image = image.clamp(0.0, 1.0).sqrt()
    image = image + (image * image * (3 - 2 * image) - image) * packed.frame["contrast"][:, :, None, None]
    image = (_add_noise(packed, image).clamp(0.0, 1.0) * 255).round()
    compressed = np.flatnonzero(packed.jpeg_quality)
    if len(compressed):
        quality = torch.from_numpy(packed.jpeg_quality[compressed]).to(image.device)
        image[compressed] = quantise(image[compressed], quality).clamp(0, 255).round()
    return image.to(torch.uint8)


def _motion_blur(image: Tensor, flow: Tensor, shutter: Tensor) -> Tensor:
    """Mean of BLUR_TAPS looks along the flow [N, 2, H, W], centred on the frame's time."""
    height, width = image.shape[-2:]
    size = torch.tensor([width, height], device=image.device, dtype=torch.float32)
    y = torch.arange(height, device=image.device)[:, None].expand(height, width)
    x = torch.arange(width, device=image.device)[None].expand(height, width)
    here = torch.stack((x, y), -1).float()
    step = flow.movedim(1, -1) * shutter[:, :, None, None]
    total = torch.zeros_like(image)
    for offset in np.linspace(-0.5, 0.5, BLUR_TAPS).tolist():
        grid = (2 * (here + step * offset) + 1) / size - 1
        total += torch.nn.functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return total / BLUR_TAPS


def metered_gain(linear: Tensor, sky: Tensor) -> Tensor:
    """Automatic exposure [F, 1] from linear light [3, F, h, w]: brings the ground near a middle grey.

    Order statistics instead of a mean: no rounding, so no dependence on how the sum was split.
    """
    grey = (linear[0] + linear[1] * 2 + linear[2]).flatten(1) * 0.25
    ground = ~sky.flatten(1)
    count = ground.sum(1, keepdim=True)
    mostly_sky = count * 8 < ground.shape[1]
    values = grey.masked_fill(~ground & ~mostly_sky, float("inf")).sort(1).values
    count = torch.where(mostly_sky, ground.shape[1], count)
    middle, bright = (values.gather(1, count * q // 100) for q in (50, 85))
    return MIDDLE_GREY / (0.7 * middle + 0.3 * bright).clamp_min(1e-3)


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
    dark, bright = (packed.frame[name][:, :, None, None] for name in ("noise", "shot_noise"))
    return image + noise * (dark + bright * image)
