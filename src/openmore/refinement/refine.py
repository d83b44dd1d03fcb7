"""Refinement: accurate cameras for a clip from its pictures, using the network's depth, motion and cameras as advice.

Choices
- Pictures are walked once (`survey`); everything after it works on key points.
- The answer replaces the network's cameras only where it explains the tracks better; every frame's source is reported.
- World, scale and depth stay in the network's units: the first placed camera of each shot keeps the network's pose.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openmore.errors import InputError
from openmore.progress import ProgressCallback, silent
from openmore.refinement.adjustment.bundle import Observations, State
from openmore.refinement.adjustment.shutter import Shutter
from openmore.refinement.adjustment.uncertainty import camera_sigmas
from openmore.refinement.cameras.camera_motion import find_shots
from openmore.refinement.cameras.focal import square_pixels
from openmore.refinement.cameras.gaps import fill, nearest_lens
from openmore.refinement.cameras.given import check_given
from openmore.refinement.cameras.scaling import fit_depth, rescaled, scene_scale
from openmore.refinement.cameras.second_solve import FEW, compare, without_movers
from openmore.refinement.cameras.shot import (
    ShotInput,
    ShotSolution,
    judge,
    judge_clip,
    readout_of,
    solve_shot,
    started_from,
    state_of,
    world_from_cam,
)
from openmore.refinement.cameras.structure import Structure, joined, structure_of
from openmore.refinement.loops.close import close_loops
from openmore.refinement.matching import tracks
from openmore.refinement.matching.prior import Prior
from openmore.refinement.matching.survey import ImageSource, Survey, survey
from openmore.refinement.options import RefineOptions
from openmore.refinement.report import Fit, RefinementReport, Source
from openmore.refinement.warnings import describe_cuts, describe_loops, describe_shot, describe_survey

Arrays = Sequence[np.ndarray] | Callable[[int], np.ndarray]


@dataclass
class RefinementResult:
    """What refinement returns. Scene units are the network's."""

    world_from_cam: np.ndarray  # [S, 4, 4] float64
    K: np.ndarray  # [S, 3, 3] float64, pixels of the pictures given
    depth_scale: np.ndarray  # [S]; refined depth = depth_scale * depth + depth_shift
    depth_shift: np.ndarray  # [S], scene units
    report: RefinementReport
    shutter: Shutter  # when the pixels of each frame were seen, scene units
    structure: Structure  # the points of moving cameras and where they were seen, pixels of the pictures given

    def in_pixels(self, ratio: np.ndarray, structures: list[Structure]) -> RefinementResult:
        """Self with K and `structures` in the pictures' pixels: `ratio` [3] of them to the solver's."""
        self.K = np.diag(ratio) @ self.K
        self.structure = joined(structures).scaled_pixels(ratio[:2])
        return self


# Shown cameras, K in pixels of the pictures and the depth's scale: the motion probability of every frame, or None.
Look = Callable[[RefinementResult], Sequence[np.ndarray] | None]


def refine(
    images: ImageSource,
    cameras: np.ndarray,
    K_guess: np.ndarray,
    *,
    K: np.ndarray | None = None,
    depth: Arrays | None = None,
    confidence: Arrays | None = None,
    motion: Arrays | None = None,
    options: RefineOptions | None = None,
    look: Look | None = None,
    progress: ProgressCallback = silent,
) -> RefinementResult:
    """Solve for the cameras of a clip.

    `images[s]` (or `images(s)`) is uint8 [H, W, 3] RGB; `cameras` [S, 4, 4] is the network's world_from_cam and
    `K_guess` [3, 3] or [S, 3, 3] its intrinsics, in pixels of the pictures. `K` [3, 3], when given, is taken as true.
    `depth`, `confidence` and `motion` are the network's [h, w] arrays per frame, at any resolution.
    `look` is shown the first answer and says what moves under it, [h, w] per frame: the solver is then run once more.
    Raises InputError when shapes do not fit; whatever is wrong with the video itself is a warning in the report.
    """
    options = options or RefineOptions()
    cameras = _checked_cameras(cameras)
    S = len(cameras)
    clock = _Clock()
    seen = survey(
        images, S, _priors(depth, confidence, motion),
        long_side=options.long_side, features=options.features, progress=progress,
    )  # fmt: skip
    clock.lap("match")
    original = _shape(images)
    ratio = np.array([seen.shape[1] / original[1], seen.shape[0] / original[0], 1.0])
    guess = square_pixels(np.diag(ratio) @ _one_K(K_guess)) if K is None else np.diag(ratio) @ np.asarray(K, np.float64)
    job = _Job(seen, cameras, guess, K is not None, options)
    result = job.run(progress).in_pixels(1 / ratio, job.structures)
    clock.lap("solve")
    if look is not None:
        motion = look(result)
        clock.lap("look")
        if motion is not None:
            result = _once_more(job, result, motion, ratio, progress)
        clock.lap("solve again")
    result.report.seconds = clock.laps
    return result


