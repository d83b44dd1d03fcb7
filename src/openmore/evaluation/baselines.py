"""Methods without a network, so that a number means something: what doing nothing, or OpenCV alone, would score.

Choices
- "no motion": the camera stands still. "constant velocity": it glides straight ahead; after a Sim(3) alignment every
  straight even motion is this one. "constant depth": everything is one unit away.
- "two-view": SIFT, essential matrix by MAGSAC, chained; the length of each step follows from points that three frames
  share. It is given the true intrinsics, which the network is not, or a 55 degree lens where nobody knows them.
  Pairs with too few matches repeat the last step.
- Baselines predict no intrinsics, so that nobody scores with numbers that were handed to them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openmore.evaluation.matching import Features, features_of, match
from openmore.evaluation.poses import invert
from openmore.evaluation.prediction import Clip, Prediction

MIN_MATCHES = 15
STILL_PX = 0.5  # median displacement below which a pair did not move
RANSAC_PX, RANSAC_CONFIDENCE = 1.0, 0.999
ASSUMED_FOV_DEG = 55.0


class NoMotion:
    """The camera stands still; nothing moves; everything is one unit away."""

    name = "no motion"

    def describe(self) -> dict[str, Any]:
        return {"baseline": self.name}

    def predict(self, clip: Clip) -> Prediction:
        count, height, width = clip.images.shape[:3]
        depth = np.ones((count, height // 8, width // 8), np.float32)
        return Prediction(np.tile(np.eye(4), (count, 1, 1)), depth=depth, motion=np.zeros_like(depth))


class ConstantVelocity:
    """The camera glides straight ahead without turning."""

    name = "constant velocity"

    def describe(self) -> dict[str, Any]:
        return {"baseline": self.name}

    def predict(self, clip: Clip) -> Prediction:
        poses = np.tile(np.eye(4), (len(clip.images), 1, 1))
        poses[:, 2, 3] = np.arange(len(poses))
        return Prediction(poses)


class TwoView:
    """Essential-matrix odometry with OpenCV, given the true intrinsics where they are known, unless told not to."""

    def __init__(self, known_K: bool = True):
        self.known_K = known_K
        self.name = "two-view SIFT" if known_K else "two-view SIFT without K"

    def describe(self) -> dict[str, Any]:
        return {"baseline": self.name, "ransac_px": RANSAC_PX, "min_matches": MIN_MATCHES}

    def predict(self, clip: Clip) -> Prediction:
        begun = time.perf_counter()
        K = clip.K if self.known_K and clip.K is not None else assumed_K(clip)
        chain = Chain()
        previous = features_of(clip.images[0])
        for i in range(1, len(clip.images)):
            current = features_of(clip.images[i])
            chain.add(two_view(previous, current, K[i - 1], K[i]))
            previous = current
        return Prediction(np.stack(chain.poses), seconds=time.perf_counter() - begun)


def assumed_K(clip: Clip) -> np.ndarray:
    """[S, 3, 3] of a lens that sees 55 degrees along the longer side."""
    count, height, width = clip.images.shape[:3]
    focal = max(height, width) / 2 / np.tan(np.radians(ASSUMED_FOV_DEG) / 2)
    return np.tile(np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]]), (count, 1, 1))


@dataclass(frozen=True)
class Step:
    """The motion between two frames, with unit translation (or none), and what it triangulated."""

    b_from_a: np.ndarray  # [4, 4]
    keys_a: np.ndarray  # [M] feature indices in a
    keys_b: np.ndarray  # [M] feature indices in b
    depth_a: np.ndarray  # [M] in units of the step
    depth_b: np.ndarray  # [M]


def two_view(a: Features, b: Features, K_a: np.ndarray, K_b: np.ndarray) -> Step | None:
    """Relative camera of two frames; None when they do not match well enough. Identity when nothing moved."""
    import cv2

    pairs = match(a, b)
    if len(pairs) < MIN_MATCHES:
        return None
    uv_a, uv_b = a.uv[pairs[:, 0]], b.uv[pairs[:, 1]]
    empty = np.zeros(0)
    if np.median(np.linalg.norm(uv_a - uv_b, axis=1)) < STILL_PX:
        return Step(np.eye(4), empty.astype(int), empty.astype(int), empty, empty)
    x_a, x_b = normalised(uv_a, K_a), normalised(uv_b, K_b)
    threshold = RANSAC_PX / ((K_a[0, 0] + K_b[0, 0]) / 2)
    cv2.setRNGSeed(0)  # its draws come from OpenCV's global generator
    E, inliers = cv2.findEssentialMat(
        x_a, x_b, np.eye(3), method=cv2.USAC_MAGSAC, prob=RANSAC_CONFIDENCE, threshold=threshold
    )
    if E is None or E.shape != (3, 3):
        return None
    count, R, t, mask, points = cv2.recoverPose(E, x_a, x_b, np.eye(3), distanceThresh=1e3, mask=inliers)
    if count < MIN_MATCHES:
        return None
    b_from_a = np.eye(4)
    b_from_a[:3, :3], b_from_a[:3, 3] = R, t[:, 0]
    good = mask.ravel() > 0
    xyz = (points[:3] / points[3]).T[good]
    depth_b = (xyz @ R.T + t[:, 0])[:, 2]
    return Step(b_from_a, pairs[good, 0], pairs[good, 1], xyz[:, 2], depth_b)


def normalised(uv: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Pixels [M, 2] -> coordinates on the plane z = 1."""
    return (uv - K[:2, 2]) / (K[0, 0], K[1, 1])


@dataclass
class Chain:
    """Steps put one after the other, each scaled to the one before."""

    poses: list[np.ndarray] = field(default_factory=lambda: [np.eye(4)])  # world_from_cam
    length: float = 1.0  # of the last step that moved
    last: Step | None = None

    def add(self, step: Step | None) -> None:
        """Append a frame. A failed step repeats the last motion."""
        if step is None:
            previous = invert(self.poses[-2]) @ self.poses[-1] if len(self.poses) > 1 else np.eye(4)
            self.poses.append(self.poses[-1] @ previous)
            self.last = None
            return
        if len(step.keys_a):
            self.length *= self._ratio(step)
            self.last = step
        b_from_a = step.b_from_a.copy()
        b_from_a[:3, 3] *= self.length
        self.poses.append(self.poses[-1] @ invert(b_from_a))

    def _ratio(self, step: Step) -> float:
        """Length of this step over the last one, from points both triangulated."""
        if self.last is None:
            return 1.0
        _, before, now = np.intersect1d(self.last.keys_b, step.keys_a, return_indices=True)
        depth_before, depth_now = self.last.depth_b[before], step.depth_a[now]
        good = (depth_before > 0) & (depth_now > 0)
        if good.sum() < 5:
            return 1.0
        # A wild ratio is a degenerate pair, not an acceleration.
        return float(np.clip(np.median(depth_before[good] / depth_now[good]), 0.1, 10))


BASELINES = (NoMotion, ConstantVelocity, TwoView)
