"""The patch embedder: a DINOv2-style vision transformer with registers, run per frame.

Choices
- Attribute names are the checkpoints' key names (`architecture.md`, section 2), here and in the whole network.
- The learned position grid is resized by target size (bicubic, antialiased, float32) unless it fits as stored; the
  resize is a separate method so that a stream does it once per image size.
- `mask_token` is unused; it exists because every published file carries it and loading is strict.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmore.model.attention import Block, BlockList, LayerNorm
from openmore.model.stem import ConvStem


class PatchEmbed(nn.Module):
    """Image to patch tokens by a strided convolution."""

    def __init__(self, patch_size: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """[N, 3, H, W] -> [N, h * w, C], row-major; and no details."""
        return self.proj(images.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2), ()


class VisionTransformer(nn.Module):
    """Patch tokens of single frames, after the final LayerNorm."""

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_ratio: int,
        registers: int,
        stem: ConvStem | None = None,
    ):
        super().__init__()
        self.stored_grid = image_size // patch_size
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 1e-6)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + self.stored_grid**2, dim) * 0.02)
        self.register_tokens = nn.Parameter(torch.randn(1, registers, dim) * 1e-6)
        self.mask_token = nn.Parameter(torch.zeros(1, dim), requires_grad=False)
        self.patch_embed = PatchEmbed(patch_size, dim) if stem is None else stem
        self.blocks = BlockList(Block(dim, heads, mlp_ratio, scale_init=1.0, eps=1e-6) for _ in range(depth))
        self.norm = LayerNorm(dim, eps=1e-6)

    def position_embedding(self, grid: tuple[int, int]) -> Tensor:
        """[1, 1 + h * w, C] float32 for a patch grid (h, w): the class row, then the resized position grid."""
        stored = self.pos_embed.float()
        if grid == (self.stored_grid, self.stored_grid):
            return stored
        square = stored[:, 1:].unflatten(1, (self.stored_grid, self.stored_grid)).permute(0, 3, 1, 2)
        resized = F.interpolate(square, size=grid, mode="bicubic", antialias=True)
        return torch.cat((stored[:, :1], resized.flatten(2).transpose(1, 2)), 1)

    def forward(self, images: Tensor, position: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Normalised images [N, 3, H, W] and `position_embedding` of their grid -> patch tokens [N, h * w, C].

        Also what a convolutional stem saw at finer scales (stem.py); nothing without one.
        """
        x, details = self.patch_embed(images)
        count = x.shape[0]
        x = torch.cat((self.cls_token.expand(count, -1, -1), x.float()), 1) + position
        # Registers join after the position embedding: they have no place in the image.
        x = torch.cat((x[:, :1], self.register_tokens.expand(count, -1, -1), x[:, 1:]), 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1 + self.register_tokens.shape[1] :], details
