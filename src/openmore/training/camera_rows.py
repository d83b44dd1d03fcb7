"""Attention rows of the camera tokens, read out of chosen blocks for attention forcing.

Choices
- Frame blocks: the camera token (and its duplicate) over its own frame, as in the authors' release.
- Global blocks: the camera token of every frame over the frames it can see; `scope` "own" keeps only the labels of its
  own frame. Frames that are out of sight are no labels, and do not count as keys of the softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openmore.model.aggregator import Readout, Where
from openmore.model.attention import attention_rows, visible_frames
from openmore.training.batch import Batch
from openmore.training.losses.attention import AttentionForcingConfig
from openmore.training.losses.motion import pool_motion
from openmore.training.objective import AttentionRows


def forcing_blocks(config: AttentionForcingConfig, depth: int) -> list[Where]:
    """The blocks whose rows the loss reads, in a network of `depth` layers."""
    if config.variant == "none":
        return []
    first = {"last": depth - 1, "last_third": depth - max(depth // 3, 1), "all": 0}[config.layers]
    return [(config.blocks, layer) for layer in range(first, depth)]


def visibility(frames: int, causal: bool, window: int | None) -> Tensor:
    """[S, S] bool: may a token of frame (row) look at frame (column)."""
    visible = torch.full((frames, frames), not causal)
    if causal:
        for t in range(frames):
            for part in visible_frames(t, window):
                visible[t, part.start : part.stop] = True
    return visible


def rows_of_clip(visible: Tensor, tokens: int) -> Readout:
    """Read-out of a global block whose frames hold `tokens` tokens: camera queries [B, heads, S, S * tokens]."""
    keys = visible.repeat_interleave(tokens, 1)
    return lambda q, k: attention_rows(q[..., ::tokens, :], k, keys.to(q.device))


def labelled_rows(
    rows: list[Tensor], batch: Batch, config: AttentionForcingConfig, visible: Tensor, patch: int, first_patch: int
) -> list[AttentionRows]:
    """What the read-outs say of which patch, for the loss."""
    share, known = pool_motion(batch.motion, patch)
    if config.blocks == "frame":
        return [AttentionRows(r[..., first_patch:], share, known, r.shape[-1]) for r in rows]
    seen = visible.to(share.device)
    labelled = seen & torch.eye(len(seen), dtype=torch.bool, device=seen.device) if config.scope == "own" else seen
    return [_over_clip(r, share, known, seen, labelled, first_patch) for r in rows]


def _over_clip(
    rows: Tensor, share: Tensor, known: Tensor, seen: Tensor, labelled: Tensor, first_patch: int
) -> AttentionRows:
    """rows [B, heads, S, S * P] of a global block; share and known [B, S, patches]; seen and labelled [S, S]."""
    S = share.shape[1]
    patches = rows.unflatten(-1, (S, -1))[..., first_patch:]
    return AttentionRows(
        attention=patches.flatten(-2).transpose(1, 2)[:, :, :, None],
        share=share.flatten(1)[:, None].expand(-1, S, -1),
        known=(known[:, None] & labelled[None, :, :, None]).flatten(2),
        visible=(seen.sum(1) * (rows.shape[-1] // S))[None, :, None],
    )
