"""Geometry for a stream: each camera is solved against a sliding window of keyframes and is final when returned.

Choices
- `KEYFRAMES` are kept (see `keyframes`) and the newest of them matched: time and memory per frame do not grow with the
  stream.
- Each frame is placed by PnP in RANSAC and adjusted together with the window, whose two oldest cameras hold the gauge.
  The window goes on improving inside; what was returned is never changed, so small steps remain where it did.
- Until the window shows parallax the camera only turns; where nothing matches, the network's relative motion is
  appended. A new map takes its scale from the network's depth.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from openmore.io.intrinsics import Intrinsics
from openmore.refinement.adjustment.bundle import Observations
from openmore.refinement.adjustment.triangulate import ray_angles
from openmore.refinement.apply import working_picture
from openmore.refinement.cameras.camera_motion import longest
from openmore.refinement.cameras.focal import focal_from_pairs, intrinsics, matched_rays, square_pixels
from openmore.refinement.cameras.mapper import FocalModel, Mapper
from openmore.refinement.cameras.scaling import fit_depth, rescaled, scene_scale
from openmore.refinement.cameras.shot import world_from_cam
from openmore.refinement.matching import tracks
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.twoview import ROTATION_PX, Pair, fit_rotation
from openmore.refinement.stream.keyframes import Keyframes
from openmore.types import FramePrediction

KEYFRAMES = 8
LEAST_ANGLE = 0.5  # degrees between rays, median over the points, below which there is no map yet
FOCAL_VIEWS = 2  # earlier keyframes that vote for the focal length, when K is not known, before a map is begun
FAR_OFF = 0.5  # log ratio to the network's focal length beyond which so few votes are not believed
FIXED = FocalModel(False, None)  # a window is too short to solve for it: a free focal length runs off
LOST = 3  # frames in a row without a match after which the window begins anew, at the next that is not blank
NEARLY_ALL, TURN_PX = 0.8, 1.0  # share of matches that a rotation leaves less than so many pixels: no parallax
FEW_POINTS = 60  # key points below which a frame is blank

Source = Literal["geometry", "turning", "network"]


class SlidingWindow:
    """Refines a stream's predictions one by one."""

    def __init__(self, known: Intrinsics | None = None, keyframes: int = KEYFRAMES):
        """`known` intrinsics are taken as true. `keyframes`: size of the window."""
        self.known, self.keyframes = known, keyframes
        self.sources: Counter[str] = Counter()
        self.warnings: list[str] = []
        self.frames = 0
        self._window = Keyframes()
        self._K: np.ndarray | None = None
        self._mapped = False
        self._lost = 0  # frames in a row that matched nothing
        self._refused = 0  # frames in a row that the map could not place

    @threadpool_limits.wrap(limits=1, user_api="blas")  # as in apply: small matrices
    def push(self, image: np.ndarray, prediction: FramePrediction) -> FramePrediction:
        """The prediction with its camera solved and its depth in the same units; `image` uint8 [H, W, 3] RGB."""
        picture = working_picture(image)
        camera = prediction.camera
        ratio = np.diag([picture.shape[1] / camera.width, picture.shape[0] / camera.height, 1.0])
        if self._K is None:
            if self.known is None:
                self._K = square_pixels(ratio @ camera.K)
            else:
                self._K = ratio @ self.known.K_for((camera.height, camera.width))
        self._window.add(picture, prediction)
        source, scale, shift = self._solve(picture.shape[:2])
        pose = self._window.views[-1].pose.copy()
        self.sources[source] += 1
        self.frames += 1
        self._tidy(max(picture.shape[:2]))
        depth = np.maximum(scale * prediction.depth + shift, 1e-6).astype(np.float32)
        camera = replace(camera, world_from_cam=pose, K=np.linalg.inv(ratio) @ self._K)
        return replace(prediction, camera=camera, depth=depth, points=None)

    def report(self) -> dict[str, Any]:
        """Plain values for scene.json: frames whose pose came from each source, the last focal length, warnings."""
        focal = None if self._K is None else round(float(self._K[0, 0]), 3)
        return {"sources": dict(self.sources), "focal_working_px": focal, "warnings": list(self.warnings)}

    def _solve(self, shape: tuple[int, int]) -> tuple[Source, float, float]:
        """Set the newest view's pose; returns how, and its depth's scale and shift."""
        own = self._window.pairs_of_newest()
        if not own:
            self._lost += len(self._window) > 1
            return ("network", 1.0, 0.0)
        self._lost = 0
        obs, keypoints = self._window.observations(shape), self._window.keypoints
        if self._mapped:
            if (placed := self._extend(obs)) is not None:
                self._refused = 0
                return ("geometry", *placed)
            self._refused += 1
            self._mapped = self._refused < LOST
        if not self._mapped and (placed := self._begin(obs, keypoints, shape)) is not None:
            return ("geometry", *placed)
        self._turn(max(own, key=lambda pair: len(pair.index)), keypoints)
        return ("turning", 1.0, 0.0)

    def _extend(self, obs: Observations) -> tuple[float, float] | None:
        """Place the newest view in the map and adjust the window. None when it cannot be placed."""
        assert self._K is not None
        new = len(self._window) - 1
        mapper = Mapper(obs, new + 1, self._K, FIXED)
        mapper.start_from(np.stack([view.pose for view in self._window.views]), np.arange(new))
        if not mapper.extend(new):
            return None
        return self._take(mapper, np.arange(new + 1))

    def _begin(
        self, obs: Observations, keypoints: list[Keypoints], shape: tuple[int, int]
    ) -> tuple[float, float] | None:
        """Make a map from the window, when it shows parallax. None when it does not."""
        assert self._K is not None
        pairs, new = list(self._window.pairs.values()), len(self._window) - 1
        if self.known is None:
            focal = focal_from_pairs(pairs, self._K, max(shape))
            if abs(float(np.log(focal / self._K[0, 0]))) < FAR_OFF:
                self._K = intrinsics(focal, self._K[1, 1] / self._K[0, 0], self._K[:2, 2])
        if (self.known is None and new < FOCAL_VIEWS) or self._only_turns(pairs, keypoints):
            return None
        # The pair with most parallax may be too old for its map to reach the newest view: then begin with that one.
        for seeds in (pairs, [pair for pair in pairs if pair.b == new]):
            mapper = Mapper(obs, new + 1, self._K, FIXED)
            if mapper.grow(seeds, keypoints) and mapper.known[new]:
                break
        else:
            return None
        used = mapper.used()
        if not len(used) or np.median(ray_angles(mapper.state, tracks.renumber(used))) < LEAST_ANGLE:
            return None
        points = np.unique(used.point)
        state = replace(mapper.state, points=mapper.state.points[points])
        first = int(np.flatnonzero(mapper.known)[0])
        scale = self._scale_before(world_from_cam(state), mapper.known)
        state = rescaled(state, scale or scene_scale(state, tracks.renumber(used)))
        poses = world_from_cam(state)
        align = self._window.views[first].pose @ np.linalg.inv(poses[first])
        R = (align @ poses)[:, :3, :3].swapaxes(1, 2)
        t = -(R @ (align @ poses)[:, :3, 3:])[..., 0]
        mapper.state = replace(mapper.state, R=R, t=t)
        mapper.refresh()
        self._mapped, self._refused = True, 0
        return self._take(mapper, np.flatnonzero(mapper.known))

    def _scale_before(self, poses: np.ndarray, known: np.ndarray) -> float | None:
        """What brings new cameras to the lengths of an earlier map that shares views; None when there is none."""
        old = [i for i in np.flatnonzero(known) if self._window.views[i].solved]
        if len(old) < 2:
            return None
        before = np.linalg.norm(self._window.views[old[-1]].pose[:3, 3] - self._window.views[old[0]].pose[:3, 3])
        now = np.linalg.norm(poses[old[-1], :3, 3] - poses[old[0], :3, 3])
        return float(before / now) if min(before, now) > 1e-9 else None

    def _only_turns(self, pairs: list[Pair], keypoints: list[Keypoints]) -> bool:
        """Whether rotations explain nearly all matches of the longest steps: near things must stand out, not most."""
        assert self._K is not None
        K, width = self._K, ROTATION_PX / self._K[0, 0]
        left = [np.quantile(fit_rotation(*matched_rays(p, keypoints, K), width)[1], NEARLY_ALL) for p in longest(pairs)]
        return not left or float(np.median(left)) * K[0, 0] < TURN_PX

    def _take(self, mapper: Mapper, frames: np.ndarray) -> tuple[float, float]:
        """Take over what the mapper found; scale and shift of the newest view's depth."""
        assert self._K is not None
        poses = world_from_cam(mapper.state)
        for i in frames:
            self._window.views[i].pose, self._window.views[i].solved = poses[i], True
        self._K = intrinsics(mapper.state.focal, mapper.state.aspect, mapper.state.center)
        used = mapper.used()
        points = np.unique(used.point)
        state = replace(mapper.state, points=mapper.state.points[points])
        fit = fit_depth(state, tracks.renumber(used), len(poses))
        return float(fit.scale[-1]), float(fit.shift[-1])

    def _turn(self, pair: Pair, keypoints: list[Keypoints]) -> None:
        """The newest view only turned since the other one of `pair`."""
        assert self._K is not None
        turn = fit_rotation(*matched_rays(pair, keypoints, self._K), ROTATION_PX / self._K[0, 0])[0]
        pose = self._window.views[pair.a].pose.copy()
        pose[:3, :3] = pose[:3, :3] @ turn.T
        self._window.views[pair.b].pose = pose

    def _tidy(self, long_side: int) -> None:
        """Keep the newest view if it is a keyframe, and at most `keyframes` of them."""
        new = len(self._window) - 1
        if self._lost >= LOST and len(self._window.views[new].keypoints) >= FEW_POINTS:
            self.warnings.append(f"frame {self.frames - 1} matches nothing seen lately (a cut?): the map begins anew")
            self._window.keep_only_newest()
            self._mapped, self._lost = False, 0
            return
        if self._window.newest_adds_little(long_side) and not self._holds_map(new):
            return self._window.drop(new)
        if new and not self._window.pairs_of_newest():
            return self._window.drop(new)
        if len(self._window) > self.keyframes:
            self._window.drop(0)

    def _holds_map(self, new: int) -> bool:
        """Without the newest view the map would have too few cameras to triangulate from."""
        return self._mapped and sum(view.solved for view in self._window.views[:new]) < 2
