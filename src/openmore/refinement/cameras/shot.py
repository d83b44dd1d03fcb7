"""One shot: decide what the camera did, solve for it in that way, and judge the answer against the network's.

Choices
- Three ways, from least to most freedom: still (all cameras equal), turning (rotations), moving (the mapper).
- Where pairs of frames see no more than a turn, both are solved, and the camera moved if that leaves clearly less noise
  than its additional unknowns take up (`PARALLAX`): many pairs together show parallax that no pair shows alone. A map
  wants more of it than bundle adjustment from the turn on does (`slight`), which is asked where the map was no better.
- A moving camera is solved from its tracks alone, with the focal length that pairs of frames vote for and, where that
  explains little, with the one guessed; where the network's cameras explain at least half of them, another
  solve starts there, and the best is taken.
- The judge is the same for all: triangulate every track as well as the cameras allow and count what fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State, residuals
from openmore.refinement.adjustment.shutter import Shutter
from openmore.refinement.adjustment.solver import Settings
from openmore.refinement.adjustment.triangulate import best_points, fits, support
from openmore.refinement.cameras.camera_motion import CameraMotion, is_flat, is_still, is_turn, may_turn
from openmore.refinement.cameras.focal import focal_from_pairs, focal_from_rotations, intrinsics
from openmore.refinement.cameras.mapper import FocalModel, Mapper
from openmore.refinement.cameras.polish import polish
from openmore.refinement.cameras.slight import moved_slightly
from openmore.refinement.cameras.starts import ENOUGH, ENOUGH_OF_PLANES, SHORT, as_good, poor, starts
from openmore.refinement.cameras.turning import adjust_rotations, chain_rotations
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.tracks import renumber
from openmore.refinement.matching.twoview import Pair
from openmore.refinement.report import Fit, Start

INLIER_PX = 3.0
FOCAL_SIGMA = 0.3  # of the log focal length the network gives
TRUST_NETWORK = 0.5  # inlier share above which the network's cameras are worth starting from
TRUST = 0.5  # the same of a solution, below which the camera may as well have only turned
CLEARLY = 1.25  # a doubtful moving camera has to explain so much more than a turn: its freedom explains movers as well
# Noise a moving camera leaves over that of a turning one, on 22 synthetic clips whose pairs look like turns: true turns
# 0.73 to 1.1, parallax of 0.1 to 0.6 degrees over the clip 0.4 to 0.97, of 0.6 to 3 degrees 0.3 to 0.9. The threshold
# keeps its distance: invented motion spoils a clip, a turn too many only leaves it the network's depth.
PARALLAX = 0.6
# The same for slight motion, whose points also agree on a sign. All 34 clips whose pairs look like turns and that have
# less than 0.1 degrees of parallax stay turns (synthetic seeds 910000-910031, 920000-920199, 60 pans from 925000), but
# for one that large movers make a map of.
LESS_NOISE = 0.87
FEW = 2  # starts of a map where pairs of frames look like a turn


@dataclass(frozen=True)
class ShotInput:
    """What is known of a shot before it is solved. Frame numbers are those of the clip."""

    frames: np.ndarray  # [n] frame numbers, sorted
    pairs: Sequence[Pair]
    keypoints: Sequence[Keypoints]
    obs: Observations  # tracks of these frames, points numbered without gaps
    network: np.ndarray  # [S, 4, 4] world_from_cam of the whole clip
    K: np.ndarray  # [3, 3] given, or the network's guess
    known_K: bool
    long_side: int  # pixels
    start: State | None = None  # cameras of all its frames from an earlier solve, to be improved


@dataclass(frozen=True)
class ShotSolution:
    """Cameras of one shot in the units and axes of the solver."""

    kind: CameraMotion
    state: State  # cam_from_world of all frames of the clip; meaningful where placed
    placed: np.ndarray  # [S] bool
    obs: Observations  # observations that hold the solution up, numbered as state.points
    fit: Fit
    from_network: bool = False  # the solve began at the network's cameras


def solve_shot(shot: ShotInput) -> ShotSolution | None:
    """The best cameras for one shot; None when the tracks hold none."""
    S = len(shot.network)
    inside = np.zeros(S, bool)
    inside[shot.frames] = True
    if is_still(shot.pairs):
        return _still(shot, inside)
    K = shot.K if shot.known_K else estimate_intrinsics(shot)
    if is_turn(shot.pairs, shot.keypoints, K):
        return _turn_or_move(shot, K)
    moving = _moving(shot, K)
    if not (_trusted(moving, shot) or shot.known_K or shot.start or len(shot.frames) <= SHORT):
        moving = _best([s for s in (moving, _moving(shot, shot.K)) if s])  # planes vote for focal lengths at random
    if _trusted(moving, shot):
        return moving
    # What pairs of frames could not tell apart, the whole shot may: blur, noise and large movers look like parallax.
    turning = _turning(shot, K)
    return moving if moving is not None and moving.fit.support > CLEARLY * turning.fit.support else turning


def _trusted(solution: ShotSolution | None, shot: ShotInput) -> bool:
    """Whether a solution explains enough of all tracks, those of frames that it left out among them."""
    return solution is not None and solution.fit.inlier_share * solution.fit.observations >= TRUST * len(shot.obs)


def _turn_or_move(shot: ShotInput, K: np.ndarray) -> ShotSolution:
    """A turn, unless parallax is plain from all frames together."""
    turning = _turning(shot, K)
    if not shot.known_K:  # the focal length that suits a turn best hides parallax
        K = _with_focal(shot.K, focal_from_pairs(shot.pairs, shot.K, shot.long_side))
    # Where parallax is small no start finds another valley, and each takes longer.
    moving = _moving(shot, K, None if poor([turning.fit], len(shot.obs)) else FEW)
    if moving is not None and _less_noise(moving, turning, shot) < PARALLAX:
        return moving
    slight = _slight(shot, turning)
    return turning if slight is None or _less_noise(slight, turning, shot) >= LESS_NOISE else slight


def _less_noise(moving: ShotSolution, turning: ShotSolution, shot: ShotInput) -> float:
    """Noise that a moving camera leaves over that of a turning one; infinite where it explains less."""
    if moving.fit.support <= turning.fit.support or (turning.placed & ~moving.placed).any():
        return float("inf")
    points, frames = int(shot.obs.point.max()) + 1, len(shot.frames)
    return _noise(moving.fit, 3 * points + 6 * frames) / _noise(turning.fit, 2 * points + 3 * frames)


def _noise(fit: Fit, unknowns: int) -> float:
    """Error in pixels, less what so many unknowns take up of it; infinite where they take up all."""
    numbers = 2 * fit.observations
    return fit.median_px * float(np.sqrt(numbers / (numbers - unknowns))) if numbers > unknowns else float("inf")


def started_from(solution: ShotSolution) -> Start:
    """What the solve began with, for the report."""
    if solution.kind == "moving":
        return "network" if solution.from_network else "tracks"
    return "turn" if solution.kind == "turning" else "none"


def readout_of(solution: ShotSolution | None) -> tuple[float, float]:
    """Frame intervals from the left column to the right one and from the top row to the bottom, for the report."""
    if solution is None or solution.state.shutter is None:
        return 0.0, 0.0
    width, height = solution.state.shutter.readout[0]
    return round(float(width), 4), round(float(height), 4)


def judge(state: State, obs: Observations) -> Fit:
    """How well the cameras of `state` explain the tracks, whatever its points are."""
    return _fit([_errors(state, obs)])


def judge_clip(world_from_cam: np.ndarray, K: np.ndarray, shutter: Shutter | None, obs: Observations) -> Fit:
    """The same for the cameras [S, 4, 4] of a clip whose shots may have lenses of their own, K [S, 3, 3]."""
    parts = []
    for lens in np.unique(K, axis=0):
        own = obs.select((lens == K).all((1, 2))[obs.frame])
        own = renumber(own.select((np.bincount(own.point) > 1)[own.point])) if len(own) else own
        parts.append(_errors(state_of(world_from_cam, lens, shutter), own))
    return _fit(parts)


def _errors(state: State, obs: Observations) -> tuple[np.ndarray, np.ndarray, float]:
    """Squared errors [O] in pixels of the tracks triangulated anew, which fit [O], and their support."""
    if not len(obs):
        return np.zeros(0), np.zeros(0, bool), 0.0
    trial = replace(state, points=best_points(state, obs))
    return np.square(residuals(trial, obs)[0]).sum(1), fits(trial, obs, INLIER_PX), support(trial, obs)


def _fit(parts: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> Fit:
    errors, fitting = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    if not len(errors):
        return Fit(float("nan"), 0.0, 0)
    median = float(np.sqrt(np.median(errors)))
    return Fit(median, float(fitting.mean()), len(errors), sum(part[2] for part in parts))


def state_of(world_from_cam: np.ndarray, K: np.ndarray, shutter: Shutter | None = None) -> State:
    """A state without points from cameras [S, 4, 4] and K [3, 3]."""
    R = world_from_cam[:, :3, :3].swapaxes(1, 2)
    none = np.zeros(len(R))
    return State(
        R=R.copy(), t=-(R @ world_from_cam[:, :3, 3:])[..., 0], points=np.zeros((0, 4)), focal=float(K[0, 0]),
        aspect=float(K[1, 1] / K[0, 0]), center=K[:2, 2].copy(), depth_scale=none, depth_shift=none.copy(),
        shutter=shutter,
    )  # fmt: skip


def world_from_cam(state: State) -> np.ndarray:
    """Camera poses [S, 4, 4] of a state."""
    out = np.tile(np.eye(4), (len(state.R), 1, 1))
    out[:, :3, :3] = state.R.swapaxes(1, 2)
    out[:, :3, 3] = -(out[:, :3, :3] @ state.t[..., None])[..., 0]
    return out


def intrinsics_of(state: State) -> np.ndarray:
    """K [3, 3] of a state."""
    return intrinsics(state.focal, state.aspect, state.center)


def estimate_intrinsics(shot: ShotInput) -> np.ndarray:
    """K [3, 3] whose focal length suits the pairs of frames best, whatever was given."""
    if may_turn(shot.pairs):
        focal = focal_from_rotations(shot.pairs, shot.keypoints, shot.K, shot.long_side)
        K = _with_focal(shot.K, focal)
        if is_turn(shot.pairs, shot.keypoints, K):
            return K
    return _with_focal(shot.K, focal_from_pairs(shot.pairs, shot.K, shot.long_side))


def _with_focal(K: np.ndarray, focal: float) -> np.ndarray:
    return intrinsics(focal, K[1, 1] / K[0, 0], K[:2, 2])


def _still(shot: ShotInput, inside: np.ndarray) -> ShotSolution:
    poses = np.tile(np.eye(4), (len(inside), 1, 1))
    state = state_of(poses, shot.K)
    return ShotSolution("still", state, inside, shot.obs.select(np.zeros(0, np.int64)), judge(state, shot.obs))


def _turning(shot: ShotInput, K: np.ndarray, may_roll: bool = True) -> ShotSolution:
    R, known = chain_rotations(shot.frames, shot.pairs, shot.keypoints, K, len(shot.network))
    poses = np.tile(np.eye(4), (len(R), 1, 1))
    poses[:, :3, :3] = R.swapaxes(1, 2)
    first, prior = int(shot.frames[0]), _focal_prior(shot)
    state, used = adjust_rotations(state_of(poses, K), shot.obs, known, first, not shot.known_K, prior, may_roll)
    return ShotSolution("turning", state, known, used, judge(state, shot.obs))


def _slight(shot: ShotInput, turning: ShotSolution) -> ShotSolution | None:
    """The turn with a little motion; None where parallax is doubtful."""
    if turning.state.shutter is not None:  # a shutter bends pictures as a little parallax does
        turning = _turning(shot, intrinsics_of(turning.state), may_roll=False)
    if not len(turning.obs):
        return None
    free = turning.placed.copy()
    free[shot.frames[0]] = False
    settings = Settings(free, free_focal=not shot.known_K, focal_prior=_focal_prior(shot))
    found = moved_slightly(turning.state, turning.obs, settings)
    return (
        None if found is None else ShotSolution("moving", found[0], turning.placed, found[1], judge(found[0], shot.obs))
    )


def _focal_prior(shot: ShotInput) -> tuple[float, float] | None:
    return None if shot.known_K else (float(np.log(shot.K[0, 0])), FOCAL_SIGMA)


def _moving(shot: ShotInput, K: np.ndarray, most: int | None = None) -> ShotSolution | None:
    """The best map; `most` limits the starts."""
    focal = FocalModel(not shot.known_K, _focal_prior(shot))
    if shot.start is not None:
        mapper = Mapper(shot.obs, len(shot.network), intrinsics_of(shot.start), focal)
        mapper.start_from(world_from_cam(shot.start), shot.frames, shot.start.shutter)
        return _finish(mapper, shot, from_network=False)
    answers: list[ShotSolution] = []
    enough = ENOUGH_OF_PLANES if is_flat(shot.pairs) else ENOUGH
    usual, more = starts(K, shot.K, len(shot.frames), shot.known_K)
    for i, (K_start, rank) in enumerate([*usual, *more][:most]):
        doubtful = poor([s.fit for s in answers], len(shot.obs))
        if (i >= len(usual) or len(as_good([s.fit for s in answers])) >= enough) and not doubtful:
            break
        mapper = Mapper(shot.obs, len(shot.network), K_start, focal)
        if mapper.grow(shot.pairs, shot.keypoints, rank):
            answers.append(_finish(mapper, shot, from_network=False))
    start = judge(state_of(shot.network, shot.K), shot.obs)
    if start.inlier_share >= TRUST_NETWORK:
        mapper = Mapper(shot.obs, len(shot.network), shot.K, focal)
        mapper.start_from(shot.network, shot.frames)
        answers.append(_finish(mapper, shot, from_network=True))
    return _best(answers)


def _best(answers: Sequence[ShotSolution]) -> ShotSolution | None:
    return next((answers[i] for i in as_good([s.fit for s in answers])), None)


def _finish(mapper: Mapper, shot: ShotInput, from_network: bool) -> ShotSolution:
    polish(mapper)
    used = mapper.used()
    points = np.unique(used.point)
    state = replace(mapper.state, points=mapper.state.points[points])
    seen = shot.obs.select(mapper.known[shot.obs.frame])
    seen = renumber(seen.select((np.bincount(seen.point) > 1)[seen.point]))
    return ShotSolution("moving", state, mapper.known.copy(), renumber(used), judge(state, seen), from_network)
