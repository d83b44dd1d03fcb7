"""From dense frames to coloured points, one frame at a time.

Choices
- Points come from depth and camera, not from the point head: the two agree by construction with the exported cameras.
- Confidence is cut per frame by default ("20%" drops each frame's least sure fifth), so that no frame disappears
  because another one is surer. A number is an absolute threshold.
- Depth edges are found on INVERSE depth: a plane's inverse depth is affine in the pixel, however slanted it is, so its
  second difference is zero and only jumps trip the test.
- A band around movers belongs to neither side: masks and depth are blurry there and would leave ghosts behind.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field

import numpy as np
import torch

from openmore.checks import FLAG, finite, optional, require, shown, whole
from openmore.errors import ConfigError, InputError
from openmore.export.cloud import CLOUD, pick_evenly, take
from openmore.export.thinning import VoxelThinner, thin
from openmore.geometry.camera import depth_to_world
from openmore.progress import ProgressCallback, silent
from openmore.types import FramePrediction, Reconstruction

log = logging.getLogger(__name__)

NO_COLOUR = 200  # grey of points whose frame carries no picture

_EXPECTED = {
    "motion": finite(0, 1),
    "motion_margin": whole(0),
    "edge": finite(0),
    "voxel": optional(finite(0)),
    "static_only": FLAG,
    "max_points": whole(1),
    "max_mover_points": whole(1),
}


@dataclass(frozen=True)
class PointOptions:
    """Which pixels become points. Every point-cloud export takes these as options."""

    confidence: float | str = "20%"  # "N%": drop each frame's least sure N percent; a number: absolute threshold
    motion: float = 0.5  # moving probability from which a pixel is a mover
    motion_margin: int = 2  # pixels around movers left out of the static cloud
    edge: float = 0.05  # relative jump of inverse depth that counts as an edge; 0 keeps edges
    voxel: float | None = None  # thinning cell, scene units; None: one pixel's footprint; 0: no thinning
    static_only: bool = False  # leave moving objects out
    max_points: int = 1_000_000  # of the static cloud; reached by growing the cell, so thinning stays even
    max_mover_points: int = 1_000_000  # of all frames' movers together

    def __post_init__(self) -> None:
        self.confidence_percent()
        require(vars(self), _EXPECTED)

    def confidence_percent(self) -> float | None:
        """The N of "N%", or None when `confidence` is an absolute threshold."""
        text = str(self.confidence)
        try:
            value = float(text.removesuffix("%"))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ConfigError(f"confidence {shown(text)} is neither a threshold such as 2.5 nor a share such as 20%")
        if not text.endswith("%"):
            return None
        if not 0 <= value < 100:
            raise ConfigError(f"confidence {text!r} drops everything or nothing sensible: give 0% to 99%")
        return value


@dataclass
class FilterCounts:
    """How many pixels each filter removed, to explain an empty cloud."""

    depth: int = 0  # pixels with a finite positive depth
    removed: dict[str, int] = field(default_factory=dict)

    def drop(self, name: str, count: int) -> None:
        self.removed[name] = self.removed.get(name, 0) + count

    def explain(self, options: PointOptions) -> str:
        if not self.depth:
            return "no point is left to export: no pixel of the scene has a finite positive depth"
        cuts = {"confidence": options.confidence, "depth edges": options.edge, "movers": options.motion}
        parts = ", ".join(f"{name} ({cuts[name]}) removed {count}" for name, count in self.removed.items())
        worst = max(self.removed, key=lambda name: self.removed[name])
        advice = {
            "confidence": "lower the confidence threshold",
            "depth edges": "raise edge, or set it to 0",
            "movers": "raise the motion threshold, or leave static_only out",
        }[worst]
        return f"no point is left to export: of {self.depth} pixels with depth, {parts}; {advice}"


@dataclass
class SceneCloud:
    """The static background of all frames together, and each frame's movers."""

    static: np.ndarray  # [N] CLOUD
    movers: list[np.ndarray]  # one [N_i] CLOUD per frame; all empty with static_only
    voxel: float  # the cell the static cloud was thinned with, scene units; 0 = not thinned


