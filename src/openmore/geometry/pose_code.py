"""The 9-number pose code of the checkpoints ("absT_quaR_FoV"): [t(3), quaternion xyzw(4), fov_h, fov_w].

t and the quaternion are those of **cam_from_world**; the principal point is not part of the code and decodes to
(W/2, H/2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from openmore.geometry.camera import K_from_fov, fov_from_K
from openmore.geometry.rigid import rigid
from openmore.geometry.rotation import matrix_to_quaternion, quaternion_to_matrix


def encode_pose(cam_from_world: Tensor, K: Tensor, shape: tuple[int, int]) -> Tensor:
    """[..., 4, 4] (or [..., 3, 4]) and K [..., 3, 3] of an image of `shape` (H, W) -> code [..., 9]."""
    quaternion = matrix_to_quaternion(cam_from_world[..., :3, :3])
    return torch.cat((cam_from_world[..., :3, 3], quaternion, fov_from_K(K, shape)), -1)


def decode_pose(code: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Code [..., 9] -> cam_from_world [..., 4, 4] and K [..., 3, 3] for an image of `shape` (H, W)."""
    cam_from_world = rigid(quaternion_to_matrix(code[..., 3:7]), code[..., :3])
    return cam_from_world, K_from_fov(code[..., 7:9], shape)
