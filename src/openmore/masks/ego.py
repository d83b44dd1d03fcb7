"""Where static pixels go between two frames: from depth and cameras, or from the picture alone.

Choices
- `GeometricEgo` is the paper's ego flow (supplement 2.1) plus what it does not name: a pixel counts only if it has
  depth, lands inside the other picture, and is not hidden there (its depth against the other frame's, 10 % apart).
- `ParametricEgo` needs neither depth nor cameras: a homography fitted to the flow itself by RANSAC is exact for a fixed
  or turning camera and for far or flat scenes. Where it explains too little (parallax), the pair's epipolar geometry is
  fitted instead and the ego flow is the point of the epipolar line nearest to where the pixel went: motion along that
  line stays invisible, motion across it shows.
- `BestEgo` takes, pair by pair, whichever explains more of the observed flow: estimated cameras may be wrong.
- All answer with flow and validity, so the rule does not know which one it listens to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from openmore.errors import ConfigError
from openmore.flow.base import FlowResult
from openmore.flow.consistency import sample_at
from openmore.masks.clip import Geometry

_OCCLUSION = 0.1  # relative: a surface nearer than this hides the pixel
_GRID = 6  # pixels between the matches that background motion is fitted to
_FIT_PX = 1.0  # RANSAC tolerance at 518 px width; scaled with the picture
_PLANAR_SHARE = 0.6  # of the matches a homography must explain


class Ego(NamedTuple):
    """Flow of static pixels from one frame to another."""

    flow: np.ndarray  # [2, H, W] float32, pixels
    valid: np.ndarray  # [H, W] bool
    model: str  # "geometry", "homography" or "epipolar"


class EgoModel(Protocol):
    """Answers for a pair of frames of one clip."""

    @property
    def needs_flow(self) -> bool:
        """Whether `observed` must be given."""
        ...

    def __call__(self, a: int, b: int, observed: FlowResult | None) -> Ego:
        """Ego flow from frame a to frame b; `observed` is the optical flow of the same pair."""
        ...


@dataclass(frozen=True)
class GeometricEgo:
    """Ego flow from depth, intrinsics and cameras."""

    geometry: Geometry
    needs_flow = False

    def __call__(self, a: int, b: int, observed: FlowResult | None) -> Ego:
        """The observed flow is not looked at."""
        import torch

        from openmore.geometry.camera import unproject
        from openmore.geometry.ego_flow import ego_flow
        from openmore.geometry.rigid import invert, transform_points

        g = self.geometry
        depth = torch.from_numpy(g.depth[a].astype(np.float64))
        K_a, K_b, at_a, at_b = (torch.from_numpy(x) for x in (g.K[a], g.K[b], g.world_from_cam[a], g.world_from_cam[b]))
        flow, valid = ego_flow(depth, K_a, at_a, K_b, at_b)
        z_b = transform_points(invert(at_b) @ at_a, unproject(depth, K_a))[..., 2].numpy()
        ego = flow.numpy().astype(np.float32)
        seen = sample_at(np.where(g.depth[b] > 0, g.depth[b], np.nan)[None], ego)[0]
        hidden = z_b > seen * (1 + _OCCLUSION)  # False where the other frame has no depth: nothing is known to hide it
        return Ego(ego, valid.numpy() & ~hidden, "geometry")


@dataclass(frozen=True)
class ParametricEgo:
    """Ego flow fitted to the observed flow: a homography, or epipolar lines where that explains too little."""

    planar_share: float = _PLANAR_SHARE
    needs_flow = True

    def __call__(self, a: int, b: int, observed: FlowResult | None) -> Ego:
        """Fitted afresh for every pair. Raises ConfigError without the observed flow."""
        if observed is None:
            raise ConfigError("ego flow can only be fitted to an observed flow: give one")
        here, there = matches(observed)
        height, width = observed.confidence.shape
        if len(here) < 16:  # nothing reliable: no answer is better than a wrong one
            nothing = np.zeros((height, width), bool)
            return Ego(np.zeros((2, height, width), np.float32), nothing, "homography")
        tolerance = tolerance_of(observed)
        flow, share = homography_flow(here, there, (height, width), tolerance)
        if share >= self.planar_share:
            return Ego(flow, np.ones((height, width), bool), "homography")
        epipolar = epipolar_flow(here, there, observed.flow, tolerance)
        if epipolar is None:
            return Ego(flow, np.ones((height, width), bool), "homography")
        return Ego(epipolar, np.isfinite(epipolar[0] + epipolar[1]), "epipolar")


@dataclass(frozen=True)
class BestEgo:
    """Estimated geometry where it explains the observed flow at least as well as a fit to the picture does."""

    geometry: GeometricEgo
    picture: ParametricEgo = ParametricEgo()
    needs_flow = True

    def __call__(self, a: int, b: int, observed: FlowResult | None) -> Ego:
        """Raises ConfigError without the observed flow."""
        if observed is None:
            raise ConfigError("estimated geometry can only be compared with an observed flow: give one")
        fitted, estimated = self.picture(a, b, observed), self.geometry(a, b, observed)
        # Epipolar flow explains whatever it is shown: geometry competes with the plane instead.
        plane = ParametricEgo(planar_share=0)(a, b, observed) if fitted.model == "epipolar" else fitted
        return estimated if explained(observed, estimated) >= explained(observed, plane) else fitted


def explained(observed: FlowResult, ego: Ego) -> float:
    """Share of the confident pixels whose flow is within the fit's tolerance of the ego flow."""
    sure = observed.confidence > 0.5
    near = np.linalg.norm(observed.flow - ego.flow, axis=0) < tolerance_of(observed)
    return float((sure & ego.valid & near).sum() / max(sure.sum(), 1))


