"""What kind of motion the camera made: none, a turn on the spot, or a walk. And where the video was cut.

Choices
- Decided on pairs of frames before any camera is solved for, because the general solver invents motion for a camera
  that does not move.
- Still: most matches stay where they are, over short and over long times. Real moving cameras leave a share below
  0.15 in place, fixed ones above 0.8; the threshold leaves room for movers that cover half the picture.
- Turning: one rotation explains nearly all verified matches of nearly all pairs, long steps included.
- Shots are groups of frames that no verified pair connects; a blank frame in between does not cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from openmore.refinement.features import Keypoints
from openmore.refinement.focal import matched_rays
from openmore.refinement.twoview import ROTATION_PX, Pair, fit_rotation

CameraMotion = Literal["still", "turning", "moving", "unknown"]
STILL_SHARE = 0.4  # of the matches of a pair
STILL_PAIRS = 0.9  # of the pairs
TURN_SHARE = 0.9  # of the verified matches of a pair
TURN_PAIRS = 0.9  # of the pairs
PLANE_SHARE = 0.9  # a turn is a homography: below it a pair cannot be one
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
    """Homographies explain the pairs: a turn, or a plane."""
    return bool(pairs) and float(np.mean([pair.plane_share >= PLANE_SHARE for pair in pairs])) >= TURN_PAIRS


def is_turn(pairs: Sequence[Pair], keypoints: Sequence[Keypoints], K: np.ndarray) -> bool:
    """Rotations alone explain the pairs, with intrinsics K [3, 3]."""
    if not may_turn(pairs):
        return False
    shares = [rotation_share(pair, keypoints, K) for pair in pairs]
    return float(np.mean(np.array(shares) >= TURN_SHARE)) >= TURN_PAIRS


def rotation_share(pair: Pair, keypoints: Sequence[Keypoints], K: np.ndarray) -> float:
    """Share of the verified matches that the best rotation explains."""
    width = ROTATION_PX / K[0, 0]
    return float((fit_rotation(*matched_rays(pair, keypoints, K), width)[1] < width).mean())


def find_shots(frames: int, pairs: Sequence[Pair]) -> list[np.ndarray]:
    """Groups of frames (sorted numbers) that hang together, in order of their first frame; at least SHORTEST_SHOT."""
    group = np.arange(frames)
    for pair in pairs:
        if len(pair.index) >= CONNECT and group[pair.a] != group[pair.b]:
            group[group == group[pair.b]] = group[pair.a]
    members = [np.flatnonzero(group == g) for g in np.unique(group)]
    return sorted((m for m in members if len(m) >= SHORTEST_SHOT), key=lambda m: m[0])


def is_planar(pairs: Sequence[Pair]) -> bool:
    """One plane explains even the longest steps."""
    if not pairs:
        return False
    distance = np.array([pair.b - pair.a for pair in pairs])
    share = np.array([pair.plane_share for pair in pairs])
    return float(np.median(share[distance >= np.quantile(distance, 0.7)])) >= 0.95
