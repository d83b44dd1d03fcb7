"""Dense heads (DPT): four layers of tokens -> one map per frame, for depth, points or motion.

Choices
- Frames are independent here and processed a few at a time, so that memory stays bounded.
- The fusion units add the *rectified* input back (the reference's in-place ReLU); plain skips change depth by O(1).
- Position grids depend on the image size only; they are made in float64 once per size and shared by all heads
  (`DenseGrid`), not recomputed per frame.
- The 1x1 convolution of a fusion block comes before its resize, where a quarter of the pixels pass through it. Both
  are linear and the resize's weights add up to one, so the result is that of the other order.
- Convolutions run in their weights' dtype. `MoRe.half_precision` leaves the last two float32: what they see has the
  picture's size, where rounding would show as grain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmore.model.attention import LayerNorm, suited
from openmore.model.config import ModelConfig
from openmore.model.stem import convolve

FRAMES_AT_ONCE = 8
CHANNELS_AT_ONCE = 32  # at the picture's size: all of them would be the largest tensor of a stream's step


@dataclass(frozen=True)
class DenseGrid:
    """Sizes and position embeddings of the head's stages for one image size."""

    shape: tuple[int, int]  # (H, W)
    patches: tuple[int, int]  # (h, w)
    stages: tuple[Tensor, ...]  # four [channels_i, h, w], added after the projections
    output: tuple[
        Tensor, Tensor
    ]  # by column [features / 4, 1, W] and by row [features / 4, H, 1], before the last ones


def dense_grid(config: ModelConfig, shape: tuple[int, int], device: torch.device | str | None = None) -> DenseGrid:
    """Precompute for images of `shape` (H, W)."""
    patches = config.grid(shape)
    aspect = shape[1] / shape[0]
    stages = tuple(position_grid(n, patches, aspect, device) for n in config.dpt_channels)
    # A full-size map would be as large as the map it is added to.
    return DenseGrid(shape, patches, stages, position_waves(config.dpt_features // 2, shape, aspect, device))


def position_grid(
    channels: int, size: tuple[int, int], aspect: float, device: torch.device | str | None = None
) -> Tensor:
    """`position_waves` side by side: [channels, height, width], channels last in memory like the tokens."""
    columns, rows = position_waves(channels, size, aspect, device)
    grid = torch.cat((columns.expand(-1, size[0], -1), rows.expand(-1, -1, size[1])))
    return grid.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def position_waves(
    channels: int, size: tuple[int, int], aspect: float, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Sin-cos embedding of pixel-centre coordinates, times 0.1: first half of the channels by column
    [channels / 2, 1, width], second half by row [channels / 2, height, 1].

    Coordinates span (aspect, 1) / sqrt(aspect^2 + 1) with `aspect` = W / H of the image at every scale.
    """
    height, width = size
    diagonal = (aspect**2 + 1) ** 0.5
    span_x, span_y = aspect / diagonal, 1 / diagonal
    # On the CPU: not every device knows float64.
    u = torch.linspace(-1, 1, width, dtype=torch.float64) * (span_x * (width - 1) / width)
    v = torch.linspace(-1, 1, height, dtype=torch.float64) * (span_y * (height - 1) / height)
    quarter = channels // 4
    frequency = 100.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)

    def wave(x: Tensor) -> Tensor:  # [n] -> [n, 2 * quarter]
        angle = x[:, None] * frequency
        return 0.1 * torch.cat((angle.sin(), angle.cos()), -1).float().to(device)

    return wave(u).T[:, None], wave(v).T[:, :, None]


def add_position(x: Tensor, waves: tuple[Tensor, Tensor], first: int) -> None:
    """Add `position_waves` in place to channels `first`... of a map: [N, some channels, height, width]."""
    columns, rows = waves
    end, half = first + x.shape[1], len(columns)
    cut = min(max(half - first, 0), x.shape[1])
    x[:, :cut].add_(columns[first : first + cut])
    x[:, cut:].add_(rows[first + cut - half : end - half])


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, corner pixels onto corner pixels."""
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=True)


class ResidualConvUnit(nn.Module):
    """conv(relu(conv(relu(x)))) + relu(x)."""

    def __init__(self, features: int):
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return self.conv2(F.relu(self.conv1(x))) + x


class FusionBlock(nn.Module):
    """Fuse the coarser stage with a finer one, mix channels; the resize that follows is the pyramid's."""

    def __init__(self, features: int, two_inputs: bool):
        super().__init__()
        if two_inputs:
            self.resConfUnit1 = ResidualConvUnit(features)
        self.resConfUnit2 = ResidualConvUnit(features)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor, fine: Tensor | None = None) -> Tensor:
        if fine is not None:
            x = x + self.resConfUnit1(fine)
        return self.out_conv(self.resConfUnit2(x))


class Scratch(nn.Module):
    """The fusion pyramid and the output convolutions (the checkpoints' name for this part)."""

    def __init__(self, channels: tuple[int, ...], features: int, out: int):
        super().__init__()
        for i, n in enumerate(channels, 1):
            setattr(self, f"layer{i}_rn", nn.Conv2d(n, features, 3, padding=1, bias=False))
            setattr(self, f"refinenet{i}", FusionBlock(features, two_inputs=i < 4))
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        hidden = 32
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, hidden, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(hidden, out, 1)
        )

    def narrow(self, stage: int, x: Tensor) -> Tensor:
        """Stage 0 (finest) to 3: its channels -> `features`."""
        return getattr(self, f"layer{stage + 1}_rn")(x)

    def fuse(self, narrow: list[Tensor]) -> Tensor:
        """Four narrowed stages, finest first -> [N, features, 2 * h_1, 2 * w_1]. Empties the list: none is kept."""
        *finer, coarsest = (getattr(self, f"refinenet{i}") for i in (1, 2, 3, 4))
        x = coarsest(narrow.pop())
        for fusion in reversed(finer):
            x = fusion(resize(x, narrow[-1].shape[-2:]), narrow.pop())
        return resize(x, [2 * n for n in x.shape[-2:]])

    def finish(self, x: Tensor, grid: DenseGrid) -> Tensor:
        """Fused maps [N, features, h, w] -> [N, out, H, W]."""
        conv, *rest = self.output_conv2
        assert isinstance(conv, nn.Conv2d)

        def share(first: int) -> Tensor:
            """What a slice of the channels adds to the convolution."""
            some = slice(first, first + CHANNELS_AT_ONCE)
            full = resize(suited(x[:, some], conv), grid.shape)
            add_position(full, grid.output, first)
            return F.conv2d(full, conv.weight[:, some], None if first else conv.bias, padding=1)

        x = self.output_conv1(x)
        total = share(0)
        for first in range(CHANNELS_AT_ONCE, x.shape[1], CHANNELS_AT_ONCE):
            total.add_(share(first))
        for layer in rest:
            total = layer(total)
        return total


