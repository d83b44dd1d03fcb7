"""The annotation format that Dynamic Replica and Co3Dv2 share (PyTorch3D's Implicitron).

Choices
- Row-vector cameras with x left, y up become ours in `axes.from_pytorch3d`.
- `ndc_norm_image_bounds` scales x by W/2 and y by H/2, `ndc_isotropic` both by min(W, H)/2. Co3Dv2 files that state
  the first mean the second in practice; the readers say which they use.
- NDC knows the picture as a continuous area: its middle is (W/2, H/2) from the corner of the first pixel, which is
  (W/2 - 0.5, H/2 - 0.5) in integer pixel centres.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from openmore.data.datasets import axes
from openmore.errors import DataError

ISOTROPIC, NORM_BOUNDS = "ndc_isotropic", "ndc_norm_image_bounds"


def intrinsics_of(focal: list[float], principal_point: list[float], format: str, shape: tuple[int, int]) -> np.ndarray:
    """K [3, 3] in pixels with integer centres for an image of `shape` (H, W)."""
    half = np.array([shape[1], shape[0]]) / 2
    if format == ISOTROPIC:
        rescale = np.full(2, half.min())
    elif format == NORM_BOUNDS:
        rescale = half
    else:
        raise DataError(f"intrinsics format {format!r} is unknown: expected {ISOTROPIC} or {NORM_BOUNDS}")
    f = np.array(focal) * rescale
    c = half - np.array(principal_point) * rescale - 0.5
    return axes.intrinsics(f[0], f[1], c[0], c[1])


def world_from_cam_of(viewpoint: dict[str, Any]) -> np.ndarray:
    """[4, 4] from an annotation's `viewpoint`."""
    return axes.from_pytorch3d(np.array(viewpoint["R"], dtype=np.float64), np.array(viewpoint["T"], dtype=np.float64))
