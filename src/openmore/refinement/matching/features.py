"""Key points with descriptors: what frames are matched by, be they neighbours or far apart.

Choices
- SIFT of OpenCV on the grey picture. A low contrast threshold feeds plain indoor walls; a grid of cells, served in
  turns, spreads the points so that one bush does not take them all.
- Descriptors stay the bytes OpenCV computes: 0.25 MB a frame, so a thousand frames stay far below a gigabyte.
- Compared as RootSIFT (Arandjelovic and Zisserman 2012), unit vectors whose matching is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CONTRAST = 0.01  # OpenCV's default 0.04 leaves plain walls empty
CELLS = 8  # along the longer side
RATIO = 0.85  # nearest over second nearest distance; loose, because two-view geometry sorts out the rest


@dataclass(frozen=True)
class Keypoints:
    """Key points of one frame."""

    uv: np.ndarray  # [N, 2] float32, pixels, integer = pixel centre
    descriptors: np.ndarray  # [M <= N, 128] uint8, of the first M points; the others were carried here by flow

    def __len__(self) -> int:
        return len(self.uv)

    def unit(self) -> np.ndarray:
        """RootSIFT vectors [M, 128] float32 of unit length."""
        raw = self.descriptors.astype(np.float32)
        return np.sqrt(raw / np.maximum(raw.sum(1, keepdims=True), 1.0))

    def with_points(self, uv: np.ndarray) -> Keypoints:
        """These key points and more of them [K, 2] without descriptors."""
        return Keypoints(np.concatenate((self.uv, uv.astype(np.float32))), self.descriptors)

    @staticmethod
    def none() -> Keypoints:
        """A frame without any."""
        return Keypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))


def detect(grey: np.ndarray, limit: int, keep: np.ndarray | None = None) -> Keypoints:
    """At most `limit` key points of a grey picture [H, W] uint8; only where `keep` [H, W] is true, when given."""
    import cv2

    sift = cv2.SIFT.create(nfeatures=0, contrastThreshold=CONTRAST)
    # Descriptors of points that are not kept cost less than building the scale space twice.
    found, descriptors = sift.detectAndCompute(grey, None if keep is None else keep.astype(np.uint8))
    if not found:
        return Keypoints.none()
    uv = np.array([point.pt for point in found], np.float32)
    chosen = _spread(uv, np.array([point.response for point in found]), grey.shape, limit)
    return Keypoints(uv[chosen], descriptors[chosen].astype(np.uint8))


def match(a: np.ndarray, b: np.ndarray, ratio: float = RATIO) -> np.ndarray:
    """Mutual nearest neighbours that pass the ratio test: index pairs [M, 2] into the unit vectors [N, 128] of each."""
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), np.int64)
    similarity = a @ b.T
    rows, nearest = np.arange(len(a)), similarity.argmax(1)
    best = similarity[rows, nearest]
    similarity[rows, nearest] = -1.0
    # |x - y|^2 = 2 - 2 <x, y> for unit vectors.
    index = np.flatnonzero((1 - best) < ratio**2 * (1 - similarity.max(1)))
    # The way back is asked of the few that are left: cheaper than the maxima of all columns.
    index = index[(b[nearest[index]] @ a.T).argmax(1) == index] if len(index) else index
    return np.stack((index, nearest[index]), -1)


def _spread(uv: np.ndarray, response: np.ndarray, shape: tuple[int, ...], limit: int) -> np.ndarray:
    """Indices [<= limit] of the strongest points, cell by cell in turns."""
    size = max(shape[:2]) / CELLS
    cell = (uv[:, 1] // size).astype(int) * (CELLS + 1) + (uv[:, 0] // size).astype(int)
    order = np.lexsort((-response, cell))
    starts = np.flatnonzero(np.r_[True, np.diff(cell[order]) != 0])
    turn = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return order[np.argsort(turn, kind="stable")[:limit]]
