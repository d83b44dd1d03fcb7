"""The dense arrays of one frame as files of a scene folder, and the lazy sequence that reads them back.

Choices
- One file per array and frame, named by the frame's place in the scene: `depth/000012.npy`.
- depth float32 and confidence float16 as .npy, motion as 8-bit PNG, rgb as JPEG. Confidence is at least 1 and its
  largest values say only "very sure", so half precision loses nothing that is used.
- Points are stored only when the point head ran.
- Which arrays a scene has is written in scene.json; a listed file that is absent is an error, never a None.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from openmore.errors import DataError
from openmore.io.atomic import atomic_file
from openmore.types import Camera, FramePrediction

_HALF_MAX = 65504.0  # the largest float16
_JPEG = {"quality": 92, "subsampling": 0}


@dataclass(frozen=True)
class ArrayKind:
    """How one array of a frame is stored."""

    suffix: str
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[Path], np.ndarray]
    channels: tuple[int, ...] = ()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _picture(array: np.ndarray, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format, **options)
    return buffer.getvalue()


def _read_npy(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False).astype(np.float32, copy=False)


def _read_picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


_PROBABILITY = ArrayKind(
    "png",
    lambda a: _picture(np.rint(np.clip(a, 0, 1) * 255).astype(np.uint8), "PNG"),
    lambda path: _read_picture(path).astype(np.float32) / 255,
)

ARRAYS: dict[str, ArrayKind] = {
    "depth": ArrayKind("npy", lambda a: _npy(a.astype(np.float32)), _read_npy),
    "confidence": ArrayKind("npy", lambda a: _npy(np.minimum(a, _HALF_MAX).astype(np.float16)), _read_npy),
    "motion": _PROBABILITY,
    "network_motion": _PROBABILITY,
    "rgb": ArrayKind("jpg", lambda a: _picture(a, "JPEG", **_JPEG), _read_picture, (3,)),
    "points": ArrayKind("npy", lambda a: _npy(a.astype(np.float32)), _read_npy, (3,)),
}


def arrays_of(frame: FramePrediction) -> list[str]:
    """Names of the arrays a frame carries."""
    return [name for name in ARRAYS if getattr(frame, name) is not None]


def array_path(scene: Path, name: str, number: int) -> Path:
    """Where array `name` of the scene's `number`-th frame is stored."""
    return scene / name / f"{number:06d}.{ARRAYS[name].suffix}"


def write_arrays(scene: Path, number: int, frame: FramePrediction) -> None:
    """Write every array of a frame. Raises InputError when the disk is full or read-only."""
    for name in arrays_of(frame):
        with atomic_file(array_path(scene, name, number)) as handle:
            handle.write(ARRAYS[name].encode(getattr(frame, name)))


def read_array(scene: Path, name: str, number: int, shape: tuple[int, int]) -> np.ndarray:
    """Read one array. Raises DataError naming a file that is missing, damaged, or of another shape."""
    path, kind = array_path(scene, name, number), ARRAYS[name]
    try:
        array = kind.decode(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the scene is incomplete, reconstruct it again") from None
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise DataError(f"{path} is damaged ({error}): reconstruct the scene again") from error
    if array.shape != (*shape, *kind.channels):
        expected = (*shape, *kind.channels)
        raise DataError(f"{path} has shape {list(array.shape)}: scene.json promises {list(expected)}")
    return array


def camera_entry(frame: FramePrediction) -> dict[str, Any]:
    """The row of cameras.json. Raises DataError for a camera that is not finite."""
    camera = frame.camera
    if not (np.isfinite(camera.world_from_cam).all() and np.isfinite(camera.K).all()):
        raise DataError(f"the camera of frame {frame.index} is not finite: the network's output cannot be used")
    return {
        "index": int(frame.index),
        "time_s": float(frame.time_s),
        "width": int(camera.width),
        "height": int(camera.height),
        "world_from_cam": camera.world_from_cam.tolist(),
        "K": camera.K.tolist(),
    }


def camera_from_entry(entry: dict[str, Any]) -> Camera:
    """The inverse of `camera_entry`. Raises ValueError, TypeError or KeyError for a row that is none."""
    world_from_cam, K = np.array(entry["world_from_cam"], np.float64), np.array(entry["K"], np.float64)
    if world_from_cam.shape != (4, 4) or K.shape != (3, 3):
        raise ValueError(f"world_from_cam is {world_from_cam.shape} and K {K.shape}, expected 4x4 and 3x3")
    return Camera(world_from_cam, K, int(entry["width"]), int(entry["height"]))


class SceneFrames(Sequence[FramePrediction]):
    """Frames of a scene folder, each read when asked for; `cameras` needs no dense file."""

    def __init__(
        self, scene: Path, entries: list[dict[str, Any]], shape: tuple[int, int], arrays: list[str],
        numbers: Sequence[int] | None = None,
    ):  # fmt: skip
        self.scene, self.entries, self.shape, self.arrays = scene, entries, shape, arrays
        self.numbers = range(len(entries)) if numbers is None else numbers
        self.cameras: list[Camera] = [camera_from_entry(entries[number]) for number in self.numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> FramePrediction: ...
    @overload
    def __getitem__(self, place: slice) -> SceneFrames: ...
    def __getitem__(self, place: int | slice) -> FramePrediction | SceneFrames:
        if isinstance(place, slice):
            return SceneFrames(self.scene, self.entries, self.shape, self.arrays, self.numbers[place])
        number = self.numbers[place]
        entry = self.entries[number]
        arrays = {name: read_array(self.scene, name, number, self.shape) for name in self.arrays}
        return FramePrediction(entry["index"], entry["time_s"], self.cameras[place], **arrays)
