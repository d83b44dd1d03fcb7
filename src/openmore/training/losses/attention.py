"""Attention forcing (L_attn): keep the camera token from looking at what moves.

Inputs are softmaxed attention rows of camera queries over image patches, the share of moving pixels per patch, and
whether that label is known. Three variants, by name:
- `release`: mean of share * attention, no baseline (the authors' code).
- `baseline`: attention relative to uniform, r = attention * number of visible keys; mean of share * max(0, r - c0) over
  known patches (the supplement's C, read as "the default attention level"). `gate="score"` moves the hinge to the
  share: max(0, share - c0) * r.
- `kl`: divergence from the static share to the attention over patches; the supplement's rejected ablation. It pulls
  attention towards uniform even where nothing moves; the other two are exactly zero there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Variant = Literal["none", "release", "baseline", "kl"]
Gate = Literal["attention", "score"]


@dataclass(frozen=True)
class AttentionForcingConfig:
    """Which form, which rows."""

    variant: Variant = "release"
    gate: Gate = "attention"  # baseline only
    c0: float = 1.0  # baseline: neutral level, in units of uniform attention (or of the share, with gate="score")
    per_head: bool = False  # baseline: hinge each head instead of their mean
    layers: Literal["last", "last_third", "all"] = "last"
    blocks: Literal["frame", "global"] = "frame"
    scope: Literal["own", "visible"] = "own"  # global blocks: patches of the query's frame, or of all frames it sees


def attention_forcing(
    attention: Tensor, share: Tensor, known: Tensor, visible: Tensor | int, config: AttentionForcingConfig
) -> Tensor:
    """attention [..., heads, rows, K] over image patches (its rows sum to at most 1: other keys are left out);
    share [..., K] in 0..1; known [..., K] bool; visible: keys the softmax ran over, a number or [..., rows] -> scalar.

    A patch that a row cannot see must come with known = False.
    """
    attention = attention.float()
    share, weight = share[..., None, None, :], known[..., None, None, :]
    if config.variant == "none":
        return (attention * 0).sum()
    if config.variant == "release":
        return _mean_over(torch.where(weight, share * attention, 0), weight)
    if config.variant == "kl":
        return _static_divergence(attention, share, weight)
    return _baseline(attention, share, weight, visible, config)


def _mean_over(x: Tensor, weight: Tensor) -> Tensor:
    return x.sum() / weight.expand_as(x).sum().clamp_min(1)


def _baseline(
    attention: Tensor, share: Tensor, weight: Tensor, visible: Tensor | int, config: AttentionForcingConfig
) -> Tensor:
    if not config.per_head:
        attention = attention.mean(-3, keepdim=True)
    if isinstance(visible, Tensor):
        visible = visible[..., None, :, None]
    relative = attention * visible
    if config.gate == "attention":
        loss = share * (relative - config.c0).clamp_min(0)
    else:
        loss = (share - config.c0).clamp_min(0) * relative
    return _mean_over(torch.where(weight, loss, 0), weight)


def _static_divergence(attention: Tensor, share: Tensor, weight: Tensor) -> Tensor:
    """KL(static share || attention), both normalised over the known patches of a row."""
    attention = torch.where(weight, attention.mean(-3, keepdim=True), 0)
    attention = attention / attention.sum(-1, keepdim=True).clamp_min(1e-12)
    static = torch.where(weight, 1 - share, 0).expand_as(attention)
    static = static / static.sum(-1, keepdim=True).clamp_min(1e-12)
    return (static * (static.clamp_min(1e-12).log() - attention.clamp_min(1e-12).log())).sum(-1).mean()
