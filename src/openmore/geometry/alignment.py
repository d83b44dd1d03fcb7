"""Closed-form alignment of point sets by a rigid motion or a similarity (Umeyama 1991)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Similarity(NamedTuple):
    """x_target = scale * R @ x_source + t."""

    scale: Tensor  # [...]
    R: Tensor  # [..., 3, 3]
    t: Tensor  # [..., 3]

    def apply(self, points: Tensor) -> Tensor:
        """Points [..., N, 3] of the source -> target frame."""
        return self.scale[..., None, None] * points @ self.R.transpose(-1, -2) + self.t[..., None, :]


def align_points(source: Tensor, target: Tensor, with_scale: bool = True, weights: Tensor | None = None) -> Similarity:
    """Least-squares similarity from `source` to `target`, both [..., N, 3].

    `weights` [..., N] are at least 0 with a positive sum; default equal.
    Coinciding source points give scale 1 (nothing can be said). The caller checks for degenerate shapes (all points
    on a line leave a rotation about it free).
    """
    w = torch.ones_like(source[..., 0]) if weights is None else weights
    w = (w / w.sum(-1, keepdim=True))[..., None]
    mean_s, mean_t = (w * source).sum(-2), (w * target).sum(-2)
    s, t = source - mean_s[..., None, :], target - mean_t[..., None, :]
    U, D, Vh = torch.linalg.svd((w * t).transpose(-1, -2) @ s)
    sign = torch.ones_like(D)
    sign[..., 2] = torch.where(torch.linalg.det(U @ Vh) < 0, -1.0, 1.0)
    R = (U * sign[..., None, :]) @ Vh
    scale = torch.ones_like(D[..., 0])
    if with_scale:
        variance = (w * s * s).sum((-1, -2))
        # Equal points differ from their own mean by rounding, which must not pass for a spread.
        rounding = 16 * torch.finfo(w.dtype).eps
        spread = variance > rounding**2 * (w * source * source).sum((-1, -2))
        scale = torch.where(spread, (D * sign).sum(-1) / torch.where(spread, variance, scale), scale)
    translation = mean_t - scale[..., None] * (R @ mean_s[..., None]).squeeze(-1)
    return Similarity(scale, R, translation)
