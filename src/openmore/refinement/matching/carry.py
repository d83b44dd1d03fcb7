"""Points carried from one frame to the next by dense flow, where descriptors cannot follow: blur, little texture.

Choices
- DIS flow with the forward-backward check: on blurred clips it follows two to six times as many corners correctly as
  pyramidal Lucas-Kanade does, and on sharp ones it is as accurate as SIFT (0.15 px).
- A point is kept only where the pictures around both its places are alike: flow across a cut agrees with itself, too.
- Carried points are appended to the key points of both frames, without descriptors. As the next weak step starts from
  them too, tracks go on through any number of bad frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.flow.dis import DISFlow
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.prior import Prior, moving_mask

CORNERS = 500  # points wanted in the first frame
QUALITY = 0.01  # of a corner, relative to the best
SPACING = 6  # pixels between two of them
SURE = 0.6  # least forward-backward confidence
SMALLEST = 16  # pixels; smaller pictures have no flow
ALIKE = 0.7  # least correlation of the two patches: real steps have it at 6 to 10 points of 10, cuts at 0 to 4
PATCH = 5  # pixels to each side


@dataclass(frozen=True)
class Carried:
    """Key points of both frames with the carried ones at their ends, and which belong together."""

    a: Keypoints
    b: Keypoints
    index: np.ndarray  # [M, 2] rows of a and of b


class Carrier:
    """Keeps the last two pictures."""

    def __init__(self) -> None:
        self.previous, self.current = Prior(), Prior()
        self._pictures: list[np.ndarray] = []
        self._flow = DISFlow()

    def show(self, s: int, picture: np.ndarray, prior: Prior) -> None:
        """Take the next frame [H, W, 3] uint8."""
        self._pictures = [*self._pictures[-1:], picture]
        self.previous, self.current = self.current, prior

    def carry(self, a: Keypoints, b: Keypoints) -> Carried:
        """Carry the carried points of the previous frame on, and new corners between them.

        Its SIFT points are left to the descriptors: in a weak step, most of those unmatched lie on blur or plain
        surfaces, where flow is a guess that passes the check.
        """
        none = Carried(a, b, np.zeros((0, 2), np.int64))
        if min(self._pictures[0].shape[:2]) < SMALLEST:
            return none
        loose = np.arange(len(a.descriptors), len(a))
        corners = self._corners(a.uv[loose], CORNERS - len(loose))
        start = np.concatenate((a.uv[loose], corners)).astype(np.float32)
        if not len(start):
            return none
        rows = np.r_[loose, len(a) + np.arange(len(corners))]
        flow = self._flow(*self._pictures)
        at = np.round(start).astype(int)
        ok = flow.confidence[at[:, 1], at[:, 0]] > SURE
        end = start + flow.flow[:, at[:, 1], at[:, 0]].T
        keep = np.flatnonzero(ok)
        keep = keep[alike(self._pictures[0], self._pictures[1], start[keep], end[keep]) > ALIKE]
        index = np.stack((rows[keep], len(b) + np.arange(len(keep))), 1)
        return Carried(a.with_points(corners), b.with_points(end[keep]), index)

    def _corners(self, taken: np.ndarray, wanted: int) -> np.ndarray:
        """Corners of the previous picture [N, 2] away from the points taken and from movers."""
        import cv2

        none = np.zeros((0, 2), np.float32)
        if wanted <= 0:
            return none
        grey = cv2.cvtColor(self._pictures[0], cv2.COLOR_RGB2GRAY)
        moving = moving_mask(self.previous, grey.shape)
        free = np.full(grey.shape, 255, np.uint8) if moving is None else np.where(moving, 0, 255).astype(np.uint8)
        at = np.round(taken).astype(int)
        free[at[:, 1].clip(0, grey.shape[0] - 1), at[:, 0].clip(0, grey.shape[1] - 1)] = 0
        free = cv2.erode(free, np.ones((SPACING, SPACING), np.uint8))
        found = cv2.goodFeaturesToTrack(grey, wanted, QUALITY, SPACING, mask=free)
        return none if found is None else found[:, 0]


def alike(a: np.ndarray, b: np.ndarray, at_a: np.ndarray, at_b: np.ndarray) -> np.ndarray:
    """Correlation [N] in -1..1 of the grey patches of pictures [H, W, 3] around pixels [N, 2]; 0 where one is flat."""
    if not len(at_a):
        return np.zeros(0)
    x, y = _patches(a, at_a), _patches(b, at_b)
    size = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.where(size > 1.0, (x * y).sum(1) / np.maximum(size, 1.0), 0.0)


def _patches(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Grey values [N, (2 PATCH + 1)^2] around pixels, less their mean."""
    import cv2

    v, u = np.mgrid[-PATCH : PATCH + 1, -PATCH : PATCH + 1].reshape(2, 1, -1)
    x, y = (at[:, :1] + u).astype(np.float32), (at[:, 1:] + v).astype(np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    out = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out - out.mean(1, keepdims=True)
