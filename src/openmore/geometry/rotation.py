"""Rotations: quaternions in x y z w order, the exponential map, geodesic angles.

Choices
- Quaternions need not be normalised before decoding (the network emits raw ones).
- Encoding returns w >= 0 and takes the best-conditioned of four branches, so half turns are exact.
- Angles come from atan2, whose gradient is finite at 0 and pi (training_recipe: camera loss).
"""

from __future__ import annotations

import torch
from torch import Tensor


def quaternion_to_matrix(xyzw: Tensor) -> Tensor:
    """Quaternion [..., 4] (x y z w, any norm but 0) -> rotation matrix [..., 3, 3]."""
    x, y, z, w = xyzw.unbind(-1)
    s = 2.0 / (xyzw * xyzw).sum(-1)
    rows = (
        1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w),
        s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w),
        s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_to_quaternion(R: Tensor) -> Tensor:
    """Rotation matrix [..., 3, 3] -> unit quaternion [..., 4] (x y z w), w >= 0."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = R.flatten(-2).unbind(-1)
    # Four times the square of each component; the largest is the safe divisor.
    squares = torch.stack((1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22, 1 + m00 + m11 + m22), -1)
    candidates = torch.stack(
        (
            torch.stack((squares[..., 0], m01 + m10, m02 + m20, m21 - m12), -1),
            torch.stack((m01 + m10, squares[..., 1], m12 + m21, m02 - m20), -1),
            torch.stack((m02 + m20, m12 + m21, squares[..., 2], m10 - m01), -1),
            torch.stack((m21 - m12, m02 - m20, m10 - m01, squares[..., 3]), -1),
        ),
        -2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    q = candidates.gather(-2, best).squeeze(-2)
    q = q / q.norm(dim=-1, keepdim=True)
    return torch.where(q[..., 3:] < 0, -q, q)


def skew(v: Tensor) -> Tensor:
    """Vector [..., 3] -> matrix [..., 3, 3] with skew(v) @ x = v x x."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack((o, -z, y, z, o, -x, -y, x, o), -1).unflatten(-1, (3, 3))


def so3_exp(omega: Tensor) -> Tensor:
    """Rotation vector [..., 3] in radians -> rotation matrix [..., 3, 3] (Rodrigues)."""
    theta2 = (omega * omega).sum(-1)[..., None, None]
    small = theta2 < 1e-8
    theta = torch.where(small, torch.ones_like(theta2), theta2).sqrt()
    a = torch.where(small, 1 - theta2 / 6, theta.sin() / theta)
    b = torch.where(small, 0.5 - theta2 / 24, (1 - theta.cos()) / theta**2)
    W = skew(omega)
    return torch.eye(3, dtype=omega.dtype, device=omega.device) + a * W + b * (W @ W)


def so3_log(R: Tensor) -> Tensor:
    """Rotation matrix [..., 3, 3] -> rotation vector [..., 3] in radians, norm in [0, pi]."""
    q = matrix_to_quaternion(R)
    v, w = q[..., :3], q[..., 3:]
    n = v.norm(dim=-1, keepdim=True)
    factor = torch.where(n < 1e-9, 2.0 / w.clamp_min(1e-9), 2 * torch.atan2(n, w) / n.clamp_min(1e-12))
    return factor * v


def rotation_angle(R: Tensor) -> Tensor:
    """Geodesic angle [...] of a rotation matrix [..., 3, 3], radians in [0, pi]."""
    vee = torch.stack((R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]), -1)
    trace = R.diagonal(dim1=-2, dim2=-1).sum(-1)
    # The tiny constant keeps the norm's gradient finite at the identity.
    sine = (vee.square().sum(-1) + 1e-24).sqrt() / 2
    return torch.atan2(sine, (trace - 1) / 2)