def frame_points(
    frame: FramePrediction, number: int, options: PointOptions, counts: FilterCounts | None = None, step: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """(static, movers) of one frame as CLOUD arrays; `number` is the frame's position in the reconstruction.

    `step` takes every step-th pixel of every step-th row, after filtering at full density.
    """
    counts = counts or FilterCounts()
    keep = np.isfinite(frame.depth) & (frame.depth > 0)
    counts.depth += int(keep.sum())
    keep = _cut(keep, confident(frame.confidence, options), "confidence", counts)
    if options.edge:
        keep = _cut(keep, ~depth_edges(frame.depth, options.edge), "depth edges", counts)
    moving = np.zeros(frame.shape, bool) if frame.motion is None else frame.motion >= options.motion
    static = _cut(keep, ~_dilate(moving, options.motion_margin), "movers", counts)
    movers = np.zeros_like(keep) if options.static_only else keep & moving
    cloud = _cloud(frame, number, step)
    return take(cloud, static[::step, ::step]), take(cloud, movers[::step, ::step])


def gather(recon: Reconstruction, options: PointOptions, progress: ProgressCallback = silent) -> SceneCloud:
    """Walk the frames once and keep at most the point budgets.

    Raises InputError when nothing is left, naming the filter that removed most.
    """
    counts = FilterCounts()
    thinner: VoxelThinner | None = None
    movers: list[np.ndarray] = []
    total, without_masks = len(recon), 0
    for number, frame in enumerate(recon.frames):
        static, moving = frame_points(frame, number, options, counts)
        if thinner is None:
            voxel = pixel_footprint(frame) if options.voxel is None else options.voxel
            thinner = VoxelThinner(voxel, options.max_points)
        thinner.add(static)
        movers.append(pick_evenly(thin(moving, thinner.first_voxel), options.max_mover_points // total or 1))
        without_masks += frame.motion is None
        progress("points", number + 1, total)
    if without_masks:
        log.warning("%d of %d frames have no motion mask: all their points count as static", without_masks, total)
    cloud = thinner.result() if thinner is not None else np.zeros(0, CLOUD)
    if not len(cloud) and not any(len(m) for m in movers):
        raise InputError(counts.explain(options))
    return SceneCloud(cloud, movers, 0.0 if thinner is None else thinner.voxel)


def confident(confidence: np.ndarray, options: PointOptions) -> np.ndarray:
    """[h, w] bool: the pixels that pass the confidence cut."""
    percent = options.confidence_percent()
    threshold = float(options.confidence) if percent is None else np.percentile(confidence, percent)
    return confidence >= threshold


def depth_edges(depth: np.ndarray, jump: float) -> np.ndarray:
    """[h, w] bool: pixels beside a depth discontinuity larger than `jump` (relative)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(depth > 0, 1 / depth, 0).astype(np.float32)
    bend = np.zeros_like(inverse)
    bend[1:-1] = np.abs(inverse[:-2] - 2 * inverse[1:-1] + inverse[2:])
    bend[:, 1:-1] = np.maximum(bend[:, 1:-1], np.abs(inverse[:, :-2] - 2 * inverse[:, 1:-1] + inverse[:, 2:]))
    return bend > jump * inverse


def pixel_footprint(frame: FramePrediction) -> float:
    """Side in scene units of one model pixel on the frame's median surface."""
    depth = frame.depth[np.isfinite(frame.depth) & (frame.depth > 0)]
    return float(np.median(depth)) / float(frame.K_model[0, 0]) if len(depth) else 0.0


def _cut(keep: np.ndarray, passed: np.ndarray, name: str, counts: FilterCounts) -> np.ndarray:
    counts.drop(name, int((keep & ~passed).sum()))
    return keep & passed


def _dilate(mask: np.ndarray, margin: int) -> np.ndarray:
    if not margin or not mask.any():
        return mask
    import cv2

    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)).astype(bool)


def _cloud(frame: FramePrediction, number: int, step: int) -> np.ndarray:
    """The frame's (every step-th) pixels as a 2-D CLOUD array; pixels without depth hold meaningless points."""
    every = (slice(None, None, step), slice(None, None, step))
    depth = torch.from_numpy(np.ascontiguousarray(frame.depth[every], np.float32))
    # Pixel u of the thinned grid is pixel step * u of the frame; integer centres need no offset.
    K = torch.from_numpy(np.diag([1 / step, 1 / step, 1.0]) @ frame.K_model).float()
    world_from_cam = torch.from_numpy(frame.camera.world_from_cam).float()
    cloud = np.empty(tuple(depth.shape), CLOUD)
    cloud["xyz"] = depth_to_world(depth, K, world_from_cam).numpy()
    cloud["rgb"] = NO_COLOUR if frame.rgb is None else frame.rgb[every]
    cloud["confidence"] = frame.confidence[every]
    cloud["motion"] = 0 if frame.motion is None else np.rint(frame.motion[every] * 255)
    cloud["frame"] = number
    h, w = frame.shape
    cloud["pixel"] = np.stack(np.meshgrid(np.arange(0, w, step), np.arange(0, h, step)), -1)
    return cloud
