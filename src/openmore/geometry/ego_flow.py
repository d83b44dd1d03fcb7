"""Ego flow: where static pixels go when only the camera moves (datasets, section 16)."""

from __future__ import annotations

from torch import Tensor

from openmore.geometry.camera import pixel_grid, project, unproject
from openmore.geometry.rigid import invert, transform_points


def ego_flow(
    depth_a: Tensor, K_a: Tensor, world_from_cam_a: Tensor, K_b: Tensor, world_from_cam_b: Tensor
) -> tuple[Tensor, Tensor]:
    """Flow a -> b [..., 2, H, W] in pixels that depth [..., H, W] and the two cameras predict for static surfaces.

    Also returns `valid` [..., H, W]: depth known, in front of camera b, and inside its image. Occlusion is not
    tested here because it needs camera b's depth.
    """
    shape = (depth_a.shape[-2], depth_a.shape[-1])
    cam_b_from_cam_a = invert(world_from_cam_b) @ world_from_cam_a
    uv_b, z_b = project(transform_points(cam_b_from_cam_a, unproject(depth_a, K_a)), K_b)
    flow = (uv_b - pixel_grid(shape, depth_a.device, depth_a.dtype)).movedim(-1, -3)
    inside = (uv_b[..., 0] >= 0) & (uv_b[..., 0] <= shape[1] - 1) & (uv_b[..., 1] >= 0) & (uv_b[..., 1] <= shape[0] - 1)
    return flow, (depth_a > 0) & (z_b > 1e-6) & inside
