"""What a reconstruction is made of: plain data with shape, unit and frame in every field's comment.

Choices
- numpy, not torch: these objects leave the network and are read by people, exporters and viewers.
- `world` is the first frame's camera; camera axes are OpenCV (x right, y down, z forward); scale is relative
  (mean distance of points to the first camera about 1) unless a scale was given.
- `Camera.K` is in pixels of the ORIGINAL frame; depth, confidence, motion and rgb are at model resolution (h, w).
  `Camera.K_at((h, w))` gives the intrinsics of the model-resolution arrays.
- `Reconstruction.frames` is a sequence, in memory or lazily read from a scene folder: exporters walk it one frame
  at a time and therefore work for 1,000 frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

STATIC, MOVING, UNKNOWN = 0, 1, 255  # labels of motion; UNKNOWN: nobody knows


@dataclass(frozen=True)
class Camera:
    """A pinhole camera and where it stood."""

    world_from_cam: np.ndarray  # [4, 4] float64, rigid; maps camera coordinates to world coordinates
    K: np.ndarray  # [3, 3] float64, pixels of the original frame
    width: int  # pixels of the original frame
    height: int  # pixels of the original frame

    @property
    def cam_from_world(self) -> np.ndarray:
        """[4, 4] float64, the inverse rigid transform."""
        R, t = self.world_from_cam[:3, :3], self.world_from_cam[:3, 3]
        out = np.eye(4)
        out[:3, :3] = R.T
        out[:3, 3] = -R.T @ t
        return out

    @property
    def center(self) -> np.ndarray:
        """[3] float64, the camera centre in world coordinates."""
        return self.world_from_cam[:3, 3]

    def K_at(self, shape: tuple[int, int]) -> np.ndarray:
        """Intrinsics [3, 3] for the whole frame resized to `shape` = (height, width)."""
        height, width = shape
        return np.diag([width / self.width, height / self.height, 1.0]) @ self.K


@dataclass(frozen=True)
class FramePrediction:
    """Everything predicted for one frame. Final when emitted: a stream never changes it later."""

    index: int  # number of the frame in the source, counted before stride
    time_s: float  # time stamp in the source, seconds
    camera: Camera
    depth: np.ndarray  # [h, w] float32, z in the camera's frame, scene units; > 0
    confidence: np.ndarray  # [h, w] float32, >= 1 (1 + exp of the head's last channel)
    motion: np.ndarray | None = None  # [h, w] float32, probability that the pixel's surface moves in the world
    rgb: np.ndarray | None = None  # [h, w, 3] uint8, the frame as the network saw it
    points: np.ndarray | None = None  # [h, w, 3] float32, world coordinates, from the point head if it ran
    network_motion: np.ndarray | None = None  # [h, w] float32, the network's own, where refinement measured `motion`

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the dense arrays."""
        h, w = self.depth.shape
        return h, w

    @property
    def K_model(self) -> np.ndarray:
        """[3, 3] float64, intrinsics of the dense arrays (integer pixel centres, see docs/conventions.md)."""
        return self.camera.K_at(self.shape)


@dataclass
class SceneInfo:
    """What `scene.json` holds: where the scene came from and how to read it."""

    source: str  # as given by the user
    weights: dict[str, Any]  # name, sha256, trained_on, licence
    mode: str  # "full" or "stream"
    model_shape: tuple[int, int]  # (h, w) of depth, confidence, motion, rgb
    original_shape: tuple[int, int]  # (height, width) of the source frames
    timings_s: dict[str, float] = field(default_factory=dict)  # decode, network, refine, write
    warnings: list[str] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)  # {"index": int, "reason": str}
    extra: dict[str, Any] = field(default_factory=dict)  # e.g. the refinement report


@dataclass(frozen=True)
class SparseTracks:
    """Points that geometric refinement solved for; rows of `point`, `frame` and `pixel` are observations."""

    xyz: np.ndarray  # [N, 3] float32, world
    rgb: np.ndarray  # [N, 3] uint8
    point: np.ndarray  # [M] int32, row of xyz
    frame: np.ndarray  # [M] int32, position in Reconstruction.frames
    pixel: np.ndarray  # [M, 2] float32 (u, v), pixels of the original frame


@dataclass
class Reconstruction:
    """A reconstructed clip. `frames` is in memory after `openmore.reconstruct`, lazy after `load`."""

    frames: Sequence[FramePrediction]
    info: SceneInfo
    path: Path | None = None  # the scene folder, when there is one
    tracks: SparseTracks | None = None  # what the cameras were solved from, when they were

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        h, w = self.info.model_shape
        return (
            f"Reconstruction({len(self)} frames of {w}x{h}, {self.info.mode}, weights {self.info.weights.get('name')})"
        )

    @property
    def cameras(self) -> list[Camera]:
        """One camera per frame. A lazy scene answers from cameras.json without touching the dense arrays."""
        cameras = getattr(self.frames, "cameras", None)
        return cameras if cameras is not None else [frame.camera for frame in self.frames]

    @property
    def world_from_cam(self) -> np.ndarray:
        """[S, 4, 4] float64."""
        return np.stack([camera.world_from_cam for camera in self.cameras])

    @property
    def K(self) -> np.ndarray:
        """[S, 3, 3] float64, pixels of the original frames."""
        return np.stack([camera.K for camera in self.cameras])

    @property
    def depth(self) -> np.ndarray:
        """[S, h, w] float32. Loads every frame: walk `frames` for long scenes."""
        return np.stack([frame.depth for frame in self.frames])

    @property
    def confidence(self) -> np.ndarray:
        """[S, h, w] float32."""
        return np.stack([frame.confidence for frame in self.frames])

    @property
    def motion(self) -> np.ndarray | None:
        """[S, h, w] float32 or None when the weights have no motion head."""
        masks = [frame.motion for frame in self.frames]
        return None if any(m is None for m in masks) else np.stack(masks)  # type: ignore[arg-type]

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the scene folder (house contract, docs/outputs.md). Raises InputError if `path` exists."""
        from openmore.io.scene import write_scene

        return write_scene(self, Path(path), overwrite=overwrite)

    @staticmethod
    def load(path: str | Path) -> Reconstruction:
        """Open a scene folder lazily. Raises DataError naming the missing or damaged file."""
        from openmore.io.scene import read_scene

        return read_scene(Path(path))

    def export(self, path: str | Path, format: str | None = None, **options: Any) -> Path:
        """Export to a file or folder; the format follows the suffix unless given (see openmore.export)."""
        from openmore.export import export

        return export(self, Path(path), format=format, **options)
