"""Loop closure of a long clip: the map is bent so that a place seen again is one place.

Tracks of long clips are cut (`tracks.cut`), so a return to a known place holds nothing together there. Far pairs of
frames still say how far the map has drifted between them (`loop_edges`), and a graph spreads that over the way.

Choices
- One node per several frames, at most `NODES`, corrections interpolated between: the cost does not grow with the clip.
- A node's coordinates are its camera's, in units of the median depth there: one number says how much a step drifts, and
  it drifts more where fewer points are seen across it.
- Each frame is moved by its similarity and its scale goes into its centre: cameras stay rigid.
- Bundle adjustment follows, in which the loops take part (`loop_adjust`): what an even spread did to single joints is
  made good, and the gap falls to the noise of the tracks.
- Taken only where the gap closes clearly and the tracks are explained about as well; otherwise nothing is touched.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State, residuals
from openmore.refinement.adjustment.rolling import with_twist
from openmore.refinement.adjustment.triangulate import fits, point_starts
from openmore.refinement.cameras.shot import INLIER_PX, ShotInput, ShotSolution, judge
from openmore.refinement.loops import sim3
from openmore.refinement.loops.adjust import adjust_with_loops
from openmore.refinement.loops.edges import Loop, find_ties, gaps, verify_loop
from openmore.refinement.loops.pose_graph import Edges, agreeing, optimise
from openmore.refinement.matching.tracks import renumber
from openmore.refinement.report import LoopReport

NODES = 128  # at most
EVERY = 4  # frames a node, at least
# Standard deviations, in radians, log scale and shares of the median depth:
DRIFT = 1e-3  # of a frame's step, as a rule,
BROKEN = 2e-2  # and where a map all but broke, which must not make its loops unlikely;
LOOP = 3e-3  # of what a loop says, at least: the map around it is not exact either
ACROSS = 3  # frames before and after a step, that a point has to be seen in to hold the map together there
CLOSED = 0.5  # of the gap that may be left
LOST = 0.02  # share of the tracks' support that may be lost: a broken map loses one percent, a false loop thirty


def close_loops(shot: ShotInput, solution: ShotSolution, span: int) -> tuple[ShotSolution, LoopReport]:
    """The solution with its loops closed, or itself; and what was found. `span`: frames a track reaches over."""
    if solution.kind != "moving":
        return solution, LoopReport()
    state, obs = solution.state, solution.obs
    ties = find_ties(shot.pairs, shot.keypoints, state, obs, span)
    at = _node_frames(shot.frames[solution.placed[shot.frames]])
    local_from_world = _local_from_world(state, obs, at)
    found = [verify_loop(t, state, obs, local_from_world[_nearest(at, t.a)]) for t in ties]
    loops = [loop for loop in found if loop is not None]
    report = LoopReport(tied=len(ties), verified=len(loops))
    if not loops:
        return solution, report
    correction, loops = _solve(at, local_from_world, _looseness(obs, at, len(state.R)), loops)
    if not loops:
        return solution, report
    closed = adjust_with_loops(_moved(state, obs, at, correction, solution.placed), obs, solution.placed, loops)
    before, after = (_gap(loops, s, obs) for s in (state, closed))
    answer = _judged(shot, solution, closed)
    taken = after < CLOSED * before and answer.fit.support > (1 - LOST) * solution.fit.support
    report = replace(report, used=len(loops), gap_px_before=before, gap_px_after=after, taken=taken)
    return (answer if taken else solution), report


def _node_frames(frames: np.ndarray) -> np.ndarray:
    """Frames that are nodes: the first, the last and some between."""
    count = min(NODES, -(-len(frames) // EVERY) + 1, len(frames))
    return frames[np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))]


def _nearest(at: np.ndarray, frame: int) -> int:
    return int(np.abs(at - frame).argmin())


def _local_from_world(state: State, obs: Observations, at: np.ndarray) -> np.ndarray:
    """[N, 4, 4]: from the world to the axes of the nodes' cameras, in units of the median depth of their points."""
    inverse = residuals(state, obs)[1]
    out = np.tile(np.eye(4), (len(at), 1, 1))
    out[:, :3, :3], out[:, :3, 3] = state.R[at], state.t[at]
    for local, frame in zip(out, at):
        near = inverse[(obs.frame == frame) & (inverse > 0)]
        local[:3] *= np.median(near) if len(near) else 1.0
    return out


