"""Depth up to scale, in logarithms: relative errors count the same near and far.

Not in the paper. The published depth loss counts metres (of a unit-size scene), so far walls drown near things; what a
small network should carry over to real video is the shape of the scene, and AbsRel is a relative error. Off unless a
recipe asks for it.

Choices
- One shift of the logarithm (a scale) per clip, the median of the error, without gradient: frames stay consistent.
- The differences of the error between neighbours, over four strides, keep edges sharp and surfaces smooth.
- With `unknown_is_sky` (true of the synthetic world only) pixels without depth must lie beyond almost all others.
"""

from __future__ import annotations

import torch
from torch import Tensor

STRIDES = (1, 2, 4, 8)
DETAIL = 0.5  # weight of the differences
SKY_QUANTILE, SKY_FACTOR, SKY = 0.95, 1.0, 0.05  # the sky lies SKY_FACTOR times beyond this quantile; its weight


def log_depth_loss(depth: Tensor, truth: Tensor, valid: Tensor, unknown_is_sky: bool = False) -> Tensor:
    """depth (> 0), truth [B, S, H, W], valid [B, S, H, W] bool -> scalar; 0 when nothing is valid."""
    log_depth = depth.clamp_min(1e-6).log()
    error = torch.where(valid, log_depth - truth.clamp_min(1e-6).log(), 0)
    known = [i for i in range(len(depth)) if bool(valid[i].any())]
    if not known:
        return (depth * 0).sum()
    shift = torch.stack([error[i][valid[i]].detach().median() for i in known])[:, None, None, None]
    error, seen = torch.where(valid[known], error[known] - shift, 0), valid[known]
    loss = error.abs().sum() / seen.sum() + DETAIL * torch.stack([_differences(error, seen, s) for s in STRIDES]).mean()
    if unknown_is_sky:
        loss = loss + SKY * _sky_too_near(log_depth[known] - shift, truth[known], seen)
    return loss


def _differences(error: Tensor, valid: Tensor, stride: int) -> Tensor:
    """Mean |difference| of the error between pixels `stride` apart, both valid."""
    total, count = error.new_zeros(()), error.new_zeros(())
    for axis in (-1, -2):
        n = error.shape[axis] - stride
        if n < 1:
            continue
        both = valid.narrow(axis, stride, n) & valid.narrow(axis, 0, n)
        step = (error.narrow(axis, stride, n) - error.narrow(axis, 0, n)).abs()
        total, count = total + (step * both).sum(), count + both.sum()
    return total / count.clamp_min(1)


def _sky_too_near(log_depth: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """How far the sky is from lying behind the scene, mean over its pixels."""
    far = torch.stack([t[v].quantile(SKY_QUANTILE) if v.any() else t.new_ones(()) for t, v in zip(truth, valid)])
    missing = ((SKY_FACTOR * far).log()[:, None, None, None] - log_depth).clamp_min(0)
    return (missing * ~valid).sum() / (~valid).sum().clamp_min(1)
