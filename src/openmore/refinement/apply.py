"""Refine a list of predictions: the door the pipeline uses.

Pictures are kept at `WORKING_SIDE` pixels, enough for matching; cameras come back in original pixels, and depth is
moved by the scale and shift the solver found, so that depth and cameras stay one geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from openmore.flow import FlowEstimator, get_flow
from openmore.progress import ProgressCallback, silent
from openmore.refinement.cameras.structure import Structure
from openmore.refinement.dense.agreement import agreed
from openmore.refinement.dense.on_screen import FAR, on_screen, path
from openmore.refinement.dense.predictions import Fuse, describe, keep, measure, replaced, shots_of
from openmore.refinement.dense.walk import DenseFrame
from openmore.refinement.refine import RefinementResult, refine
from openmore.refinement.report import RefinementReport
from openmore.types import FramePrediction, SparseTracks

WORKING_SIDE = 512  # pixels


def working_picture(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] shrunk so that its long side is at most `WORKING_SIDE`."""
    height, width = image.shape[:2]
    ratio = WORKING_SIDE / max(height, width)
    if ratio >= 1:
        return image
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


# The solvers work on small matrices, over which BLAS threads mostly wait for each other, on a busy machine for minutes.
@threadpool_limits.wrap(limits=1, user_api="blas")
def refine_predictions(
    predictions: Sequence[FramePrediction],
    pictures: Sequence[np.ndarray],
    progress: ProgressCallback = silent,
    K: np.ndarray | None = None,
    flow: FlowEstimator | None = None,
    fuse: Fuse = keep,
) -> tuple[list[FramePrediction], RefinementReport, SparseTracks | None]:
    """Predictions with refined cameras, measured depth and motion, the report, and the tracks they stand on.

    `pictures` as `working_picture` makes them; `K` [3, 3], original pixels, is taken as true when given; `flow` between
    frames, DIS unless given, measures depth and motion; `fuse` settles each frame's measurements
    (`openmore.refinement.dense.fusion`), or keeps them as they are.
    """
    camera = predictions[0].camera
    height, width = pictures[0].shape[:2]
    working_from_original = np.diag([width / camera.width, height / camera.height, 1.0])
    moving = [p.motion for p in predictions if p.motion is not None]
    dense = _Dense(predictions, pictures, progress, flow, fuse)
    result = refine(
        pictures,
        np.stack([p.camera.world_from_cam for p in predictions]),
        working_from_original @ np.stack([p.camera.K for p in predictions]),
        K=None if K is None else working_from_original @ K,
        depth=[p.depth for p in predictions],
        confidence=[p.confidence for p in predictions],
        motion=moving if len(moving) == len(predictions) else None,
        look=dense.look,
        progress=progress,
    )
    frames = dense.settled(result)
    solved_K = np.linalg.inv(working_from_original) @ result.K
    first_from_world = np.linalg.inv(result.world_from_cam[0])
    refined = []
    for i, p in enumerate(predictions):
        depth = np.maximum(result.depth_scale[i] * p.depth + result.depth_shift[i], 1e-6).astype(np.float32)
        pose = first_from_world @ result.world_from_cam[i]
        # The point head's cloud belongs to the network's own cameras: it does not follow them.
        refined.append(
            replace(p, camera=replace(p.camera, world_from_cam=pose, K=solved_K[i]), depth=depth, points=None)
        )
    describe(result.report, predictions, frames, dense.flow.name, fuse is not keep, dense.screen)
    refined = replaced(refined, frames)
    tracks = sparse_tracks(result.structure, pictures, first_from_world, (camera.height, camera.width))
    return refined, result.report, tracks


class _Dense:
    """Measures depth and motion under the first cameras, and again only if the second ones were taken."""

    def __init__(
        self, predictions: Sequence[FramePrediction], pictures: Sequence[np.ndarray], progress: ProgressCallback,
        flow: FlowEstimator | None, fuse: Fuse,
    ):  # fmt: skip
        self.predictions, self.pictures, self.progress, self.fuse = predictions, pictures, progress, fuse
        self.flow = flow or get_flow("dis")
        self.frames: list[DenseFrame] = []
        self.screen: np.ndarray | None = None

    def look(self, result: RefinementResult) -> list[np.ndarray] | None:
        """What moves in every frame; None when that could not be measured everywhere."""

        def depth(s: int) -> np.ndarray:
            return np.maximum(result.depth_scale[s] * self.predictions[s].depth + result.depth_shift[s], 1e-6)

        self.screen = self._on_screen(result, depth)
        self.frames = measure(
            self.pictures,
            result.K,
            result.world_from_cam,
            result.report,
            depth,
            self.flow,
            result.shutter,
            self.fuse,
            self.screen,
            self.progress,
        )
        # The solver asks what residuals contradict its cameras; what merely looks like a mover may well hold a match.
        seen = [f.motion if f.residuals is None else f.residuals for f in self.frames]
        motion = [np.zeros((1, 1), np.float32) if m is None else m.astype(np.float32) for m in seen]
        return motion if any(m is not None for m in seen) else None

    def _on_screen(self, result: RefinementResult, depth: Callable[[int], np.ndarray]) -> np.ndarray | None:
        """[H, W] bool: what of the pictures is no part of the scene; None where the camera hardly moved, too."""
        at = np.flatnonzero([source == "geometry" for source in result.report.sources])
        far = path(result.K[at], result.world_from_cam[at], lambda i: depth(int(at[i])), self.pictures[0].shape[:2])
        return on_screen(self.pictures, at) if far >= FAR else None

    def settled(self, result: RefinementResult) -> list[DenseFrame]:
        """The frames under the cameras that were chosen, their depth settled among neighbours."""
        second = result.report.second_solve
        if second is not None and second.taken:
            self.look(result)
        (height, width), (h, w) = self.pictures[0].shape[:2], self.predictions[0].shape
        in_maps = np.diag([w / width, h / height, 1.0]) @ result.K
        return agreed(self.frames, in_maps, result.world_from_cam, shots_of(result.report))


def sparse_tracks(
    structure: Structure, pictures: Sequence[np.ndarray], first_from_world: np.ndarray, shape: tuple[int, int]
) -> SparseTracks | None:
    """The structure in the scene's world and in pixels of frames of `shape`, coloured; None when there is none."""
    if not len(structure.xyz):
        return None
    height, width = pictures[0].shape[:2]
    xyz = structure.xyz @ first_from_world[:3, :3].T + first_from_world[:3, 3]
    first = np.unique(structure.point, return_index=True)[1]
    at = np.round(structure.uv[first]).astype(int).clip(0, (width - 1, height - 1))
    rgb = np.stack([pictures[s][v, u] for s, (u, v) in zip(structure.frame[first], at)])
    pixel = structure.uv * (shape[1] / width, shape[0] / height)
    return SparseTracks(
        xyz.astype(np.float32),
        rgb.astype(np.uint8),
        structure.point.astype(np.int32),
        structure.frame.astype(np.int32),
        pixel.astype(np.float32),
    )
