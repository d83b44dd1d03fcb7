"""The pinhole camera: project, unproject, intrinsics and field of view.

Choices
- Pixel (u, v) has its centre at the integer coordinate: no half pixel is added anywhere (docs/conventions.md).
- Depth is z, not distance along the ray.
- `K` is [..., 3, 3] in pixels without skew; `shape` is always (height, width).
"""

from __future__ import annotations

import torch
from torch import Tensor

from openmore.geometry.rigid import transform_points


def pixel_grid(
    shape: tuple[int, int], device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """[H, W, 2]: (u, v) of every pixel centre."""
    v, u = torch.meshgrid(
        torch.arange(shape[0], device=device, dtype=dtype),
        torch.arange(shape[1], device=device, dtype=dtype),
        indexing="ij",
    )
    return torch.stack((u, v), -1)


def unproject(depth: Tensor, K: Tensor) -> Tensor:
    """Depth [..., H, W] and K [..., 3, 3] -> points [..., H, W, 3] in camera axes; depth 0 maps to the centre."""
    uv = pixel_grid((depth.shape[-2], depth.shape[-1]), depth.device, depth.dtype)
    f = torch.stack((K[..., 0, 0], K[..., 1, 1]), -1)[..., None, None, :]
    c = K[..., None, None, :2, 2]
    return torch.cat(((uv - c) / f * depth[..., None], depth[..., None]), -1)


def project(points_cam: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Camera points [..., *N, 3] -> pixels [..., *N, 2] and z [..., *N].

    Points at or behind the camera get finite but meaningless pixels: test z > 0.
    """
    extra = points_cam.dim() - 1 - (K.dim() - 2)
    K = K[(..., *(None,) * extra, slice(None), slice(None))]
    z = points_cam[..., 2]
    safe = torch.where(z.abs() < 1e-9, torch.full_like(z, 1e-9), z)[..., None]
    f = torch.stack((K[..., 0, 0], K[..., 1, 1]), -1)
    return points_cam[..., :2] / safe * f + K[..., :2, 2], z


def depth_to_world(depth: Tensor, K: Tensor, world_from_cam: Tensor) -> Tensor:
    """Depth [..., H, W] -> world points [..., H, W, 3]."""
    return transform_points(world_from_cam, unproject(depth, K))


def fov_from_K(K: Tensor, shape: tuple[int, int]) -> Tensor:
    """[..., 3, 3] -> (fov_h, fov_w) [..., 2] in radians: the vertical one first."""
    half = torch.tensor(shape, dtype=K.dtype, device=K.device) / 2
    return 2 * torch.atan(half / torch.stack((K[..., 1, 1], K[..., 0, 0]), -1))


def K_from_fov(fov: Tensor, shape: tuple[int, int]) -> Tensor:
    """(fov_h, fov_w) [..., 2] in radians -> K [..., 3, 3] with the principal point at (W/2, H/2).

    A field of view of 0 (the head's ReLU can emit it) would be an infinite focal length; it is clamped to 1e-4 rad.
    """
    height, width = shape
    fov = fov.clamp_min(1e-4)
    fy, fx = (height / 2) / torch.tan(fov[..., 0] / 2), (width / 2) / torch.tan(fov[..., 1] / 2)
    o, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = (fx, o, one * (width / 2), o, fy, one * (height / 2), o, o, one)
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def scale_K(K: Tensor, scale_x: float, scale_y: float) -> Tensor:
    """Intrinsics of the same picture resized by (scale_x, scale_y)."""
    return torch.diag(torch.tensor([scale_x, scale_y, 1.0], dtype=K.dtype, device=K.device)) @ K
