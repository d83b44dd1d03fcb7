"""What two frames say about each other: verified matches, how still they are, whether a rotation explains them.

Choices
- The fundamental matrix (MAGSAC++) verifies matches, with or without known intrinsics: it costs 5 ms, and bundle
  adjustment removes the few that it lets through.
- Where most matches move, those that stand still have no vote: writing on the screen moves with the camera.
- `still` is measured on all matches, before any model: with a fixed camera the epipolar geometry means nothing.
- The rotation test fits only three numbers, so unlike a homography it does not mistake a wall for a tripod.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.refinement.adjustment.rotations import angle_between

LEAST_MATCHES = 16  # verified matches below which a pair says nothing
STILL_PX = 0.75  # displacement below which a point stands still, at 640 pixels
ALL_STILL = 0.97  # share of still matches above which there is no epipolar geometry to look for
EPIPOLAR_PX = 1.0  # distance from the epipolar line below which a match agrees
ROTATION_PX = 1.5  # residual below which a rotation explains a match


@dataclass(frozen=True)
class Pair:
    """Two frames with enough verified matches."""

    a: int
    b: int
    index: np.ndarray  # [M, 2] rows of the key points of a and of b, inliers of F
    F: np.ndarray | None  # [3, 3], x_b^T F x_a = 0; None when nothing moved
    still_share: float  # of all matches, those that moved less than STILL_PX
    plane_share: float  # of the inliers of F, those one homography explains too


def verify(a: int, b: int, uv_a: np.ndarray, uv_b: np.ndarray, index: np.ndarray) -> Pair | None:
    """Test matches `index` [M, 2] of key points uv_a, uv_b; None when too few agree with one epipolar geometry."""
    if len(index) < LEAST_MATCHES:
        return None
    xa, xb = uv_a[index[:, 0]], uv_b[index[:, 1]]
    still = np.linalg.norm(xb - xa, axis=1) < STILL_PX
    if still.mean() > ALL_STILL:
        return Pair(a, b, index[still], None, float(still.mean()), 1.0)
    F, inlier = _fundamental_of_movement(xa, xb, still)
    if F is None or inlier.sum() < LEAST_MATCHES:
        return None
    return Pair(a, b, index[inlier], F, float(still.mean()), _plane_share(xa[inlier], xb[inlier]))


def _fundamental_of_movement(xa: np.ndarray, xb: np.ndarray, still: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """`_fundamental`, found without the matches that stand `still` [M] where these are a minority.

    Writing, logos and a car's bonnet stand still whatever the camera does, and agree with any translation straight
    ahead. What is far away does not: it agrees with what moves, and stays.
    """
    if not LEAST_MATCHES <= still.sum() < (~still).sum():
        return _fundamental(xa, xb)
    F, moved = _fundamental(xa[~still], xb[~still])
    inlier = np.zeros(len(xa), bool)
    if F is not None:
        inlier[~still] = moved
        inlier[still] = epipolar_distance(F, xa[still], xb[still]) < EPIPOLAR_PX
    return F, inlier


def _fundamental(xa: np.ndarray, xb: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Fundamental matrix and its inliers [M] bool; none when the matches are degenerate."""
    import cv2

    try:
        F, mask = cv2.findFundamentalMat(xa, xb, cv2.USAC_MAGSAC, EPIPOLAR_PX, 0.999, 2000)
    except cv2.error:  # OpenCV 5 asserts where it finds no model at all
        return None, np.zeros(len(xa), bool)
    if F is None or F.shape != (3, 3):
        return None, np.zeros(len(xa), bool)
    return F, mask.ravel() > 0


def _plane_share(xa: np.ndarray, xb: np.ndarray) -> float:
    """Share of the matches that one homography explains."""
    import cv2

    try:
        _, mask = cv2.findHomography(xa, xb, cv2.USAC_MAGSAC, 2.0, maxIters=1000)
    except cv2.error:
        return 0.0
    return 0.0 if mask is None else float((mask > 0).mean())


def bearings(uv: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Unit rays [N, 3] through pixels [N, 2]."""
    rays = np.concatenate(((uv - K[:2, 2]) / np.diag(K)[:2], np.ones((len(uv), 1))), 1)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def fit_rotation(rays_a: np.ndarray, rays_b: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3, 3] that takes rays [N, 3] of a to those of b, robustly, and its residual angles [N] in radians.

    `width` (radians) is where a residual begins to count as an outlier.
    """
    weight = np.ones(len(rays_a))
    for _ in range(8):
        U, _, Vt = np.linalg.svd((weight[:, None] * rays_b).T @ rays_a)
        R = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
        residual = np.linalg.norm(rays_b - rays_a @ R.T, axis=1)
        weight = 1 / (1 + np.square(residual / width)) ** 2
    return R, residual


def epipolar_distance(F: np.ndarray, xa: np.ndarray, xb: np.ndarray) -> np.ndarray:
    """Sampson distance [N] in pixels of matches [N, 2] from the epipolar geometry F [3, 3]."""
    one = np.ones((len(xa), 1))
    a, b = np.concatenate((xa, one), 1), np.concatenate((xb, one), 1)
    to_b, to_a = a @ F.T, b @ F
    slope = np.square(to_b[:, :2]).sum(1) + np.square(to_a[:, :2]).sum(1)
    return np.abs((b * to_b).sum(1)) / np.sqrt(np.maximum(slope, 1e-30))


@dataclass(frozen=True)
class RelativeMotion:
    """Motion between two frames from their essential matrix."""

    b_from_a: np.ndarray  # [4, 4], unit translation
    inliers: int  # matches in front of both cameras
    angle_deg: float  # median angle between the two rays of an inlier
    parallax: float  # sum of those angles, each at most 6 degrees: how much structure the pair holds


def relative_motion(uv_a: np.ndarray, uv_b: np.ndarray, K: np.ndarray) -> RelativeMotion | None:
    """Five-point RANSAC on matched pixels [N, 2]; None when it finds nothing."""
    import cv2

    uv_a, uv_b = uv_a.astype(np.float64), uv_b.astype(np.float64)
    try:
        E, mask = cv2.findEssentialMat(uv_a, uv_b, K, cv2.USAC_MAGSAC, 0.999, 1.0)
    except cv2.error:
        return None
    if E is None or E.shape != (3, 3):
        return None
    _, R, t, mask, points = cv2.recoverPose(E, uv_a, uv_b, K, distanceThresh=1e6, mask=mask)
    front = mask.ravel() > 0
    if front.sum() < LEAST_MATCHES:
        return None
    from_a = (points[:3, front] / points[3, front]).T
    from_b = from_a + (R.T @ t).ravel()
    angle = np.degrees(angle_between(from_a, from_b))
    b_from_a = np.eye(4)
    b_from_a[:3, :3], b_from_a[:3, 3] = R, t.ravel()
    return RelativeMotion(b_from_a, int(front.sum()), float(np.median(angle)), float(np.minimum(angle, 6).sum()))