def _once_more(
    job: _Job, first: RefinementResult, motion: Sequence[np.ndarray], ratio: np.ndarray, progress: ProgressCallback
) -> RefinementResult:
    """The answer without the movers of `motion`, where that is the better one."""
    seen, dropped = without_movers(job.seen, motion)
    if dropped < FEW or set(first.report.sources) == {"still"}:
        return first
    again = _Job(seen, job.network, job.K, job.known_K, job.options, job.solved)
    second = again.run(progress).in_pixels(1 / ratio, again.structures)
    static = again._tracks(list(seen.pairs.values()))
    before, after = (judge_clip(r.world_from_cam, np.diag(ratio) @ r.K, r.shutter, static) for r in (first, second))
    verdict = compare(before, after, first.world_from_cam, second.world_from_cam, dropped)
    chosen = second if verdict.taken else first
    chosen.report.before, chosen.report.second_solve = first.report.before, verdict
    return chosen


class _Job:
    """One clip on its way through the solver."""

    def __init__(
        self, seen: Survey, network: np.ndarray, K: np.ndarray, known_K: bool, options: RefineOptions,
        starts: Mapping[int, State] | None = None,
    ):  # fmt: skip
        """`starts`: what an earlier job has `solved`."""
        self.seen, self.network, self.K, self.known_K, self.options = seen, network, K, known_K, options
        self.starts, self.solved = starts or {}, dict[int, State]()  # moving cameras by the first frame of their shot
        self.report = RefinementReport(shape=seen.shape, focal_before=float(K[0, 0]), focal_free=not known_K)
        S = len(network)
        self.result = RefinementResult(
            network.copy(),
            np.tile(K, (S, 1, 1)),
            np.ones(S),
            np.zeros(S),
            self.report,
            Shutter.none(S),
            Structure.none(),
        )
        self.structures: list[Structure] = []
        self.sources: list[Source] = ["network"] * S
        self.longest = 0  # frames solved in the shot that the report's single figures are of
        self.report.rotation_sigma_deg, self.report.center_sigma = np.full(S, np.nan), np.full(S, np.nan)

    def run(self, progress: ProgressCallback) -> RefinementResult:
        """Solve shot by shot, then fill the gaps and write the report."""
        S, pairs = len(self.network), list(self.seen.pairs.values())
        describe_survey(self.report, self.seen)
        obs = self._tracks(pairs)
        shots = find_shots(S, pairs)
        describe_cuts(self.report, shots, S)
        self.report.shots = [(int(s[0]), int(s[-1])) for s in shots]
        for done, frames in enumerate(shots):
            self._shot(frames, obs)
            progress("solve", done + 1, len(shots))
        self.report.before = judge(state_of(self.network, self.K), obs)
        self.result.K = nearest_lens(self.result.K, shots)
        self.report.after = judge_clip(self.result.world_from_cam, self.result.K, self.result.shutter, obs)
        self.report.focal_after = float(np.median(self.result.K[:, 0, 0]))
        self.report.sources = self.sources
        return self.result

    def _tracks(self, pairs: list) -> Observations:
        obs = tracks.link(self.seen.keypoints, pairs, self.seen.depth, self.seen.weight)
        if self._cuts_tracks():
            obs = tracks.cut(obs, self.options.span)
        return tracks.thin(obs, self.options.tracks_per_cell, self.seen.shape)

    def _cuts_tracks(self) -> bool:
        return len(self.network) > self.options.long_clip

    def _shot(self, frames: np.ndarray, obs: Observations) -> None:
        inside = np.zeros(len(self.network), bool)
        inside[frames] = True
        pairs = [p for p in self.seen.pairs.values() if inside[p.a] and inside[p.b]]
        own = tracks.renumber(obs.select(inside[obs.frame]))
        own = tracks.renumber(own.select((np.bincount(own.point) > 1)[own.point])) if len(own) else own
        shot = ShotInput(
            frames, pairs, self.seen.keypoints, own, self.network, self.K, self.known_K, max(self.seen.shape),
            self.starts.get(int(frames[0])),
        )  # fmt: skip
        solution = solve_shot(shot)
        before = judge(state_of(self.network, self.K), own)
        if solution is not None and solution.kind != "still" and shot.known_K:
            solution, doubt = check_given(shot, solution)
            if doubt:
                self.report.warn(doubt)
        if solution is not None and solution.kind == "moving" and self._cuts_tracks() and self.options.close_loops:
            solution, loops = close_loops(shot, solution, self.options.span)
            describe_loops(self.report, shot, loops)
        describe_shot(self.report, shot, solution, before)
        if solution is not None and _better(solution, before):
            self._accept(shot, solution)
            self.report.starts.append(started_from(solution))
        else:
            solution = None
            self.report.starts.append("none")
        self.report.readouts.append(readout_of(solution))

    def _accept(self, shot: ShotInput, solution: ShotSolution) -> None:
        """Bring a solution to the network's units and world, and fill the frames it lacks."""
        state, S, placed = solution.state, len(self.network), np.flatnonzero(solution.placed)
        speaks = len(placed) > self.longest
        if speaks:
            self.longest, self.report.camera_motion = len(placed), solution.kind
        if solution.kind == "moving":
            state = rescaled(state, scene_scale(state, solution.obs))
            depth = fit_depth(state, solution.obs, S)
            at = shot.frames
            self.result.depth_scale[at], self.result.depth_shift[at] = depth.scale[at], depth.shift[at]
            if speaks:
                self.report.depth_error = depth.relative_error
        if solution.kind != "still":
            sigmas = camera_sigmas(state, solution.obs, solution.placed, solution.kind == "moving")
            at = solution.placed
            self.report.rotation_sigma_deg[at], self.report.center_sigma[at] = sigmas[0][at], sigmas[1][at]
        poses = world_from_cam(state)
        world_from_solver = self.network[placed[0]] @ np.linalg.inv(poses[placed[0]])
        poses = world_from_solver @ poses
        if solution.kind == "moving":
            if solution.placed[shot.frames].all():
                self.solved[int(shot.frames[0])] = solution.state
            self.structures.append(structure_of(state, solution.obs, world_from_solver))
        if state.shutter is not None:
            self.result.shutter.readout[placed] = state.shutter.readout[placed]
            self.result.shutter.twist[placed] = state.shutter.twist[placed]
        inside = np.zeros(S, bool)
        inside[shot.frames] = True
        first, last = shot.frames[0], shot.frames[-1] + 1
        filled, bridged = fill(poses[first:last], solution.placed[first:last], self.network[first:last])
        own = np.flatnonzero(inside | np.r_[np.zeros(first, bool), bridged, np.zeros(S - last, bool)])
        self.result.world_from_cam[own] = filled[own - first]
        self.result.K[own] = [
            [state.focal, 0, state.center[0]],
            [0, state.focal * state.aspect, state.center[1]],
            [0, 0, 1],
        ]
        for s in own:
            solved: Source = "still" if solution.kind == "still" else "geometry"
            self.sources[s] = solved if solution.placed[s] else "interpolated" if bridged[s - first] else "network"


