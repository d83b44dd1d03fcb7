"""Rolling shutter: how long the picture takes to be read, found from the tracks alone.

Choices
- A camera that turns while its rows are read bends the picture; a solver without this unknown bends cameras and focal
  length instead. It is one number a clip, so the whole clip speaks for it.
- The motion within a frame is that between its neighbours (Hedborg et al. 2012, "Rolling shutter bundle adjustment", do
  the same by interpolation). It is measured from the cameras, kept during a solve and measured again after it.
- A sensor reads along one side of the picture: the height, or the width of a video on its side. The axis is chosen by a
  trial; a global shutter stays exactly 0 unless the trial leaves clearly less error (`GAIN`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State
from openmore.refinement.adjustment.rotations import log_so3
from openmore.refinement.adjustment.shutter import Shutter
from openmore.refinement.adjustment.solver import Settings, solve

LONGEST_STEP = 4  # frames: over longer gaps nothing is known of the motion within a frame
GAIN = 0.03  # share of the robust cost that rolling must take off
SLOWEST = 1.0  # frame intervals: no shutter reads longer, so such an answer is none
LEAST_FRAMES = 4
TRIAL = 6  # iterations of the solves that ask


def twists(state: State, known: np.ndarray) -> np.ndarray:
    """Motion [S, 6] (rotation, translation) of cam_from_world per frame interval, from the `known` [S] frames around.

    Acts as the increments of `State.moved`. Zero for frames that are not known or have no known neighbour.
    """
    frames = np.flatnonzero(known)
    gap = np.diff(frames)
    R, t = state.R[frames], state.t[frames]
    turn = R[1:] @ R[:-1].swapaxes(1, 2)
    step = np.concatenate((log_so3(turn), t[1:] - (turn @ t[:-1, :, None])[..., 0]), 1) / gap[:, None]
    near = (gap <= LONGEST_STEP).astype(float)
    total, count = np.zeros((len(frames), 6)), np.zeros(len(frames))
    for side in (slice(None, -1), slice(1, None)):
        total[side] += near[:, None] * step
        count[side] += near
    out = np.zeros((len(known), 6))
    out[frames] = total / np.maximum(count, 1)[:, None]
    return out


def with_twist(state: State, known: np.ndarray) -> State:
    """`state` with the motion within its frames measured anew; the readout stays, 0 if there was none."""
    readout = np.zeros((len(state.R), 2)) if state.shutter is None else state.shutter.readout
    return replace(state, shutter=Shutter(readout, twists(state, known)))


def unbent(state: State, obs: Observations, settings: Settings) -> State | None:
    """The solution with the rolling shutter that the observations show; None when it is global, as far as they tell.

    `state` is a solution for `obs` with a global shutter, `settings` say what is free in it.
    """
    settings = replace(settings, iterations=TRIAL)
    frames = np.unique(obs.frame)
    if len(frames) < LEAST_FRAMES:
        return None
    start = with_twist(state, np.isin(np.arange(len(state.R)), frames))
    both = solve(start, obs, replace(settings, free_readout=(True, True)))
    if both.cost > (1 - GAIN) * both.initial_cost:  # spares the other solves for most global shutters
        return None
    wanted = (1 - GAIN) * solve(state, obs, settings).cost
    if both.cost > wanted:
        return None
    width, height = np.abs(_readout(both.state))
    one = solve(start, obs, replace(settings, free_readout=(width > height, width <= height)))
    return one.state if one.cost <= wanted and is_possible(one.state) else None


def is_possible(state: State) -> bool:
    """Whether a camera could be so slow."""
    return float(np.abs(_readout(state)).max()) <= SLOWEST


def free_axes(state: State) -> tuple[bool, bool]:
    """Along which sides of the picture the shutter of a state rolls."""
    width, height = _readout(state) != 0
    return bool(width), bool(height)


def _readout(state: State) -> np.ndarray:
    return np.zeros(2) if state.shutter is None else state.shutter.readout[0]
