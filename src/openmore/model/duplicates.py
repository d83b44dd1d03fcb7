"""Duplicate camera tokens: one extra token per frame that re-aggregates the whole clip (BA-like refinement).

Who attends to whom (more_release.md, "Duplicate camera tokens")
- frame block: D_t takes the place of its frame's camera token; one query row against that frame's keys gives the
  same number as recomputing the whole block, and everything but D_t is detached.
- global block: D_t sees every frame token of the clip, not itself and no other D; no frame token sees any D.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from openmore.model.attend import attend
from openmore.model.attention import Block


class DuplicateMemory(Protocol):
    """Keys and values of frames already processed, as a stream's cache holds them."""

    batch: int

    @property
    def frames(self) -> int:
        """Number of frames held."""
        ...

    @property
    def starts_at_first_frame(self) -> bool:
        """Whether the first frame held is the clip's first."""
        ...

    def frame_keys_values(self, layer: int) -> tuple[Tensor, Tensor]:
        """Of frame block `layer`: [B * S, heads, P, head_dim] twice."""
        ...

    def global_keys_values(self, layer: int) -> tuple[Tensor, Tensor]:
        """Of global block `layer`: [B, heads, S * P, head_dim] twice."""
        ...


def duplicate_in_frame(block: Block, d: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Frame block for the duplicates d [B * S, 1, C] given their frames' keys and values [B * S, heads, P, head_dim].

    Returns the new d and the query and keys it used (for attention read-outs). Special tokens sit at position
    (0, 0), so the duplicate's query and key need no rotation.
    """
    q, own_k, own_v = (x.to(k.dtype) for x in block.open(d))  # a cache may be coarser than the weights
    keys = torch.cat((own_k, k[..., 1:, :]), -2)
    values = torch.cat((own_v, v[..., 1:, :]), -2)
    return block.close(d, attend(q, keys, values)), q, keys


def duplicate_across_frames(block: Block, d: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Global block for the duplicates d [B * S, 1, C] given all frame tokens' keys and values [B, heads, S * P, hd]."""
    B = k.shape[0]
    together = d.view(B, -1, d.shape[-1])
    q, _, _ = block.open(together)
    return block.close(together, attend(q.to(k.dtype), k, v)).view_as(d)
