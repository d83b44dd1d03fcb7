"""Small numpy pieces that every camera metric needs: inverse, steps between frames, angles, RMS.

The rooms above have the same in torch with gradients; metrics stay in float64 numpy so that a number can be followed
with a debugger and a sheet of paper.
"""

from __future__ import annotations

import numpy as np


def relative_steps(world_from_cam: np.ndarray) -> np.ndarray:
    """[N, 4, 4] -> motion from each frame to the next, [N-1, 4, 4], in the earlier camera's axes."""
    return invert(world_from_cam[:-1]) @ world_from_cam[1:]


def invert(b_from_a: np.ndarray) -> np.ndarray:
    """Inverse of rigid transforms [..., 4, 4]."""
    out = np.zeros_like(b_from_a)
    R_t = np.swapaxes(b_from_a[..., :3, :3], -1, -2)
    out[..., :3, :3] = R_t
    out[..., :3, 3] = -(R_t @ b_from_a[..., :3, 3:])[..., 0]
    out[..., 3, 3] = 1
    return out


def rotation_angles(R: np.ndarray) -> np.ndarray:
    """Angles [...] of rotation matrices [..., 3, 3], radians in [0, pi], accurate at both ends."""
    vee = np.stack((R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]), -1)
    trace = np.trace(R, axis1=-2, axis2=-1)
    return np.arctan2(np.linalg.norm(vee, axis=-1) / 2, (trace - 1) / 2)


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))
