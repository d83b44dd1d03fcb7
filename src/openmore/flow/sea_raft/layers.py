"""The parts of SEA-RAFT: ResNet encoder, ConvNeXt update, motion encoder, correlation pyramid, convex upsampling.

Choices
- Module names are those of the published files; the rest is written from the paper (arXiv 2405.14793, section 3).
- The network works at 1/8 of the picture; correlation levels halve the second picture's features, not the volume.
- Correlation offsets run x first: channel (i, j) of a window looks at (x - r + i, y - r + j). The weights need it so.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 4  # of the correlation pyramid
STRIDE = 8  # pixels per feature


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Encoder(nn.Module):
    """The first three stages of a ResNet: pictures [B, C, H, W] -> features [B, out, H/8, W/8]."""

    def __init__(self, channels_in: int, channels_out: int, blocks: tuple[int, int, int], widths: tuple[int, int, int]):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, widths[0], 7, 2, 3)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = _stage(widths[0], widths[0], blocks[0], stride=1)
        self.layer2 = _stage(widths[0], widths[1], blocks[1], stride=2)
        self.layer3 = _stage(widths[1], widths[2], blocks[2], stride=2)
        self.final_conv = nn.Conv2d(widths[2], channels_out, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)))
        return self.final_conv(self.layer3(self.layer2(self.layer1(x))))


def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = ResidualBlock(channels_in, channels, stride)
    return nn.Sequential(first, *(ResidualBlock(channels, channels, 1) for _ in range(blocks - 1)))


class ConvNextBlock(nn.Module):
    """A ConvNeXt block followed by a 1x1 convolution to the hidden width."""

    def __init__(self, channels: int, channels_out: int):
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels_out)
        self.pwconv2 = nn.Linear(4 * channels_out, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))
        self.final = nn.Conv2d(channels, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).movedim(1, -1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return self.final(x + y.movedim(-1, 1))


class MotionEncoder(nn.Module):
    """Correlation windows and the current flow -> motion features [B, dim, h, w], the flow itself among them."""

    def __init__(self, correlations: int, dim: int):
        super().__init__()
        self.convc1 = nn.Conv2d(correlations, 2 * dim, 1)
        self.convc2 = nn.Conv2d(2 * dim, dim + dim // 2, 3, padding=1)
        self.convf1 = nn.Conv2d(2, dim, 7, padding=3)
        self.convf2 = nn.Conv2d(dim, dim // 2, 3, padding=1)
        self.conv = nn.Conv2d(2 * dim, dim - 2, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        c = F.relu(self.convc2(F.relu(self.convc1(correlation))))
        f = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat((F.relu(self.conv(torch.cat((c, f), 1))), flow), 1)


class UpdateBlock(nn.Module):
    """One recurrent step: hidden state, context, correlation and flow -> next hidden state."""

    def __init__(self, correlations: int, dim: int, blocks: int):
        super().__init__()
        self.encoder = MotionEncoder(correlations, dim)
        self.refine = nn.ModuleList(ConvNextBlock(3 * dim, dim) for _ in range(blocks))

    def forward(self, hidden: Tensor, context: Tensor, correlation: Tensor, flow: Tensor) -> Tensor:
        motion = self.encoder(flow, correlation)
        for block in self.refine:
            hidden = block(torch.cat((hidden, context, motion), 1))
        return hidden


class CorrelationPyramid:
    """All-pairs similarity of two feature maps [B, C, h, w], read in windows around where the flow points."""

    def __init__(self, features_a: Tensor, features_b: Tensor, radius: int):
        self.radius = radius
        self.levels: list[Tensor] = []
        b, c, h, w = features_a.shape
        queries = features_a.flatten(2).transpose(1, 2) / c**0.5
        for level in range(LEVELS):
            if level:
                features_b = F.interpolate(features_b, scale_factor=0.5, mode="bilinear", align_corners=False)
            scores = queries @ features_b.flatten(2)
            self.levels.append(scores.reshape(b * h * w, 1, *features_b.shape[-2:]))

    def __call__(self, targets: Tensor) -> Tensor:
        """Targets [B, 2, h, w] (x, y in features) -> windows [B, LEVELS * (2r + 1)^2, h, w]."""
        b, _, h, w = targets.shape
        steps = torch.arange(-self.radius, self.radius + 1, device=targets.device, dtype=targets.dtype)
        window = torch.stack(
            torch.meshgrid(steps, steps, indexing="ij"), -1
        )  # x varies first, see the module's choices
        centers = targets.movedim(1, -1).reshape(b * h * w, 1, 1, 2)
        read = [_read(scores, centers / 2**i + window) for i, scores in enumerate(self.levels)]
        return torch.cat([x.reshape(b, h, w, -1) for x in read], -1).movedim(-1, 1).contiguous()


def _read(maps: Tensor, xy: Tensor) -> Tensor:
    """Bilinear samples of maps [N, 1, H, W] at pixels xy [N, a, b, 2]; 0 outside."""
    size = torch.tensor((maps.shape[-1], maps.shape[-2]), device=maps.device, dtype=maps.dtype)
    return F.grid_sample(maps, (2 * xy + 1) / size - 1, align_corners=False)


def feature_grid(like: Tensor) -> Tensor:
    """[1, 2, h, w]: (x, y) of every feature of a map [..., h, w]."""
    y, x = torch.meshgrid(
        torch.arange(like.shape[-2], device=like.device, dtype=like.dtype),
        torch.arange(like.shape[-1], device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    return torch.stack((x, y))[None]


def upsample(values: Tensor, weights: Tensor) -> Tensor:
    """Values [B, C, h, w] -> [B, C, 8h, 8w]: each fine value is a convex mix of 3x3 coarse ones (RAFT, section 3.3)."""
    b, c, h, w = values.shape
    mix = weights.view(b, 1, 9, STRIDE, STRIDE, h, w).softmax(2)
    neighbours = F.unfold(values, 3, padding=1).view(b, c, 9, 1, 1, h, w)
    return (mix * neighbours).sum(2).permute(0, 1, 4, 2, 5, 3).reshape(b, c, STRIDE * h, STRIDE * w)
