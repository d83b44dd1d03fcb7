"""What the mask pipeline takes: pictures of a clip and, when known, its geometry.

Choices
- Pictures, depth and intrinsics share one resolution; the readers resize before they come here.
- Geometry may be truth, a sensor, or our own reconstruction: the pipeline does not care, the report says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from openmore.data.sample import Sample
from openmore.errors import InputError
from openmore.types import Camera, FramePrediction, Reconstruction, SceneInfo


@dataclass(frozen=True)
class Geometry:
    """Depth and cameras of every frame."""

    depth: np.ndarray  # [S, H, W] float32, z; 0 = no value
    K: np.ndarray  # [S, 3, 3] float64, pixels
    world_from_cam: np.ndarray  # [S, 4, 4] float64
    source: str  # where it comes from, for the report
    estimated: bool = False  # by a network: the pipeline compares it with the picture before it believes it


@dataclass(frozen=True)
class MaskClip:
    """A clip to extract masks from."""

    images: np.ndarray  # [S, H, W, 3] uint8, RGB
    name: str
    geometry: Geometry | None = None
    motion: np.ndarray | None = None  # [S, H, W] float32, probability of the motion head, for comparison and refinement

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[-1] != 3 or self.images.dtype != np.uint8:
            given = f"{self.images.dtype} {list(self.images.shape)}"
            raise InputError(f"{self.name}: pictures are {given}, expected uint8 [S, H, W, 3]")
        if len(self.images) < 2:
            raise InputError(f"{self.name} has {len(self.images)} frame: motion needs at least 2")
        if self.geometry is not None:
            _require("depth", self.geometry.depth, self.images.shape[:3], self.name)
            _require("intrinsics", self.geometry.K, (len(self.images), 3, 3), self.name)
            _require("cameras", self.geometry.world_from_cam, (len(self.images), 4, 4), self.name)
        if self.motion is not None:
            _require("motion probabilities", self.motion, self.images.shape[:3], self.name)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.images.shape[1], self.images.shape[2]


def _require(what: str, array: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    if array.shape != shape:
        raise InputError(f"{name}: {what} are {list(array.shape)} where the pictures need {list(shape)}: resize first")


def clip_from_sample(sample: Sample) -> MaskClip:
    """A posed sample with its own depth; sky and untrusted depth count as no value.

    Raises InputError when no frame has depth.
    """
    if not sample.valid_depth.any():
        raise InputError(f"{sample.name} has no depth, so ego flow cannot be computed: add depth, or use --ego picture")
    depth = np.where(sample.valid_depth, sample.depth, 0)
    if sample.sky is not None:
        depth = np.where(sample.sky, 0, depth)
    geometry = Geometry(depth.astype(np.float32), sample.K, sample.world_from_cam, f"{sample.name}: its own")
    return MaskClip(sample.images, sample.name, geometry)


def clip_from_pictures(images: Sequence[np.ndarray], name: str) -> MaskClip:
    """Pictures without geometry. Raises InputError when they have different shapes or are fewer than two."""
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        raise InputError(f"{name} holds pictures of {len(shapes)} shapes: give frames of one size")
    return MaskClip(np.stack(images), name)


def fit_clip(clip: MaskClip, long_side: int) -> MaskClip:
    """The clip with its longer side shrunk to `long_side` pixels; smaller clips stay as they are."""
    import cv2

    scale = long_side / max(clip.shape)
    if scale >= 1:
        return clip
    height, width = (max(round(side * scale), 1) for side in clip.shape)
    images = np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in clip.images])
    geometry, motion = clip.geometry, clip.motion
    if geometry is not None:
        depth = np.stack([cv2.resize(d, (width, height), interpolation=cv2.INTER_NEAREST) for d in geometry.depth])
        K = np.diag([width / clip.shape[1], height / clip.shape[0], 1.0]) @ geometry.K
        geometry = replace(geometry, depth=depth, K=K)
    if motion is not None:
        motion = np.stack([cv2.resize(m, (width, height), interpolation=cv2.INTER_AREA) for m in motion])
    return MaskClip(images, clip.name, geometry, motion)


def clip_from_frames(frames: Sequence[FramePrediction], name: str, source: str) -> MaskClip:
    """Reconstructed frames at model resolution. Raises InputError when a frame has no picture."""
    if any(frame.rgb is None for frame in frames):
        raise InputError(f"{name} holds no pictures (rgb/): reconstruct it again with this version")
    geometry = Geometry(
        np.stack([frame.depth for frame in frames]),
        np.stack([frame.K_model for frame in frames]),
        np.stack([frame.camera.world_from_cam for frame in frames]),
        source,
        estimated=True,
    )
    motion = [frame.motion for frame in frames]
    stacked = None if any(m is None for m in motion) else np.stack(motion)  # type: ignore[arg-type]
    return MaskClip(np.stack([frame.rgb for frame in frames]), name, geometry, stacked)  # type: ignore[arg-type]


def to_reconstruction(clip: MaskClip, masks: Sequence[np.ndarray]) -> Reconstruction:
    """The clip's geometry as a reconstruction whose motion is `masks`: 1 moving, 0.5 unknown, 0 static.

    Raises InputError when the clip has no geometry.
    """
    if clip.geometry is None:
        raise InputError(f"{clip.name} has no depth and cameras: nothing to put the masks on")
    g, (height, width) = clip.geometry, clip.shape
    frames = []
    for t, mask in enumerate(masks):
        camera = Camera(g.world_from_cam[t], g.K[t], width, height)
        motion = np.select([mask == 1, mask == 255], [1.0, 0.5], 0.0).astype(np.float32)
        frames.append(
            FramePrediction(t, float(t), camera, g.depth[t], np.ones_like(g.depth[t]), motion, clip.images[t])
        )
    info = SceneInfo(clip.name, {"name": "none", "depth": g.source}, "masks", clip.shape, clip.shape)
    return Reconstruction(frames, info)
