"""Masks to look at: overlays for the video, and one explaining picture per frame.

Choices
- Moving is red, unknown blue; the picture stays recognisable under both.
- The explanation shows overlay, residual and regions side by side; each judged region near or above the threshold
  carries its d_k.
"""

from __future__ import annotations

import numpy as np

from openmore.io.colours import ramp
from openmore.masks.report import FrameReport
from openmore.types import MOVING, UNKNOWN

RED, BLUE = np.array([235, 50, 40]), np.array([70, 90, 255])


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture [H, W, 3] uint8 with moving pixels red and unknown ones blue; mask [H, W] uint8."""
    out = image.astype(np.float32)
    for value, colour, strength in ((MOVING, RED, 0.6), (UNKNOWN, BLUE, 0.35)):
        where = mask == value
        out[where] = (1 - strength) * out[where] + strength * colour
    return out.round().astype(np.uint8)


def heat(residual: np.ndarray, threshold: float) -> np.ndarray:
    """Residual [H, W] in pixels as colours [H, W, 3]: the threshold is mid-scale, undecided grey, lost white."""
    scale = threshold if np.isfinite(threshold) and threshold > 0 else 1.0
    known = np.isfinite(residual)
    share = np.where(known, residual, 0) / (2 * scale)
    out = ramp(np.clip(share, 0, 1))
    out[np.isnan(residual)], out[np.isinf(residual)] = 90, 255
    return out


def explanation(
    image: np.ndarray, mask: np.ndarray, residual: np.ndarray, regions: np.ndarray, report: FrameReport
) -> np.ndarray:
    """Overlay | residual | regions with their d_k, as one picture [H + 22, 3 W, 3] with a line of numbers on top."""
    import cv2

    threshold = report.threshold if report.threshold is not None else float("nan")
    panels = [overlay(image, mask), heat(residual.astype(np.float32), threshold), _outlines(image, regions, report)]
    row = np.concatenate(panels, 1)
    header = np.full((22, row.shape[1], 3), 25, np.uint8)
    egos = ", ".join(sorted({pair.ego for pair in report.pairs}))
    values = report.mu, report.sigma, report.floor, report.threshold
    mu, sigma, floor, limit = (f"{x:.2f}" if x is not None else "-" for x in values)
    numbers = f"mu {mu}  sigma {sigma}  floor {floor}  threshold {limit} px"
    text = f"frame {report.index}  ego flow: {egos}  {numbers}"
    cv2.putText(header, text, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
    return np.concatenate((header, row), 0)


def _outlines(image: np.ndarray, regions: np.ndarray, report: FrameReport) -> np.ndarray:
    import cv2

    edge = np.zeros(regions.shape, bool)
    edge[:, 1:] |= regions[:, 1:] != regions[:, :-1]
    edge[1:] |= regions[1:] != regions[:-1]
    out = image.copy()
    out[edge] = (255, 220, 60)
    threshold = report.threshold or 0.0
    for segment in report.segments:
        if segment.d is None or (segment.label != MOVING and segment.d < threshold / 2):
            continue
        v, u = (int(x.mean()) for x in np.nonzero(regions == segment.id))
        colour = (255, 90, 80) if segment.label == MOVING else (255, 255, 255)
        cv2.putText(out, f"{segment.d:.1f}", (u - 8, v + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA)
    return out
