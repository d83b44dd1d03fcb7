"""Motion mask loss: binary cross-entropy per known pixel at full resolution (L_motion)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from openmore.training.losses.reduce import drop_outliers, mean_or_zero
from openmore.types import UNKNOWN

MAX_POSITIVE_WEIGHT = 10.0


def motion_loss(logits: Tensor, labels: Tensor, quantile: float | None = 0.98, balance: bool = False) -> Tensor:
    """logits [B, S, H, W]; labels [B, S, H, W] uint8: 0 static, 1 moving, 255 unknown (never enters) -> scalar.

    `quantile` drops the largest per-pixel losses, which are mostly label errors. `balance` weighs moving pixels by
    (static / moving), at most 10, against masks that are nearly empty.
    """
    known = labels != UNKNOWN
    logits, moving = logits[known], (labels[known] == 1).to(logits.dtype)
    weight = None
    if balance:
        count = moving.sum()
        weight = ((moving.numel() - count) / count.clamp_min(1)).clamp(1, MAX_POSITIVE_WEIGHT)
    losses = F.binary_cross_entropy_with_logits(logits, moving, reduction="none", pos_weight=weight)
    return mean_or_zero(drop_outliers(losses, quantile))


def pool_motion(labels: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Labels [B, S, H, W] -> per patch, row-major: share of moving pixels among the known ones, and whether known.

    Both [B, S, h * w]; a patch is known when at least half of its pixels are.
    """
    known = (labels != UNKNOWN).float()
    moving = (labels == 1).float()
    share = F.avg_pool2d(torch.stack((moving, known)).flatten(0, 2)[:, None], patch)
    moving, known = share.view(2, *labels.shape[:2], -1)
    return moving / known.clamp_min(1e-6), known >= 0.5
