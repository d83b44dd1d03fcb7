"""Boxes of masks and non-maximum suppression, so that SAM2 needs no torchvision."""

from __future__ import annotations

import numpy as np


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Masks [N, H, W] bool -> boxes [N, 4] float64 (left, top, right, bottom); zeros for empty masks."""
    boxes = np.zeros((len(masks), 4))
    for k, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            boxes[k] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def box_nms(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Numbers of the boxes [N, 4] that stay, best score first: one is dropped when its IoU with a better one exceeds
    `overlap`. Empty boxes never stay."""
    left = np.argsort(-scores, kind="stable")
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = left[area[left] > 0]
    keep = []
    while len(left):
        best, left = left[0], left[1:]
        keep.append(best)
        corner = np.maximum(boxes[best, :2], boxes[left, :2])
        inner = np.clip(np.minimum(boxes[best, 2:], boxes[left, 2:]) - corner, 0, None).prod(1)
        left = left[inner <= overlap * (area[best] + area[left] - inner)]
    return np.array(keep, dtype=np.int64)