class DenseHead(nn.Module):
    """Saved layers of patch tokens -> raw maps [B, S, out, H, W], before activation."""

    def __init__(self, config: ModelConfig, out: int):
        super().__init__()
        self.layers, self.first_patch = config.saved_layers, config.first_patch
        c = config.dpt_channels
        self.norm = LayerNorm(2 * config.embed_dim, eps=1e-5)
        self.projects = nn.ModuleList(nn.Conv2d(2 * config.embed_dim, n, 1) for n in c)
        self.resize_layers = nn.ModuleList(
            (
                nn.ConvTranspose2d(c[0], c[0], 4, stride=4),
                nn.ConvTranspose2d(c[1], c[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(c[3], c[3], 3, stride=2, padding=1),
            )
        )
        self.scratch = Scratch(c, config.dpt_features, out)
        if config.stem_channels:  # strides 4 and 8, where the two finest stages are
            self.details = nn.ModuleList(nn.Conv2d(n, m, 1) for n, m in zip(config.stem_channels[1:], c))

    def half_precision(self, dtype: torch.dtype) -> None:
        """Convert the convolutions in place, but for those at full size."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and "output_conv2" not in name:
                module.to(dtype)

    def forward(self, tokens: Mapping[int, Tensor], grid: DenseGrid, details: Sequence[Tensor] = ()) -> Tensor:
        """`tokens`: layer -> [B, S, P, 2C]; `details`: maps [B * S, channels, h, w] of a convolutional stem."""
        B, S = tokens[self.layers[0]].shape[:2]
        layers = [tokens[layer].flatten(0, 1) for layer in self.layers]
        chunks = [
            self._maps(
                [x[start : start + FRAMES_AT_ONCE] for x in layers],
                grid,
                [x[start : start + FRAMES_AT_ONCE] for x in details],
            )
            for start in range(0, B * S, FRAMES_AT_ONCE)
        ]
        return torch.cat(chunks).unflatten(0, (B, S))

    def _maps(self, layers: list[Tensor], grid: DenseGrid, details: Sequence[Tensor] = ()) -> Tensor:
        stages = []
        for i, x in enumerate(layers):
            x = pointwise(self.projects[i], self.norm(x[:, self.first_patch :]))
            x = x.transpose(1, 2).unflatten(2, grid.patches).add_(grid.stages[i])
            x = self.resize_layers[i](x)
            if i < len(details):
                x = x + convolve(self.details[i], details[i])  # type: ignore[arg-type]
            stages.append(self.scratch.narrow(i, x))  # at once: the wide map is not kept
        return self.scratch.finish(self.scratch.fuse(stages), grid)


def pointwise(conv: nn.Module, tokens: Tensor) -> Tensor:
    """A 1x1 convolution on tokens [..., C] as they lie in memory, channels last; so stays all that follows."""
    assert isinstance(conv, nn.Conv2d)
    return F.linear(suited(tokens, conv), conv.weight.flatten(1), conv.bias)


def positive_with_confidence(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Depth head: [..., 2, H, W] -> depth exp(.) and confidence 1 + exp(.), both [..., H, W]."""
    value, confidence = raw.unbind(-3)
    return value.exp(), 1 + confidence.exp()


def points_with_confidence(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Point head: [..., 4, H, W] -> points [..., H, W, 3] by sign(y) (exp|y| - 1), confidence [..., H, W]."""
    y = raw[..., :3, :, :].movedim(-3, -1)
    return y.sign() * y.abs().expm1(), 1 + raw[..., 3, :, :].exp()
