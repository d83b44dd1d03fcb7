"""Forward-backward consistency: follow the flow there and back; who does not come home is occluded or wrong.

Choices
- The test is Sundaram, Brox and Keutzer (2010): |F + B|^2 < 0.01 (|F|^2 + |B|^2) + 0.5, with B read bilinearly at the
  place F points to. Long displacements are allowed proportionally more.
- The soft confidence is 1 / (1 + error / bound): 0.5 exactly where the test just passes, so both answers agree.
- Where F leaves the picture or either flow is NaN, nothing can be checked: confidence 0, occluded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RELATIVE, ABSOLUTE = 0.01, 0.5  # of the squared lengths; squared pixels


class Consistency(NamedTuple):
    """The verdict on a flow field, per pixel of the picture it starts from."""

    confidence: np.ndarray  # [H, W] float32, 0..1
    occluded: np.ndarray  # [H, W] bool, True where the check fails or cannot be made
    error: np.ndarray  # [H, W] float32, |F + B| in pixels; NaN where it cannot be made


def forward_backward(
    flow_ab: np.ndarray, flow_ba: np.ndarray, relative: float = RELATIVE, absolute: float = ABSOLUTE
) -> Consistency:
    """Check flow a -> b [2, H, W] against b -> a [2, H, W], both in pixels."""
    back = sample_at(flow_ba, flow_ab)
    squared = np.square(flow_ab + back).sum(0)
    bound = relative * (np.square(flow_ab).sum(0) + np.square(back).sum(0)) + absolute
    known = np.isfinite(squared)
    ratio = np.divide(squared, bound, out=np.full_like(squared, np.inf), where=known)
    confidence = (1 / (1 + ratio)).astype(np.float32)
    return Consistency(confidence, confidence < 0.5, np.sqrt(squared).astype(np.float32))


def sample_at(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Read `values` [C, H, W] of the second picture where `flow` [2, H, W] points; NaN outside it.

    Bilinear; a NaN among the four neighbours that count makes the answer NaN.
    """
    import cv2

    _, height, width = flow.shape
    v, u = np.mgrid[:height, :width].astype(np.float32)
    x, y = u + flow[0], v + flow[1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)  # NaN flow compares false
    x, y = np.where(inside, x, 0).astype(np.float32), np.where(inside, y, 0).astype(np.float32)
    # OpenCV multiplies NaN by weight 0: sample zeros there, and the share of known neighbours beside it.
    known = np.asarray(np.isfinite(values).all(0), np.float32)
    filled = np.where(known > 0, values, 0).astype(np.float32)
    sampled = np.stack([cv2.remap(c, x, y, cv2.INTER_LINEAR) for c in filled])
    share = cv2.remap(known, x, y, cv2.INTER_LINEAR)
    sampled[:, ~inside | (share < 0.999)] = np.nan
    return sampled
