"""Two-dimensional rotary position embedding (RoPE-2D) without parameters.

Choices
- The head dimension is split in two halves: the first turns with the row, the second with the column.
- Patches sit at (row + 1, column + 1); special tokens sit at (0, 0), where the rotation is the identity.
- The tables depend on the grid only: they are made once per image size and passed in, so a forward pass has no
  host synchronisation and the model owns no state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rope(NamedTuple):
    """Rotation tables of one frame's P tokens."""

    cos: Tensor  # [P, head_dim] float32
    sin: Tensor  # [P, head_dim] float32, negated in the first quarter and in the third: the sign that `rotate` needs


def rope_tables(
    grid: tuple[int, int], num_special: int, head_dim: int, base: float, device: torch.device | str | None = None
) -> Rope:
    """Tables for `num_special` unrotated tokens followed by the patches of `grid` (h, w), row-major."""
    h, w = grid
    rows, columns = torch.meshgrid(
        torch.arange(1, h + 1, device=device), torch.arange(1, w + 1, device=device), indexing="ij"
    )
    position = torch.stack((rows.flatten(), columns.flatten()), -1)
    position = torch.cat((position.new_zeros(num_special, 2), position)).float()
    half = head_dim // 2
    exponents = torch.arange(0, half, 2, device=device, dtype=torch.float32) / half
    angles = position[..., None] / base**exponents  # [P, 2, half / 2]
    # Each half's angles twice: channel j pairs with j + half / 2.
    cos, sin = angles.cos(), angles.sin()
    return Rope(torch.cat((cos, cos), -1).flatten(1), torch.cat((-sin, sin), -1).flatten(1))


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Rotate queries or keys [..., S * P, head_dim]; the same tables serve each of the S frames."""
    tokens = rope.cos.shape[0]
    x = x.unflatten(-2, (-1, tokens))
    a, b, c, d = x.chunk(4, -1)
    partners = torch.cat((b, a, d, c), -1)
    return torch.addcmul(x * rope.cos, partners, rope.sin).flatten(-3, -2)
