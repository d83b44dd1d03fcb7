"""A convolutional patch embedder: small networks learn geometry from it far sooner than from one strided convolution.

Not part of the published architecture (`ModelConfig.stem_channels` is empty there). Each level halves the picture and
adds residual 3x3 convolutions; the last level's pixels are the patch tokens. What the finer levels saw also goes
straight to the dense heads ("details"), so that edges need not pass through the tokens.

Choices
- Group normalisation before each convolution: no statistics over the batch, a stream computes what a clip computes.
- Convolutions run in their weights' dtype, norms in float32, as in the transformer blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmore.model.attention import suited

NORM_GROUPS = 8


class ChannelNorm(nn.GroupNorm):
    """Group normalisation that always computes and returns float32."""

    def __init__(self, channels: int):
        super().__init__(NORM_GROUPS, channels, eps=1e-5)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input.float(), self.num_groups, self.weight, self.bias, self.eps)


def convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a convolution in its weights' dtype."""
    return layer(suited(x, layer))


class ResidualBlock(nn.Module):
    """x + conv(gelu(norm(conv(gelu(norm(x))))))."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = convolve(self.conv1, F.gelu(self.norm1(x)))
        return x + convolve(self.conv2, F.gelu(self.norm2(y))).to(x.dtype)


class Level(nn.Module):
    """Halve the picture, then `blocks` residual blocks."""

    def __init__(self, before: int, channels: int, blocks: int):
        super().__init__()
        self.down = nn.Conv2d(before, channels, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(convolve(self.down, x).float())


class ConvStem(nn.Module):
    """Pictures [N, 3, H, W] -> patch tokens [N, h * w, C] and details, finest first.

    `channels` at strides 2, 4, 8; `blocks` at strides 2, 4, 8, 16. The details are normalised maps, float32,
    [N, channels, H / 4, W / 4] and [N, channels, H / 8, W / 8].
    """

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...], dim: int):
        super().__init__()
        widths = (3, *channels, dim)
        self.levels = nn.ModuleList(Level(a, b, n) for a, b, n in zip(widths, widths[1:], blocks))
        self.norms = nn.ModuleList(ChannelNorm(n) for n in channels[1:])

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        maps = [images.contiguous(memory_format=torch.channels_last)]
        for level in self.levels:
            maps.append(level(maps[-1]))
        details = tuple(norm(x) for norm, x in zip(self.norms, maps[2:4]))
        return maps[-1].flatten(2).transpose(1, 2), details