def _looseness(obs: Observations, at: np.ndarray, frames: int) -> np.ndarray:
    """Variance [N] of the way to each node, in those of a usual step: where few points are seen across, maps drift."""
    starts = point_starts(obs)
    first, last = obs.frame[starts] + ACROSS, obs.frame[np.r_[starts[1:], len(obs)] - 1] - ACROSS
    across = first <= last
    change = np.bincount(first[across], minlength=frames + 1) - np.bincount(last[across] + 1, minlength=frames + 1)
    seen = np.maximum(np.cumsum(change)[:frames], 1)
    return np.cumsum(np.median(seen[at]) / seen)[at]


def _solve(
    at: np.ndarray, local_from_world: np.ndarray, looseness: np.ndarray, loops: list[Loop]
) -> tuple[np.ndarray, list[Loop]]:
    """Corrections [N, 4, 4] of the world at each node, and the loops that agree on them."""
    nodes, steps = sim3.inverse(local_from_world), np.arange(len(at) - 1)
    chain = Edges(
        steps, steps + 1, local_from_world[:-1] @ nodes[1:], np.eye(7) / (DRIFT**2 * np.diff(looseness))[:, None, None]
    )
    a, b = (np.array([_nearest(at, frame) for frame in frames]) for frames in _ends(loops))
    measured = local_from_world[b] @ np.stack([loop.b_from_a for loop in loops]) @ nodes[a]
    covariance = np.linalg.inv(np.stack([loop.information for loop in loops])) + LOOP**2 * np.eye(7)
    edges = Edges(b, a, measured, np.linalg.inv(covariance))
    keep = agreeing(nodes, edges, BROKEN**2 * looseness, LOOP**2)
    return optimise(nodes, chain, edges.select(keep)) @ local_from_world, [lo for lo, k in zip(loops, keep) if k]


def _ends(loops: list[Loop]) -> tuple[list[int], list[int]]:
    """Frames a and b of all loops."""
    return [loop.ties.a for loop in loops], [loop.ties.b for loop in loops]


def _moved(state: State, obs: Observations, at: np.ndarray, correction: np.ndarray, placed: np.ndarray) -> State:
    """Every camera and point moved by the correction at its frame."""
    frames = np.arange(len(state.R))
    k = np.clip(np.searchsorted(at, frames, side="right") - 1, 0, len(at) - 2)
    share = np.clip((frames - at[k]) / (at[k + 1] - at[k]), 0, 1)
    C = sim3.between(correction[k], correction[k + 1], share)
    scale = sim3.scale_of(C)
    R = state.R @ C[:, :3, :3].swapaxes(1, 2) / scale[:, None, None]
    centers = -(state.R.swapaxes(1, 2) @ state.t[..., None])
    t = -(R @ (C[:, :3, :3] @ centers + C[:, :3, 3:]))[..., 0]
    middle = np.bincount(obs.point, obs.frame, len(state.points)) / np.bincount(obs.point, minlength=len(state.points))
    points = (C[middle.round().astype(int)] @ state.points[..., None])[..., 0]
    state = replace(state, R=R, t=t, points=points / np.linalg.norm(points, axis=1, keepdims=True))
    return state if state.shutter is None else with_twist(state, placed)


def _gap(loops: list[Loop], state: State, obs: Observations) -> float:
    """Median pixels between tied points, of all loops together."""
    return float(np.median(np.concatenate([gaps(loop.ties, state, obs, np.eye(4)) for loop in loops])))


def _judged(shot: ShotInput, solution: ShotSolution, state: State) -> ShotSolution:
    """The solution with another state: what holds it up, and how well it fits."""
    keep = fits(state, solution.obs, INLIER_PX)
    keep &= (np.bincount(solution.obs.point[keep], minlength=len(state.points)) > 1)[solution.obs.point]
    used = solution.obs.select(keep)
    seen = shot.obs.select(solution.placed[shot.obs.frame])
    seen = renumber(seen.select((np.bincount(seen.point) > 1)[seen.point]))
    fit = judge(state, seen)
    return replace(
        solution, state=replace(state, points=state.points[np.unique(used.point)]), obs=renumber(used), fit=fit
    )
