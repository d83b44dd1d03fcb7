"""Displacement loss: two channels of the patch tokens say where the patch is in the first frame.

The correspondence loss teaches attention to look at the match; this one makes the tokens carry home where it was, which
is what a camera token needs to read motion off them. Measured from scratch (docs/training_log.md): with the first loss
alone cameras stayed at the no-motion baseline, with both they left it after ten thousand clips. Not part of the paper.

Choices
- No extra weights: the first two channels of the global blocks' residual stream are the prediction.
- Frames point to the first frame, the first frame to the second one: the world's own question.
- Units are `UNIT` patches, so that the numbers stay of the order of the residual stream.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openmore.training.losses.correspondence import follow

UNIT = 4.0  # patches


def anchor_frames(frames: int) -> Tensor:
    """[S] the frame each frame is compared with: the first one, and the second for the first (itself when alone)."""
    target = torch.zeros(frames, dtype=torch.long)
    target[0] = min(1, frames - 1)
    return target


def displacement_truth(
    depth: Tensor, K: Tensor, world_from_cam: Tensor, static: Tensor, patch: int, causal: bool = False
) -> tuple[Tensor, Tensor]:
    """Displacement [B, S, h * w, 2] (column, row; in patches) to the anchor frame and where it is valid.

    Arguments as in `find_matches`; `causal` drops the first frame, which sees no other.
    """
    B, S, H, W = depth.shape
    h, w = H // patch, W // patch
    index = torch.arange(h * w, device=depth.device).expand(B, S, -1)
    uv, valid = follow(depth, K, world_from_cam, static, patch, index, anchor_frames(S).to(depth.device))
    # The point followed is a pixel of the patch, half a pixel off its centre when the patch is even.
    here = torch.stack((index % w, index // w), -1) + (patch // 2 + 0.5) / patch - 0.5
    if causal:
        valid = valid & (torch.arange(S, device=depth.device) > 0)[None, :, None]
    return uv - here, valid


def displacement_loss(patch_tokens: Tensor, displacement: Tensor, valid: Tensor) -> Tensor:
    """Mean L1 error in patches of the first two channels of patch_tokens [B, S, h * w, C]; a scalar."""
    error = (patch_tokens[..., :2].float() * UNIT - displacement.nan_to_num(0)).abs().sum(-1)
    return torch.where(valid, error, 0).sum() / valid.sum().clamp_min(1)
