"""From weighed evidence of several pairs of frames to one residual per pixel, spread within the picture's edges.

Choices
- Pairs are averaged in logarithms: errors of flow and colours are factors, and one wild pair does not decide.
- The guided filter (He et al. 2013) then averages over the pixels of one surface: what cannot be judged (blank,
  occluded, lost) takes the word of its neighbours, and lonely errors drown. Where nothing near was judged it stays NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmore.masks.refine import guided_filter

_RADIUS = 18.0  # pixels at 518 px width
_SOFTNESS = 0.05  # grey levels 0..1 that separate two surfaces
_STATIC, _PULL = 0.3, 0.05  # residual in units of the floor, and the weight it has against the judged neighbours
_LEAST = 0.05  # share of judged neighbours below which a pixel stays undecided


def average(residuals: Sequence[np.ndarray]) -> np.ndarray:
    """Geometric mean [H, W] float32 of positive residuals [H, W], pixels, over the pairs that can tell; NaN = none."""
    stacked = np.stack(residuals)
    told = ~np.isnan(stacked)
    logs = np.log(np.where(told, np.maximum(stacked, 1e-6), 1)).sum(0)
    return np.where(told.any(0), np.exp(logs / np.maximum(told.sum(0), 1)), np.nan).astype(np.float32)


def spread(residual: np.ndarray, image: np.ndarray, floor: float) -> np.ndarray:
    """`residual` [H, W], pixels, NaN = undecided, averaged within the edges of `image` [H, W, 3] uint8."""
    import cv2

    radius = max(round(_RADIUS * image.shape[1] / 518), 2)
    guide = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    judged, floor = ~np.isnan(residual), max(floor, 1e-3)
    logs = np.log(np.where(judged, np.maximum(residual, 1e-6) / floor, 1)).astype(np.float32)
    total = guided_filter(guide, logs, radius, _SOFTNESS**2)
    share = np.maximum(guided_filter(guide, judged.astype(np.float32), radius, _SOFTNESS**2), 0)
    mean = (total + _PULL * np.log(_STATIC)) / (share + _PULL)
    return np.where(share > _LEAST, floor * np.exp(mean), np.nan).astype(np.float32)
