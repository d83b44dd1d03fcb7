"""Where the camera tokens look: attention maps out of the network, and the number behind the pictures.

Choices
- "frame" blocks attend within a frame: the camera token's row over its own patches. "global" blocks attend across the
  clip: each frame's camera token over all frames; the map shows its own frame, a second number the share spent there.
- Weights are kept as the softmax gives them; what goes to the camera and register tokens is part of the sum.
- The number (supplement, figure 3): the share of patch attention that falls on moving patches, beside the share of
  the picture they cover. A ratio of 1 is indifference; motion-aware training should push it below.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openmore.errors import ConfigError
from openmore.model.aggregator import Readout, Where
from openmore.model.attention import attention_rows
from openmore.model.more import MoRe


@dataclass(frozen=True)
class AttentionMaps:
    """Attention of every frame's camera token in one block."""

    block: Where  # ("frame" or "global", layer)
    weights: np.ndarray  # [S, heads, h, w] float32, own frame's patches; sums to at most 1 per frame and head
    own_frame: np.ndarray  # [S, heads] share of the row spent on the own frame, special tokens included; 1 in "frame"

    @property
    def mean(self) -> np.ndarray:
        """[S, h, w] averaged over heads, as the supplement's figure."""
        return self.weights.mean(1)


@dataclass(frozen=True)
class MovingShare:
    """How much attention moving patches get, against how much of the picture they are."""

    attention: float  # share of the attention on patches that falls on moving ones
    area: float  # share of the picture that moves

    @property
    def ratio(self) -> float:
        """1: indifferent; below 1: movers are ignored. NaN when nothing moves."""
        return self.attention / self.area if self.area > 0 else float("nan")


def camera_attention_maps(model: MoRe, images: Tensor, blocks: Collection[Where]) -> dict[Where, AttentionMaps]:
    """Run `images` [1, S, 3, H, W] through the backbone and read the camera rows of `blocks`.

    Raises ConfigError for a block the network does not have.
    """
    for kind, layer in blocks:
        if kind not in ("frame", "global") or not 0 <= layer < model.config.depth:
            last = model.config.depth - 1
            raise ConfigError(f"there is no block {kind}:{layer}: expected frame:0..{last} or global:0..{last}")
    S, shape = images.shape[1], (images.shape[-2], images.shape[-1])
    causal = model.config.attention == "causal"
    readouts: dict[Where, Readout] = {
        block: _first_row if block[0] == "frame" else _camera_rows(S, causal) for block in blocks
    }
    with torch.inference_mode():
        read = model(images, outputs={"camera"}, duplicates=False, readouts=readouts).readouts
    grid, first = model.config.grid(shape), model.config.first_patch
    split = {"frame": _split_frame, "global": _split_global}
    return {block: split[block[0]](block, read[block][0], grid, first) for block in blocks}


def moving_share(attention: np.ndarray, motion: np.ndarray) -> MovingShare:
    """Attention [..., h, w] against masks or probabilities of motion [..., H, W] on a multiple of the patch grid.

    Pixels whose motion is NaN (unknown) are left out of picture and attention, patch by patch in proportion.
    """
    grid = attention.shape[-2], attention.shape[-1]
    moving, known = patch_means(np.nan_to_num(motion), grid), patch_means(~np.isnan(motion), grid)
    total, area = float((attention * known).sum()), float(known.mean())
    return MovingShare(
        float((attention * moving).sum()) / total if total else 0.0, float(moving.mean()) / area if area else 0.0
    )


def patch_means(values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """[..., H, W] -> [..., h, w], the mean over each patch."""
    h, w = grid
    H, W = values.shape[-2:]
    if H % h or W % w:
        raise ConfigError(f"a map of {H}x{W} does not divide into {h}x{w} patches: resize it to the model's shape")
    return values.reshape(*values.shape[:-2], h, H // h, w, W // w).mean((-3, -1))


def _first_row(q: Tensor, k: Tensor) -> Tensor:
    """The camera token's row of a frame block: [B * S, heads, 1, P]."""
    return attention_rows(q[..., :1, :], k)


def _camera_rows(S: int, causal: bool) -> Readout:
    """Every frame's camera row of a global block: [B, heads, S, S * P]."""

    def read(q: Tensor, k: Tensor) -> Tensor:
        P = q.shape[-2] // S
        frame = torch.arange(S, device=q.device)
        visible = (frame.repeat_interleave(P) <= frame[:, None]) if causal else None
        return attention_rows(q[..., ::P, :], k, visible)

    return read


def _split_frame(block: Where, rows: Tensor, grid: tuple[int, int], first: int) -> AttentionMaps:
    """rows [S, heads, 1, P]."""
    own = rows[:, :, 0].float().cpu()
    return AttentionMaps(block, own[..., first:].unflatten(-1, grid).numpy(), own.sum(-1).numpy())


def _split_global(block: Where, rows: Tensor, grid: tuple[int, int], first: int) -> AttentionMaps:
    """rows [heads, S, S * P]."""
    S = rows.shape[1]
    by_frame = rows.unflatten(-1, (S, -1)).float().cpu()
    own = torch.stack([by_frame[:, s, s] for s in range(S)])  # [S, heads, P]
    return AttentionMaps(block, own[..., first:].unflatten(-1, grid).numpy(), own.sum(-1).numpy())
