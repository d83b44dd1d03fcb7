"""Rigid transforms as 4x4 matrices named by both frames: `b_from_a @ x_a = x_b`."""

from __future__ import annotations

import torch
from torch import Tensor


def rigid(R: Tensor, t: Tensor) -> Tensor:
    """Rotation [..., 3, 3] and translation [..., 3] -> transform [..., 4, 4]."""
    top = torch.cat((R, t[..., None]), -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 3] = 1
    return torch.cat((top, bottom), -2)


def invert(b_from_a: Tensor) -> Tensor:
    """Inverse of a rigid transform [..., 4, 4] (transpose, no solver)."""
    R_t = b_from_a[..., :3, :3].transpose(-1, -2)
    return rigid(R_t, -(R_t @ b_from_a[..., :3, 3:]).squeeze(-1))


def transform_points(b_from_a: Tensor, points_a: Tensor) -> Tensor:
    """Points [..., *N, 3] through [..., 4, 4]; the transform's batch dimensions lead, any N dimensions follow."""
    extra = points_a.dim() - 1 - (b_from_a.dim() - 2)
    T = b_from_a[(..., *(None,) * extra, slice(None), slice(None))]
    return (T[..., :3, :3] @ points_a[..., None]).squeeze(-1) + T[..., :3, 3]


def relative_to_first(world_from_cam: Tensor) -> Tensor:
    """[..., S, 4, 4] -> the same cameras with the first one as the world."""
    return invert(world_from_cam[..., :1, :, :]) @ world_from_cam
