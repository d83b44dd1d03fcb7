"""Incremental mapping: cameras and points of a clip from its tracks alone, whatever the network thinks.

Choices
- Grow from the pair of frames with most parallax, always taking the frame next to a known one that sees most points:
  its pose from PnP in RANSAC, new points by triangulation, then bundle adjustment of the frames around it.
- The whole map is adjusted each time it has grown by half: the sum of those solves is linear in the frames.
- Only points whose rays span an angle take part while growing: others would hold the camera to a guessed depth. It is
  `MIN_ANGLE`, or less where even the first pair spans less: a map of little parallax is better than none.
- A frame PnP refuses is asked once more after its neighbours are known, and otherwise left to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State
from openmore.refinement.adjustment.rolling import free_axes, with_twist
from openmore.refinement.adjustment.shutter import Shutter
from openmore.refinement.adjustment.solver import Settings, solve
from openmore.refinement.adjustment.triangulate import fits, ray_angles, triangulate
from openmore.refinement.cameras.focal import intrinsics
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.tracks import renumber
from openmore.refinement.matching.twoview import Pair, RelativeMotion, relative_motion

MIN_ANGLE = 1.0  # degrees, while growing
SEED_SHARE = 0.3  # of the median angle of the first pair, where that is less than MIN_ANGLE
FAR_ANGLE = 0.2  # degrees, at the end
MIN_PNP = 15  # inliers
PNP_PX = 3.0
OUTLIER_PX = 3.0
SEEDS = 10  # pairs tried as the beginning
WINDOW = 8  # frames adjusted after each new one,
WITNESSES = 16  # while so many see their points: a long track costs no more than a short one


@dataclass(frozen=True)
class FocalModel:
    """What is known of the focal length."""

    free: bool
    prior: tuple[float, float] | None  # log focal length and its standard deviation, when free


class Mapper:
    """The growing map. `state` holds every frame and point of the clip; `known` and `placed` say which are real."""

    def __init__(self, obs: Observations, frames: int, K: np.ndarray, focal: FocalModel):
        self.obs, self.frames, self.focal = obs, frames, focal
        points = int(obs.point.max()) + 1 if len(obs) else 0
        self.state = State(
            R=np.tile(np.eye(3), (frames, 1, 1)),
            t=np.zeros((frames, 3)),
            points=np.tile([0.0, 0, 1, 0], (points, 1)),
            focal=float(K[0, 0]),
            aspect=float(K[1, 1] / K[0, 0]),
            center=K[:2, 2].copy(),
            depth_scale=np.zeros(frames),
            depth_shift=np.zeros(frames),
        )
        self.known = np.zeros(frames, bool)
        self.placed = np.zeros(points, bool)
        self.good = np.ones(len(obs), bool)
        self.tries = np.zeros(frames, int)
        self.least_angle = MIN_ANGLE
        self._by_frame = np.argsort(obs.frame, kind="stable")
        self._frame_starts = np.searchsorted(obs.frame[self._by_frame], np.arange(frames + 1))
        self._point_starts = np.searchsorted(obs.point, np.arange(points + 1))

    def grow(self, pairs: Sequence[Pair], keypoints: Sequence[Keypoints], rank: int = 0) -> bool:
        """Map as many frames as hang together, from the pair of that `rank` on. False when no such pair can begin."""
        first = self._seed(pairs, keypoints, rank)
        if first is None:
            return False
        adjusted = 2
        while (frame := self._next()) is not None:
            if not self._locate(frame):
                continue
            self._place(self.rows_of([frame]))
            self._adjust(self._around(frame, WINDOW), held=2, iterations=2, witnesses=self._around(frame, WITNESSES))
            if self.known.sum() >= 1.5 * adjusted:
                adjusted = int(self.known.sum())
                self.adjust_all(first, iterations=8)
        return True

    def start_from(self, world_from_cam: np.ndarray, frames: np.ndarray, shutter: Shutter | None = None) -> None:
        """Take the cameras [S, 4, 4] of some frames as they are given."""
        R = world_from_cam[:, :3, :3].swapaxes(1, 2)
        self.state = replace(self.state, R=R.copy(), t=-(R @ world_from_cam[:, :3, 3:])[..., 0], shutter=shutter)
        self.known[frames] = True

    def extend(self, frame: int) -> bool:
        """Place one more frame in a map whose cameras are known, and adjust those around it. False when PnP fails."""
        self.refresh()
        if not self._locate(frame):
            return False
        self._place(self.rows_of([frame]))
        self._adjust(self._around(frame, WINDOW + 1), held=2, iterations=6, focal=self.focal.free)
        return True

    def refresh(self) -> None:
        """All points again from the cameras, far ones too."""
        self.placed[:] = False
        self.good[:] = True
        self._place(np.flatnonzero(self.known[self.obs.frame]), min(FAR_ANGLE, self.least_angle))

    def adjust_all(self, first: int, iterations: int) -> None:
        """Bundle adjustment of everything known, focal length included; frame `first` stays."""
        self._adjust(np.flatnonzero(self.known), held=[first], iterations=iterations, focal=self.focal.free)
        self._place(np.flatnonzero(self.known[self.obs.frame]))

    def polish(self, width: float) -> None:
        """All points again from the cameras, and bundle adjustment of everything with a loss of that width, pixels."""
        if self.state.shutter is not None:
            self.state = with_twist(self.state, self.known)
        self.refresh()
        known = np.flatnonzero(self.known)
        self._adjust(known, held=[int(known[0])], iterations=15, focal=self.focal.free, robust_px=width)

    def used(self) -> Observations:
        """The observations that hold up the present solution; point numbers are those of `state.points`."""
        return self.obs.select(self.good & self.known[self.obs.frame] & self.placed[self.obs.point])

    def rows_of(self, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """Observation rows of some frames."""
        return np.concatenate([self._by_frame[self._frame_starts[f] : self._frame_starts[f + 1]] for f in frames])

    def _rows_of_points(self, points: np.ndarray) -> np.ndarray:
        starts, ends = self._point_starts[points], self._point_starts[points + 1]
        length = ends - starts
        return np.repeat(starts - np.cumsum(length) + length, length) + np.arange(length.sum())

    def _seed(self, pairs: Sequence[Pair], keypoints: Sequence[Keypoints], rank: int) -> int | None:
        """Begin with the pair that holds most structure, or a later one; returns the frame that stays."""
        K = intrinsics(self.state.focal, self.state.aspect, self.state.center)
        found: list[tuple[RelativeMotion, Pair]] = []
        for pair in sorted(pairs, key=lambda p: -len(p.index) * (1.05 - p.plane_share))[:SEEDS]:
            uv_a, uv_b = keypoints[pair.a].uv[pair.index[:, 0]], keypoints[pair.b].uv[pair.index[:, 1]]
            motion = relative_motion(uv_a, uv_b, K)
            if motion is not None:
                found.append((motion, pair))
        if len(found) <= rank:
            return None
        best, begin = sorted(found, key=lambda f: -f[0].parallax)[rank]
        self._set_camera(begin.b, best.b_from_a[:3, :3], best.b_from_a[:3, 3])
        self.known[[begin.a, begin.b]] = True
        self.least_angle = min(MIN_ANGLE, SEED_SHARE * best.angle_deg)
        self._place(self.rows_of([begin.b]))
        self._adjust(np.array([begin.a, begin.b]), held=[begin.a], iterations=10)
        return begin.a

    def _next(self) -> int | None:
        """The unknown frame that sees most placed points, among those near known ones; None when all are done."""
        open_ = ~self.known & (self.tries < 2)
        if not open_.any():
            return None
        best, most = None, MIN_PNP - 1
        for frame in self._frontier(open_):
            rows = self.rows_of([frame])
            seen = int(self.placed[self.obs.point[rows]].sum())
            seen = seen // 4 if self.tries[frame] else seen
            if seen > most:
                best, most = int(frame), seen
        if best is None and (self.tries[open_] == 0).any():
            # Nothing next to the map sees enough of it: look at every open frame once (a jump in the video).
            counts = np.bincount(self.obs.frame[self.placed[self.obs.point]], minlength=self.frames)
            counts[~open_] = 0
            return int(counts.argmax()) if counts.max() >= MIN_PNP else None
        return best

    def _frontier(self, open_: np.ndarray) -> np.ndarray:
        """Open frames within two steps of a known one."""
        near = np.zeros(self.frames, bool)
        for k in (1, 2):
            near[k:] |= self.known[:-k]
            near[:-k] |= self.known[k:]
        return np.flatnonzero(near & open_)

    def _locate(self, frame: int) -> bool:
        """Pose of a frame from the points it sees."""
        import cv2

        rows = self.rows_of([frame])
        rows = rows[self.placed[self.obs.point[rows]]]
        self.tries[frame] += 1
        X = self.state.points[self.obs.point[rows]]
        xyz, uv = X[:, :3] / np.maximum(X[:, 3:], 1e-6), self.obs.uv[rows]
        K = intrinsics(self.state.focal, self.state.aspect, self.state.center)
        if len(rows) < MIN_PNP:
            return False
        try:
            found, turn, t, inlier = cv2.solvePnPRansac(
                xyz, uv, K, None, iterationsCount=500, reprojectionError=PNP_PX, confidence=0.999,
                flags=cv2.SOLVEPNP_SQPNP,
            )  # fmt: skip
        except cv2.error:  # points that lie all in one place
            return False
        if not found or inlier is None or len(inlier) < max(MIN_PNP, 0.2 * len(rows)):
            return False
        inlier = np.asarray(inlier, np.int64).ravel()
        turn, t = cv2.solvePnPRefineLM(xyz[inlier], uv[inlier], K, None, turn, t)
        self._set_camera(frame, cv2.Rodrigues(turn)[0], t.ravel())
        self.known[frame] = True
        return True

    def _set_camera(self, frame: int, R: np.ndarray, t: np.ndarray) -> None:
        state = replace(self.state, R=self.state.R.copy(), t=self.state.t.copy())
        state.R[frame], state.t[frame] = R, t
        self.state = state

    def _around(self, frame: int, count: int) -> np.ndarray:
        """Known frames nearest in time, nearest first."""
        known = np.flatnonzero(self.known)
        return known[np.argsort(np.abs(known - frame), kind="stable")[:count]]

    def _place(self, rows: np.ndarray, least_angle: float | None = None) -> None:
        """Triangulate the unplaced points among the observation rows that two known frames see."""
        least_angle = self.least_angle if least_angle is None else least_angle
        points = np.unique(self.obs.point[rows])
        points = points[~self.placed[points]]
        rows = self._rows_of_points(points)
        rows = rows[self.known[self.obs.frame[rows]]]
        twice = np.bincount(self.obs.point[rows], minlength=len(self.placed)) > 1
        rows = rows[twice[self.obs.point[rows]]]
        if not len(rows):
            return
        numbers = np.unique(self.obs.point[rows])
        obs = renumber(self.obs.select(rows))
        trial = replace(self.state, points=triangulate(self.state, obs))
        wrong = np.bincount(obs.point[~fits(trial, obs, OUTLIER_PX + 1)], minlength=len(numbers)) > 0
        take = ~wrong & (ray_angles(trial, obs) > least_angle)
        self.state.points[numbers[take]] = trial.points[take]
        self.placed[numbers[take]] = True
        self.good[rows] = True

    def _adjust(
        self, frames: np.ndarray, held: int | list[int], iterations: int, focal: bool = False,
        witnesses: np.ndarray | None = None, robust_px: float = 1.0,
    ) -> None:  # fmt: skip
        """Bundle adjustment of `frames` (nearest first): an int holds that many of the farthest, a list those named.

        `witnesses`: the frames whose observations count (default: all that are known).
        """
        stay = held if isinstance(held, list) else frames[-held:] if len(frames) > held + 1 else frames[-1:]
        free = np.zeros(self.frames, bool)
        free[frames] = True
        free[stay] = False
        seen = np.unique(self.obs.point[self.rows_of(frames)])
        points = seen[self.placed[seen]]
        rows = self._rows_of_points(points)
        heard = self.known if witnesses is None else np.isin(np.arange(self.frames), witnesses)
        rows = rows[self.good[rows] & heard[self.obs.frame[rows]]]
        twice = np.bincount(self.obs.point[rows], minlength=len(self.placed)) > 1
        rows = rows[twice[self.obs.point[rows]]]
        points = np.unique(self.obs.point[rows])
        if len(points) < MIN_PNP:
            return
        obs = renumber(self.obs.select(rows))
        prior = self.focal.prior if focal else None
        settings = Settings(
            free, free_focal=focal, free_readout=free_axes(self.state), robust_px=robust_px,
            iterations=iterations, focal_prior=prior, tolerance=1e-3,
        )  # fmt: skip
        solved = solve(replace(self.state, points=self.state.points[points]), obs, settings).state
        every = self.state.points
        every[points] = solved.points
        self.state = replace(solved, points=every)
        ok = fits(solved, obs, OUTLIER_PX)
        self.good[rows] = ok
        left = np.bincount(obs.point[ok], minlength=len(points))
        self.placed[points[left < 2]] = False
