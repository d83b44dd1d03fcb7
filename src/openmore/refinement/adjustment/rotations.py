"""Rotation matrices and vectors, many at once."""

from __future__ import annotations

import numpy as np


def exp_so3(omega: np.ndarray) -> np.ndarray:
    """Rotation vectors [N, 3] -> matrices [N, 3, 3]."""
    theta2 = np.square(omega).sum(-1)[:, None, None]
    theta = np.sqrt(np.maximum(theta2, 1e-16))
    small = theta2 < 1e-8
    a = np.where(small, 1 - theta2 / 6, np.sin(theta) / theta)
    b = np.where(small, 0.5 - theta2 / 24, (1 - np.cos(theta)) / theta**2)
    W = cross_matrix(omega)
    return np.eye(3) + a * W + b * (W @ W)


def cross_matrix(v: np.ndarray) -> np.ndarray:
    """[N, 3] -> [N, 3, 3] with cross_matrix(v) @ x = v x x."""
    out = np.zeros((len(v), 3, 3))
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
    return out - out.swapaxes(1, 2)


def log_so3(R: np.ndarray) -> np.ndarray:
    """Matrices [N, 3, 3] -> rotation vectors [N, 3], for turns of less than half a circle."""
    axis = np.stack((R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]), 1) / 2
    sine = np.linalg.norm(axis, axis=1)
    angle = np.arctan2(sine, (np.trace(R, axis1=1, axis2=2) - 1) / 2)
    return axis * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 1.0)[:, None]


def angle_between(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Angles [N] in radians between vectors [N, 3]."""
    return np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), (u * v).sum(1))