def _better(solution: ShotSolution, before: Fit) -> bool:
    """Whether the tracks support the solution at least as well as the network's cameras."""
    return solution.kind == "still" or solution.fit.support >= before.support


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = round(now - self._last, 3), now


def _priors(depth: Arrays | None, confidence: Arrays | None, motion: Arrays | None) -> Callable[[int], Prior]:
    def at(values: Arrays | None, s: int) -> np.ndarray | None:
        return None if values is None else values(s) if callable(values) else values[s]

    return lambda s: Prior(at(depth, s), at(confidence, s), at(motion, s))


def _checked_cameras(cameras: np.ndarray) -> np.ndarray:
    cameras = np.asarray(cameras, np.float64)
    if cameras.ndim != 3 or cameras.shape[1:] != (4, 4) or not len(cameras):
        raise InputError(f"refinement got cameras {list(cameras.shape)}: expected world_from_cam [S, 4, 4], S >= 1")
    if not np.isfinite(cameras).all():
        bad = int(np.flatnonzero(~np.isfinite(cameras).all((1, 2)))[0])
        raise InputError(f"refinement got a camera that is not finite (frame {bad}): reconstruct the clip again")
    return cameras


def _one_K(K: np.ndarray) -> np.ndarray:
    """The median intrinsics of a clip."""
    K = np.asarray(K, np.float64)
    return np.median(K, axis=0) if K.ndim == 3 else K


def _shape(images: ImageSource) -> tuple[int, int]:
    first = images(0) if callable(images) else images[0]
    return first.shape[0], first.shape[1]
