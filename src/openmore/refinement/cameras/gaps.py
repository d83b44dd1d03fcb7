"""Frames the geometry could not place: between two placed ones they are interpolated, outside they follow the network.

Choices
- Interpolation is a constant turn and a straight line, at most over `LONGEST_GAP` frames: a blank frame is bridged, a
  missing scene is not invented.
- Elsewhere the network's motion relative to the nearest placed frame is appended.
- A frame of no shot (blank, say) was seen through the lens of the nearest one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from openmore.geometry.rotation import so3_exp, so3_log

LONGEST_GAP = 5  # frames


def fill(solved: np.ndarray, placed: np.ndarray, network: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """world_from_cam [S, 4, 4] for all frames, and which were interpolated [S] bool.

    `solved` is valid where `placed` [S] bool; `network` [S, 4, 4] is in the same units. At least one frame is placed.
    """
    out, bridged = solved.copy(), np.zeros(len(placed), bool)
    known = np.flatnonzero(placed)
    for s in np.flatnonzero(~placed):
        after = int(np.searchsorted(known, s))
        if 0 < after < len(known) and known[after] - known[after - 1] - 1 <= LONGEST_GAP:
            a, b = known[after - 1], known[after]
            out[s] = interpolate(solved[a], solved[b], (s - a) / (b - a))
            bridged[s] = True
        else:
            near = known[np.argmin(np.abs(known - s))]
            out[s] = solved[near] @ np.linalg.inv(network[near]) @ network[s]
    return out, bridged


def nearest_lens(K: np.ndarray, shots: Sequence[np.ndarray]) -> np.ndarray:
    """K [S, 3, 3] with that of the nearest frame of a shot where a frame is in none. `shots`: frame numbers, sorted."""
    inside = np.concatenate(shots) if shots else np.arange(len(K))
    return K[[inside[np.argmin(np.abs(inside - s))] for s in range(len(K))]]


def interpolate(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """The pose [4, 4] a `share` of the way from a to b."""
    out = np.eye(4)
    turn = so3_log(torch.from_numpy(a[:3, :3].T @ b[:3, :3]))
    out[:3, :3] = a[:3, :3] @ so3_exp(share * turn).numpy()
    out[:3, 3] = (1 - share) * a[:3, 3] + share * b[:3, 3]
    return out
