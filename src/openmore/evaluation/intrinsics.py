"""Errors of predicted intrinsics: focal length, field of view, principal point."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from openmore.errors import DataError


@dataclass(frozen=True)
class IntrinsicsErrors:
    """Medians over frames."""

    focal_relative: float  # |f - f_true| / f_true, mean of both axes
    fov_deg: float  # |fov - fov_true|, mean of both axes
    principal_point: float  # distance of the principal points, share of the image diagonal

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def intrinsics_errors(estimate: np.ndarray, truth: np.ndarray, shape: tuple[int, int]) -> IntrinsicsErrors:
    """Both K [S, 3, 3] in pixels of the same image of `shape` (H, W).

    Raises DataError when the shapes differ or a focal length is not positive.
    """
    if estimate.shape != truth.shape or truth.shape[-2:] != (3, 3):
        raise DataError(f"intrinsics must be the same [S, 3, 3]: estimate {estimate.shape}, truth {truth.shape}")
    f_est, f_true = focals(estimate), focals(truth)
    if not ((f_est > 0).all() and (f_true > 0).all()):
        raise DataError("focal lengths must be positive in both estimate and truth: check the intrinsics")
    half = np.array([shape[1], shape[0]]) / 2
    fov_error = np.degrees(2 * np.abs(np.arctan(half / f_est) - np.arctan(half / f_true)))
    center_error = np.linalg.norm(estimate[:, :2, 2] - truth[:, :2, 2], axis=-1) / np.hypot(*shape)
    return IntrinsicsErrors(
        float(np.median((np.abs(f_est - f_true) / f_true).mean(-1))),
        float(np.median(fov_error.mean(-1))),
        float(np.median(center_error)),
    )


def focals(K: np.ndarray) -> np.ndarray:
    """(fx, fy) [S, 2] of K [S, 3, 3]."""
    return np.stack((K[:, 0, 0], K[:, 1, 1]), -1)