def tolerance_of(observed: FlowResult) -> float:
    """Pixels within which a match follows a model."""
    return _FIT_PX * max(observed.confidence.shape[1] / 518, 0.5)


def matches(observed: FlowResult) -> tuple[np.ndarray, np.ndarray]:
    """Confident pixels on a grid and where they went: two arrays [N, 2] (u, v)."""
    grid = (slice(_GRID // 2, None, _GRID), slice(_GRID // 2, None, _GRID))
    v, u = np.mgrid[: observed.confidence.shape[0], : observed.confidence.shape[1]].astype(np.float32)
    keep = observed.confidence[grid] > 0.5
    here = np.stack((u[grid][keep], v[grid][keep]), -1)
    return here, here + observed.flow[(slice(None), *grid)][:, keep].T


def homography_flow(
    here: np.ndarray, there: np.ndarray, shape: tuple[int, int], tolerance: float
) -> tuple[np.ndarray, float]:
    """Flow [2, H, W] of the best homography and the share of matches within `tolerance` pixels of it."""
    import cv2

    cv2.setRNGSeed(0)  # RANSAC must give the same masks twice
    H, inliers = cv2.findHomography(here, there, cv2.RANSAC, tolerance, maxIters=2000, confidence=0.999)
    if H is None:
        return np.zeros((2, *shape), np.float32), 0.0
    v, u = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    x, y, z = H @ np.stack((u.ravel(), v.ravel(), np.ones(u.size)))
    with np.errstate(divide="ignore", invalid="ignore"):
        flow = np.stack((x / z, y / z)).reshape(2, *shape) - np.stack((u, v))
    return np.nan_to_num(flow, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32), float(np.mean(inliers))


def epipolar_flow(here: np.ndarray, there: np.ndarray, observed: np.ndarray, tolerance: float) -> np.ndarray | None:
    """Flow [2, H, W] to the nearest point of each pixel's epipolar line; None when no geometry can be fitted."""
    import cv2

    cv2.setRNGSeed(0)
    try:
        F, _ = cv2.findFundamentalMat(here, there, cv2.USAC_MAGSAC, tolerance / 2, 0.999, 5000)
    except cv2.error:  # OpenCV 5 asserts where it finds no model at all
        return None
    if F is None or F.shape != (3, 3):
        return None
    height, width = observed.shape[1:]
    v, u = np.mgrid[:height, :width].astype(np.float64)
    x, y = u + observed[0], v + observed[1]
    a, b, c = (F @ np.stack((u.ravel(), v.ravel(), np.ones(u.size)))).reshape(3, height, width)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = (a * x + b * y + c) / (a * a + b * b)
    return (observed - step * np.stack((a, b))).astype(np.float32)
