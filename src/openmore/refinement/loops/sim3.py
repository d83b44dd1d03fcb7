"""Similarities of space as 4x4 matrices [sR, t; 0, 1]: exponential map, adjoint, the best one between two point sets.

Choices
- A tangent vector is (translation, rotation, log scale) [7]; increments multiply from the right.
- The translation part of exp is a function of the matrix log(s) I + [w]x, whose eigenvalues are log(s) and
  log(s) +- i |w|: one complex function covers the cases that closed forms treat apart.
"""

from __future__ import annotations

import numpy as np

from openmore.refinement.adjustment.rotations import cross_matrix, exp_so3, log_so3

TRIALS = 200  # of RANSAC; three inliers among one third of the matches are missed with a probability below 0.1 percent


def exp(xi: np.ndarray) -> np.ndarray:
    """Tangent vectors [N, 7] -> similarities [N, 4, 4]."""
    out = np.tile(np.eye(4), (len(xi), 1, 1))
    out[:, :3, :3] = np.exp(xi[:, 6])[:, None, None] * exp_so3(xi[:, 3:6])
    out[:, :3, 3] = (_carrier(xi[:, 3:6], xi[:, 6], inverse=False) @ xi[:, :3, None])[..., 0]
    return out


def log(S: np.ndarray) -> np.ndarray:
    """Similarities [N, 4, 4] -> tangent vectors [N, 7] for turns of less than half a circle."""
    scale = scale_of(S)
    omega, sigma = log_so3(S[:, :3, :3] / scale[:, None, None]), np.log(scale)
    t = (_carrier(omega, sigma, inverse=True) @ S[:, :3, 3:])[..., 0]
    return np.concatenate((t, omega, sigma[:, None]), 1)


def adjoint(S: np.ndarray) -> np.ndarray:
    """[N, 7, 7] with S exp(x) = exp(adjoint(S) x) S."""
    sR, t = S[:, :3, :3], S[:, :3, 3]
    R = sR / scale_of(S)[:, None, None]
    out = np.zeros((len(S), 7, 7))
    out[:, :3, :3], out[:, 3:6, 3:6], out[:, 6, 6] = sR, R, 1
    out[:, :3, 3:6], out[:, :3, 6] = cross_matrix(t) @ R, -t
    return out


def right_jacobian_inverse(xi: np.ndarray) -> np.ndarray:
    """[N, 7, 7] with log(exp(x) exp(d)) = x + right_jacobian_inverse(x) d for small d; to third order in x."""
    ad = np.zeros((len(xi), 7, 7))
    t, omega, sigma = xi[:, :3], xi[:, 3:6], xi[:, 6]
    ad[:, :3, :3] = cross_matrix(omega) + sigma[:, None, None] * np.eye(3)
    ad[:, 3:6, 3:6], ad[:, :3, 3:6], ad[:, :3, 6] = cross_matrix(omega), cross_matrix(t), -t
    return np.eye(7) + ad / 2 + ad @ ad / 12


def inverse(S: np.ndarray) -> np.ndarray:
    """Inverses [N, 4, 4]."""
    out = np.tile(np.eye(4), (len(S), 1, 1))
    out[:, :3, :3] = S[:, :3, :3].swapaxes(1, 2) / np.square(scale_of(S))[:, None, None]
    out[:, :3, 3] = -(out[:, :3, :3] @ S[:, :3, 3:])[..., 0]
    return out


def scale_of(S: np.ndarray) -> np.ndarray:
    """Scales [N] of similarities [N, 4, 4]."""
    return np.cbrt(np.linalg.det(S[:, :3, :3]))


def apply(S: np.ndarray, xyz: np.ndarray) -> np.ndarray:
    """Points [N, 3] moved by one similarity [4, 4]."""
    return xyz @ S[:3, :3].T + S[:3, 3]


def between(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """On the way from a [N, 4, 4] to b, `share` [N] of it done."""
    return a @ exp(share[:, None] * log(inverse(a) @ b))


def align(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """b_from_a [N, 4, 4]: least squares over points a, b [N, M >= 3, 3] (Umeyama 1991).

    Points on a line leave the turn about it open.
    """
    mean_a, mean_b = a.mean(1, keepdims=True), b.mean(1, keepdims=True)
    x, y = a - mean_a, b - mean_b
    U, D, Vt = np.linalg.svd(y.swapaxes(1, 2) @ x)
    D[:, 2] *= (sign := np.where(np.linalg.det(U @ Vt) < 0, -1.0, 1.0))
    U[:, :, 2] *= sign[:, None]
    scale = D.sum(1) / np.maximum(np.square(x).sum((1, 2)), 1e-300)
    out = np.tile(np.eye(4), (len(a), 1, 1))
    out[:, :3, :3] = np.maximum(scale, 1e-12)[:, None, None] * (U @ Vt)
    out[:, :3, 3] = mean_b[:, 0] - (out[:, :3, :3] @ mean_a.swapaxes(1, 2))[..., 0]
    return out


def ransac(a: np.ndarray, b: np.ndarray, width: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """b_from_a [4, 4] of points a, b [M, 3] and which of them agree [M] bool: within `width` [M], in units of b.

    None agree where there are fewer than three.
    """
    if len(a) < 3:
        return np.eye(4), np.zeros(len(a), bool)
    rng = np.random.default_rng(seed)
    pick = rng.random((TRIALS, len(a))).argpartition(2, axis=1)[:, :3] if len(a) > 3 else np.arange(3)[None]
    models = align(a[pick], b[pick])
    off = np.linalg.norm(a @ models[:, :3, :3].swapaxes(1, 2) + models[:, None, :3, 3] - b, axis=2)
    best = int(np.minimum(off / width, 1).sum(1).argmin())
    model, inlier = models[best], off[best] < width
    for _ in range(3):
        if inlier.sum() < 3:
            return model, np.zeros(len(a), bool)
        model = align(a[None, inlier], b[None, inlier])[0]
        inlier = np.linalg.norm(apply(model, a) - b, axis=1) < width
    return model, inlier


def _carrier(omega: np.ndarray, sigma: np.ndarray, inverse: bool) -> np.ndarray:
    """[N, 3, 3]: (e^W - 1) / W of W = sigma I + [omega]x, or its inverse."""
    theta = np.linalg.norm(omega, axis=1)
    axis = cross_matrix(omega / np.maximum(theta, 1e-300)[:, None])
    along, around = _phi(sigma + 0j), _phi(sigma + 1j * theta)
    if inverse:
        along, around = 1 / along, 1 / around
    k, p, q = (np.asarray(x)[:, None, None] for x in (np.real(along), np.real(around), np.imag(around)))
    return k * (np.eye(3) + axis @ axis) - p * (axis @ axis) + q * axis


def _phi(z: np.ndarray) -> np.ndarray:
    """(e^z - 1) / z."""
    small = np.abs(z) < 1e-4
    safe = np.where(small, 1, z)
    return np.where(small, 1 + z / 2 + z * z / 6, (np.exp(safe) - 1) / safe)
