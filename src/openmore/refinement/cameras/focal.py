"""The focal length of a clip whose intrinsics are not known, before any camera is.

Choices
- The right focal length turns fundamental matrices into essential ones, whose two singular values are equal
  (Mendonca and Cipolla 1999): a sweep over fields of view, all pairs voting, no local minimum.
- For a camera that only turns, fundamental matrices mean nothing; there the sweep asks how well rotations explain the
  matches.
- Pixels are square unless K was given: a wrong ratio of the two focal lengths cannot be made good by any focal length.
- A weak pull to the given guess decides where the motion tells nothing (straight driving, a fixed camera).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.twoview import ROTATION_PX, Pair, bearings, fit_rotation

FIELDS_OF_VIEW = np.radians(np.linspace(25, 120, 96))  # of the longer side
PULL = 0.005  # cost of being a factor e away from the guess
PLANAR = 0.92  # share of matches on one plane above which a fundamental matrix is arbitrary and gets no vote
ROTATION_PAIRS = 12
LENSES = np.radians((5, 160))  # fields of view there are
USUAL_FIELD = np.radians(60)  # of the longer side


def intrinsics(focal: float, aspect: float, center: np.ndarray) -> np.ndarray:
    """K [3, 3]."""
    return np.array([[focal, 0, center[0]], [0, focal * aspect, center[1]], [0, 0, 1.0]])


def focal_from_pairs(pairs: Sequence[Pair], K_guess: np.ndarray, long_side: int) -> float:
    """Focal length along x in pixels that suits the fundamental matrices best, near the guess when they do not care."""
    guess, aspect, center = K_guess[0, 0], K_guess[1, 1] / K_guess[0, 0], K_guess[:2, 2]
    moved = [pair for pair in pairs if pair.F is not None and pair.plane_share < PLANAR]
    if not moved:
        return float(guess)
    F = np.stack([np.asarray(pair.F) for pair in moved])
    votes = np.array([len(pair.index) for pair in moved], float)
    focals = candidates(guess, long_side)
    cost = []
    for focal in focals:
        K = intrinsics(focal, aspect, center)
        s = np.linalg.svd(K.T @ F @ K, compute_uv=False)
        unequal = np.minimum(1 - s[:, 1] / s[:, 0], 0.2)
        cost.append((votes * unequal).sum() / votes.sum() + PULL * np.log(focal / guess) ** 2)
    return float(focals[np.argmin(cost)])


def focal_from_rotations(
    pairs: Sequence[Pair], keypoints: Sequence[Keypoints], K_guess: np.ndarray, long_side: int
) -> float:
    """The same for a camera that only turns: the focal length at which rotations leave the smallest residual."""
    guess, aspect, center = K_guess[0, 0], K_guess[1, 1] / K_guess[0, 0], K_guess[:2, 2]
    # Wide steps tell most: a focal error shows at second order in the angle.
    chosen = sorted(pairs, key=lambda p: -abs(p.b - p.a) * np.sqrt(len(p.index)))[:ROTATION_PAIRS]
    focals = candidates(guess, long_side)[::4]
    cost = []
    for focal in focals:
        K = intrinsics(focal, aspect, center)
        residual = [
            focal * fit_rotation(*matched_rays(pair, keypoints, K), ROTATION_PX / focal)[1] / ROTATION_PX
            for pair in chosen
        ]
        cost.append(np.mean([np.minimum(r, 2).mean() for r in residual]) + PULL * np.log(focal / guess) ** 2)
    return float(focals[np.argmin(cost)])


def candidates(guess: float, long_side: int) -> np.ndarray:
    """The focal lengths tried, pixels; the guess is one of them."""
    return np.r_[guess, long_side / 2 / np.tan(FIELDS_OF_VIEW / 2)]


def matched_rays(pair: Pair, keypoints: Sequence[Keypoints], K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit rays of the verified matches in both frames' axes."""
    a, b = keypoints[pair.a].uv[pair.index[:, 0]], keypoints[pair.b].uv[pair.index[:, 1]]
    return bearings(a, K), bearings(b, K)


def square_pixels(K: np.ndarray) -> np.ndarray:
    """K [3, 3] with one focal length, the geometric mean of those of the two that some lens could have.

    Nearly all video has square pixels; the two fields of view of a weak network need not fit one lens, nor any.
    """
    focals, halves = np.array([K[0, 0], K[1, 1]]), np.maximum(K[:2, 2], 1.0)
    fields = 2 * np.arctan2(halves, focals)
    possible = focals[(fields > LENSES[0]) & (fields < LENSES[1])]
    focal = np.exp(np.log(possible).mean()) if len(possible) else halves.max() / np.tan(USUAL_FIELD / 2)
    return intrinsics(float(focal), 1.0, K[:2, 2])
