"""What the mask pipeline takes: pictures of a clip and, when known, its geometry.

Choices
- Pictures, depth and intrinsics share one resolution; the readers resize before they come here.
- Geometry may be truth, a sensor, or our own reconstruction: the pipeline does not care, the report says which.
- Motion of a reconstruction is two things: what it settled on (measured by refinement where that ran), which exports
  use and `--head` refines, and the motion head's own, which masks are compared with.
- Every frame keeps its number in the source: with a stride, a rate or damaged frames its place in the clip differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from openmore.data.sample import Sample
from openmore.errors import InputError
from openmore.types import Camera, FramePrediction, Reconstruction, SceneInfo

Shape = tuple[int, int]  # (H, W), pixels


@dataclass(frozen=True)
class Geometry:
    """Depth and cameras of every frame."""

    depth: np.ndarray  # [S, H, W] float32, z; 0 = no value
    K: np.ndarray  # [S, 3, 3] float64, pixels
    world_from_cam: np.ndarray  # [S, 4, 4] float64
    source: str  # where it comes from, for the report
    estimated: bool = False  # by a network: the pipeline compares it with the picture before it believes it


@dataclass(frozen=True)
class Origin:
    """Which frame of the source a picture is."""

    index: int  # number in the source, counted before any selection
    name: str | None = None  # file name, or "clip.mp4#12"; None where the source has no names


@dataclass(frozen=True)
class MaskClip:
    """A clip to extract masks from."""

    images: np.ndarray  # [S, H, W, 3] uint8, RGB
    name: str
    geometry: Geometry | None = None
    motion: np.ndarray | None = None  # [S, H, W] float32, probability: what the reconstruction settled on
    head_motion: np.ndarray | None = None  # [S, H, W] float32, probability: the motion head's own
    origins: Sequence[Origin] = ()  # S; empty at the call: numbered from 0
    skipped: Sequence[dict[str, Any]] = ()  # damaged frames of the source, {"index": int, "reason": str}

    def __post_init__(self) -> None:
        if not self.origins:
            object.__setattr__(self, "origins", [Origin(t) for t in range(len(self.images))])
        if self.images.ndim != 4 or self.images.shape[-1] != 3 or self.images.dtype != np.uint8:
            given = f"{self.images.dtype} {list(self.images.shape)}"
            raise InputError(f"{self.name}: pictures are {given}, expected uint8 [S, H, W, 3]")
        if len(self.images) < 2:
            raise InputError(f"{self.name} has {len(self.images)} frame: motion needs at least 2")
        if self.geometry is not None:
            _require("depth", self.geometry.depth, self.images.shape[:3], self.name)
            _require("intrinsics", self.geometry.K, (len(self.images), 3, 3), self.name)
            _require("cameras", self.geometry.world_from_cam, (len(self.images), 4, 4), self.name)
        for motion in (self.motion, self.head_motion):
            if motion is not None:
                _require("motion probabilities", motion, self.images.shape[:3], self.name)
        if len(self.origins) != len(self.images):
            raise InputError(f"{self.name}: {len(self.origins)} origins for {len(self.images)} frames: give one each")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> Shape:
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
    return MaskClip(
        sample.images, sample.name, geometry, origins=[Origin(sample.frame_number(s)) for s in range(len(sample))]
    )


def clip_from_pictures(
    images: Sequence[np.ndarray],
    name: str,
    origins: Sequence[Origin] = (),
    skipped: Sequence[dict[str, Any]] = (),
) -> MaskClip:
    """Pictures without geometry. Raises InputError when they have different shapes or are fewer than two."""
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        raise InputError(f"{name} holds pictures of {len(shapes)} shapes: give frames of one size")
    return MaskClip(np.stack(images), name, origins=origins, skipped=skipped)


def fit_picture(image: np.ndarray, long_side: int | None) -> np.ndarray:
    """A picture or map [H, W, ...] with its longer side shrunk to `long_side` pixels; None or a smaller one: as is."""
    import cv2

    if long_side is None or max(image.shape[:2]) <= long_side:
        return image
    height, width = _fitted((image.shape[0], image.shape[1]), long_side)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _fitted(shape: Shape, long_side: int) -> Shape:
    height, width = (max(round(side * long_side / max(shape)), 1) for side in shape)
    return height, width


def fit_clip(clip: MaskClip, long_side: int | None) -> MaskClip:
    """The clip with its longer side shrunk to `long_side` pixels; None, or a smaller clip: as it is."""
    import cv2

    if long_side is None or max(clip.shape) <= long_side:
        return clip
    height, width = _fitted(clip.shape, long_side)
    geometry = clip.geometry
    if geometry is not None:
        depth = np.stack([cv2.resize(d, (width, height), interpolation=cv2.INTER_NEAREST) for d in geometry.depth])
        K = np.diag([width / clip.shape[1], height / clip.shape[0], 1.0]) @ geometry.K
        geometry = replace(geometry, depth=depth, K=K)
    images, motion, head = (
        None if maps is None else np.stack([fit_picture(each, long_side) for each in maps])
        for maps in (clip.images, clip.motion, clip.head_motion)
    )
    return replace(clip, images=images, geometry=geometry, motion=motion, head_motion=head)


def clip_from_reconstruction(
    recon: Reconstruction, name: str, source: str, stride: int = 1, max_frames: int | None = None
) -> MaskClip:
    """Every `stride`-th frame, at most `max_frames`, at model resolution; `source` tells where the geometry is from.

    Raises InputError when a frame has no picture.
    """
    # Read once, and nothing else: frames of a scene folder are read each time they are asked for.
    frames = list(recon.frames[::stride][:max_frames])
    if any(frame.rgb is None for frame in frames):
        raise InputError(f"{name} holds no pictures (rgb/): reconstruct it again with this version")
    geometry = Geometry(
        np.stack([frame.depth for frame in frames]),
        np.stack([frame.K_model for frame in frames]),
        np.stack([frame.camera.world_from_cam for frame in frames]),
        source,
        estimated=True,
    )
    head = [f.motion if f.network_motion is None else f.network_motion for f in frames]
    if _measured(recon) and all(frame.network_motion is None for frame in frames):
        head = [None]  # weights without a motion head: all that is known of motion was measured
    return MaskClip(
        np.stack([frame.rgb for frame in frames]),  # type: ignore[arg-type]
        name,
        geometry,
        _stacked([frame.motion for frame in frames]),
        _stacked(head),
        [Origin(frame.index) for frame in frames],
        recon.info.skipped,
    )


def _measured(recon: Reconstruction) -> bool:
    """Whether refinement measured the motion of any frame."""
    dense = (recon.info.extra.get("refinement") or {}).get("dense") or {}
    return "residuals" in dense.get("motion_sources", ())


def _stacked(maps: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """[S, H, W], or None when a frame has none."""
    known = [each for each in maps if each is not None]
    return np.stack(known) if len(known) == len(maps) else None


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
