"""Other people's camera conventions turned into ours: OpenCV axes, world_from_cam, x y z w.

Each function says which world it starts from. All take and return float64 numpy arrays of any leading shape.
"""

from __future__ import annotations

import numpy as np
import torch

from openmore.geometry.rotation import quaternion_to_matrix, so3_exp, so3_log

_FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])
# Rows: our x right, y down, z forward written in NED camera axes (x forward, y right, z down).
_NED_FROM_OPENCV = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
# The same in a vehicle camera's axes (Waymo: x forward, y left, z up).
_FLU_FROM_OPENCV = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])


def invert(b_from_a: np.ndarray) -> np.ndarray:
    """Inverse of rigid transforms [..., 4, 4]; transforms that are not finite stay so instead of raising."""
    R_t = np.swapaxes(b_from_a[..., :3, :3], -1, -2)
    return rigid(R_t, -(R_t @ b_from_a[..., :3, 3:])[..., 0])


def rigid(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """[..., 3, 3] and [..., 3] -> [..., 4, 4]."""
    out = np.zeros((*R.shape[:-2], 4, 4))
    out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = R, t, 1
    return out


def from_quaternion(xyzw: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Quaternions [..., 4] in x y z w order (any norm but 0) and translations [..., 3] -> [..., 4, 4]."""
    return rigid(quaternion_to_matrix(torch.from_numpy(np.ascontiguousarray(xyzw, dtype=np.float64))).numpy(), t)


def from_rotation_vector(omega: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Axis times angle [..., 3] in radians and translations [..., 3] -> [..., 4, 4]."""
    return rigid(so3_exp(torch.from_numpy(np.ascontiguousarray(omega, dtype=np.float64))).numpy(), t)


def between(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Poses [N, 4, 4] at `share` [N] of the way from `a` to `b`: rotation at constant speed, translation linear."""
    R_a = a[:, :3, :3]
    omega = so3_log(torch.from_numpy(np.swapaxes(R_a, -1, -2) @ b[:, :3, :3])).numpy()
    R = R_a @ so3_exp(torch.from_numpy(omega * share[:, None])).numpy()
    return rigid(R, a[:, :3, 3] + share[:, None] * (b[:, :3, 3] - a[:, :3, 3]))


def from_opengl(world_from_gl: np.ndarray) -> np.ndarray:
    """world_from_cam with OpenGL axes (x right, y up, z backwards) -> OpenCV axes, same world."""
    return world_from_gl @ _FLIP_YZ


def from_ned(world_from_ned: np.ndarray) -> np.ndarray:
    """world_from_cam with NED axes (x forward, y right, z down) -> OpenCV axes; the world stays NED."""
    return world_from_ned @ _NED_FROM_OPENCV


def from_vehicle(world_from_flu: np.ndarray) -> np.ndarray:
    """world_from_cam with x forward, y left, z up -> OpenCV axes, same world."""
    return world_from_flu @ _FLU_FROM_OPENCV


def from_pytorch3d(R: np.ndarray, T: np.ndarray) -> np.ndarray:
    """PyTorch3D's row-vector `x_cam = x_world R + T` with x left, y up [..., 3, 3], [..., 3] -> world_from_cam."""
    flip = np.array([-1.0, -1.0, 1.0])
    return invert(rigid(np.swapaxes(R * flip, -1, -2), T * flip))


def intrinsics(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """K [3, 3]."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def scale_intrinsics(K: np.ndarray, scale_x: float, scale_y: float) -> np.ndarray:
    """K [..., 3, 3] of the picture resized by the given factors."""
    return np.diag([scale_x, scale_y, 1.0]) @ K
