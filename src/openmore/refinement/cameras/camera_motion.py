"""What kind of motion the camera made: none, a turn on the spot, or a walk. And where the video was cut.

Choices
- Decided on pairs of frames before any camera is solved for, because the general solver invents motion for a camera
  that does not move.
- Still: most matches stay where they are, over short and over long times. Real moving cameras leave a share below
  0.15 in place, fixed ones above 0.8; the threshold leaves room for movers that cover half the picture.
- Turning: over the longest steps, what a rotation leaves unexplained is no more than what an epipolar geometry leaves.
  Noise alone gives a ratio of 2.5 (two dimensions against one); tripods measure 2 to 4, the least parallax of the
  clips tried 5 to 7, ordinary walks 10 to 100.
- Shots are groups of frames that no verified pair connects; a blank frame in between does not cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from openmore.refinement.cameras.focal import matched_rays
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.twoview import ROTATION_PX, Pair, epipolar_distance, fit_rotation

CameraMotion = Literal["still", "turning", "moving", "unknown"]
STILL_SHARE = 0.4  # of the matches of a pair
STILL_PAIRS = 0.9  # of the pairs
TURN_RATIO = 4.0  # median residual of the rotation over that of the epipolar geometry
NOISE_PX = 0.1  # least epipolar residual believed
PLANE_SHARE = 0.7  # a turn is a homography: below it a pair cannot be one
CONNECT = 25  # verified matches that tie two frames to one shot
SHORTEST_SHOT = 3  # frames; shorter groups are left to interpolation


def is_still(pairs: Sequence[Pair]) -> bool:
    """The camera stood still in the frames these pairs connect."""
    if not pairs:
        return False
    still = np.array([pair.still_share >= STILL_SHARE for pair in pairs])
    distance = np.array([pair.b - pair.a for pair in pairs])
    far = distance >= np.quantile(distance, 0.8)
    # A slow camera stands still over short times: the longest steps have to agree.
    return bool(still.mean() >= STILL_PAIRS and still[far].mean() >= STILL_PAIRS)


def may_turn(pairs: Sequence[Pair]) -> bool:
    """Homographies explain the longest steps: a turn, or a plane."""
    long = longest(pairs)
    return bool(long) and float(np.median([pair.plane_share for pair in long])) >= PLANE_SHARE


def is_turn(pairs: Sequence[Pair], keypoints: Sequence[Keypoints], K: np.ndarray) -> bool:
    """Rotations explain the longest steps as well as epipolar geometry does, with intrinsics K [3, 3]."""
    if not may_turn(pairs):
        return False
    return float(np.median([rotation_excess(pair, keypoints, K) for pair in longest(pairs)])) < TURN_RATIO


def rotation_excess(pair: Pair, keypoints: Sequence[Keypoints], K: np.ndarray) -> float:
    """Median residual of the best rotation over the median epipolar distance."""
    residual = fit_rotation(*matched_rays(pair, keypoints, K), ROTATION_PX / K[0, 0])[1] * K[0, 0]
    if pair.F is None:
        return 0.0
    a, b = keypoints[pair.a].uv[pair.index[:, 0]], keypoints[pair.b].uv[pair.index[:, 1]]
    return float(np.median(residual) / max(float(np.median(epipolar_distance(pair.F, a, b))), NOISE_PX))


def longest(pairs: Sequence[Pair]) -> list[Pair]:
    """The longest 40 % of the steps with enough matches."""
    rich = [pair for pair in pairs if len(pair.index) >= CONNECT]
    if not rich:
        return []
    distance = np.array([pair.b - pair.a for pair in rich])
    limit = np.quantile(distance, 0.6)
    return [pair for pair, d in zip(rich, distance) if d >= limit]


def find_shots(frames: int, pairs: Sequence[Pair]) -> list[np.ndarray]:
    """Groups of frames (sorted numbers) that hang together, in order of their first frame; at least SHORTEST_SHOT."""
    group = np.arange(frames)
    for pair in pairs:
        if len(pair.index) >= CONNECT and group[pair.a] != group[pair.b]:
            group[group == group[pair.b]] = group[pair.a]
    members = [np.flatnonzero(group == g) for g in np.unique(group)]
    return sorted((m for m in members if len(m) >= SHORTEST_SHOT), key=lambda m: m[0])


def is_flat(pairs: Sequence[Pair]) -> bool:
    """One plane explains most of the longest steps: a pair of frames may be read in two ways."""
    long = longest(pairs)
    return bool(long) and float(np.median([pair.plane_share for pair in long])) >= PLANE_SHARE


def is_planar(pairs: Sequence[Pair]) -> bool:
    """One plane explains even the longest steps."""
    long = longest(pairs)
    return bool(long) and float(np.median([pair.plane_share for pair in long])) >= 0.95
