"""How per-pixel and per-stage losses become one number.

Choices
- Outliers are dropped per group of pixels: of more than `MIN_KEPT` values, those at or above the quantile go.
- An empty group gives an exact zero that is still part of the graph, so that every rank takes the same steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

HARD_MAX = 100.0  # a single pixel never counts for more (VGGT training code)
MIN_KEPT = 1000  # fewer values than this are too few to judge which are outliers


def mean_or_zero(values: Tensor) -> Tensor:
    """Mean of all values; 0 (with a gradient of 0) when there are none."""
    return values.sum() / max(values.numel(), 1)


def drop_outliers(values: Tensor, quantile: float | None) -> Tensor:
    """Values [N] below their `quantile`, clamped at `HARD_MAX`; all of them when N is small or `quantile` is None."""
    if quantile is None or values.numel() <= MIN_KEPT:
        return values
    values = values.clamp(max=HARD_MAX)
    kept = values < _quantile(values.detach(), quantile)
    return values[kept] if int(kept.sum()) > MIN_KEPT else values


def stage_mean(stages: Sequence[Tensor], decay: float = 0.6) -> Tensor:
    """Mean over refinement stages, stage k of n weighted by decay^(n - 1 - k): the last one counts fully."""
    weights = [decay ** (len(stages) - 1 - k) for k in range(len(stages))]
    return torch.stack([w * stage for w, stage in zip(weights, stages)]).mean()


def _quantile(values: Tensor, q: float) -> Tensor:
    """The value nearest to the quantile, by selection: no sort, and no limit of 16 million values."""
    return values.kthvalue(1 + round(q * (values.numel() - 1))).values
