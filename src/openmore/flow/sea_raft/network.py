"""SEA-RAFT: a regressed first flow, then a few recurrent updates; every step also predicts how sure it is.

Choices
- S has a ResNet-18 encoder, M a ResNet-34; L is M with 12 updates instead of 4 and shares M's file.
- Only inference: the intermediate flows of training are not returned.
- The uncertainty is a mixture of two Laplace distributions per pixel, one with scale 1 px and one with a
  larger, predicted scale (paper, section 3.2): 4 numbers [weight_wide, weight_sharp, log_scale_wide, unused].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openmore.flow.sea_raft.layers import (
    LEVELS,
    STRIDE,
    CorrelationPyramid,
    Encoder,
    UpdateBlock,
    feature_grid,
    upsample,
)

LARGEST_LOG_SCALE = 10.0


@dataclass(frozen=True)
class SEARaftConfig:
    """Sizes of the network."""

    encoder_blocks: tuple[int, int, int]  # residual blocks per stage
    updates: int  # recurrent steps
    widths: tuple[int, int, int] = (64, 128, 256)  # channels of the encoder's stages
    dim: int = 128  # channels of the hidden state and of the context
    refine_blocks: int = 2  # ConvNeXt blocks per step
    radius: int = 4  # features around the target that a step looks at

    @property
    def correlations(self) -> int:
        """Channels of one correlation look-up."""
        return LEVELS * (2 * self.radius + 1) ** 2


CONFIGS = {
    "s": SEARaftConfig((2, 2, 2), updates=4),
    "m": SEARaftConfig((3, 4, 6), updates=4),
    "l": SEARaftConfig((3, 4, 6), updates=12),
}


class SEARaft(nn.Module):
    """Two pictures -> flow and its uncertainty."""

    def __init__(self, config: SEARaftConfig):
        super().__init__()
        self.config, dim = config, config.dim
        self.cnet = Encoder(6, 2 * dim, config.encoder_blocks, config.widths)
        self.fnet = Encoder(3, 2 * dim, config.encoder_blocks, config.widths)
        self.init_conv = nn.Conv2d(2 * dim, 2 * dim, 3, padding=1)
        self.update_block = UpdateBlock(config.correlations, dim, config.refine_blocks)
        self.flow_head = nn.Sequential(
            nn.Conv2d(dim, 2 * dim, 3, padding=1), nn.ReLU(), nn.Conv2d(2 * dim, 6, 3, padding=1)
        )
        self.upsample_weight = nn.Sequential(
            nn.Conv2d(dim, 2 * dim, 3, padding=1), nn.ReLU(), nn.Conv2d(2 * dim, 9 * STRIDE**2, 1)
        )

    def forward(self, image_a: Tensor, image_b: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, H, W] RGB 0..1, any size -> flow a -> b [B, 2, H, W] pixels, uncertainty [B, 4, H, W]."""
        (left, right, top, bottom), (height, width) = _padding(image_a.shape), image_a.shape[-2:]
        a, b = (F.pad(2 * x - 1, (left, right, top, bottom), mode="replicate") for x in (image_a, image_b))
        hidden, context = self.init_conv(self.cnet(torch.cat((a, b), 1))).chunk(2, 1)
        correlation = CorrelationPyramid(self.fnet(a), self.fnet(b), self.config.radius)
        grid = feature_grid(hidden)
        flow, info = self.flow_head(hidden).split((2, 4), 1)
        for _ in range(self.config.updates):
            hidden = self.update_block(hidden, context, correlation(grid + flow), flow)
            step, info = self.flow_head(hidden).split((2, 4), 1)
            flow = flow + step
        weights = 0.25 * self.upsample_weight(hidden)  # 1/4 balances gradients, as in RAFT
        window = (..., slice(top, top + height), slice(left, left + width))
        return upsample(STRIDE * flow, weights)[window], upsample(info, weights)[window]


def _padding(shape: torch.Size) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) that centre a picture in the next multiple of the stride."""
    dy, dx = -shape[-2] % STRIDE, -shape[-1] % STRIDE
    return dx // 2, dx - dx // 2, dy // 2, dy - dy // 2


def confidence_of(info: Tensor) -> Tensor:
    """Uncertainty [B, 4, H, W] -> confidence [B, H, W] in 0..1: the mixture's mean inverse scale.

    1 when the network is sure to about a pixel; near 0 when all weight lies on a wide distribution (occlusions).
    """
    wide, sharp = info[:, :2].softmax(1).unbind(1)
    return sharp + wide * torch.exp(-info[:, 2].clamp(0, LARGEST_LOG_SCALE))
