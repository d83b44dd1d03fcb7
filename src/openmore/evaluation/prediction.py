"""What a method under test gets and gives: a clip in, cameras and maps out, kept in a file to measure again.

Choices
- The interface is four names: anything that can be wrapped in them can be measured (networks, baselines, other
  people's programs).
- A predictor may leave out what it does not know; metrics that need it are then absent, not zero.
- Predictions are cached as plain .npz, written whole or not at all, motion in 8 bits. `describe()` is stored with
  them: a cache of another method or setting is never mistaken for this one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from openmore.errors import DataError
from openmore.io.atomic import atomic_file


@dataclass(frozen=True)
class Clip:
    """Frames of one sequence."""

    name: str
    images: np.ndarray  # [S, H, W, 3] uint8 RGB
    times_s: np.ndarray  # [S]
    K: np.ndarray | None = None  # [S, 3, 3] true intrinsics, for methods that are allowed to know them


@dataclass
class Prediction:
    """What a method says about a clip of S frames."""

    world_from_cam: np.ndarray | None = None  # [S, 4, 4] OpenCV axes, any world, any scale
    K: np.ndarray | None = None  # [S, 3, 3] pixels of the clip's pictures
    depth: np.ndarray | None = None  # [S, h, w] z at any resolution
    motion: np.ndarray | None = None  # [S, h, w] probability 0..1 that the surface moves
    seconds: float = 0.0  # wall clock, everything included

    def check(self, clip: Clip) -> Prediction:
        """Self, or DataError: wrong number of frames, or cameras or depth that are not finite."""
        for key in ("world_from_cam", "K", "depth", "motion"):
            value = getattr(self, key)
            if value is None:
                continue
            if len(value) != len(clip.images):
                raise DataError(f"{clip.name}: {len(value)} predicted {key} for {len(clip.images)} frames")
            bad = ~np.isfinite(value).reshape(len(value), -1).all(1)
            if bad.any():
                raise DataError(f"{clip.name}: predicted {key} of frame {int(bad.argmax())} is not finite")
        return self


class Predictor(Protocol):
    """A method under test."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def describe(self) -> dict[str, Any]:
        """Everything that changes its output: weights and their hash, mode, sizes. Must be JSON."""
        ...

    def predict(self, clip: Clip) -> Prediction:
        """Run the method. Raises an OpenMoReError, RuntimeError or MemoryError when it fails."""
        ...


_ARRAYS = ("world_from_cam", "K", "depth", "motion")


def save_prediction(path: Path, prediction: Prediction, description: dict[str, Any]) -> None:
    """Write a prediction atomically."""
    arrays = {key: value for key in _ARRAYS if (value := getattr(prediction, key)) is not None}
    if "motion" in arrays:
        arrays["motion"] = (np.clip(arrays["motion"], 0, 1) * 255).round().astype(np.uint8)
    if "depth" in arrays:
        arrays["depth"] = arrays["depth"].astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as handle:
        meta = json.dumps({"seconds": prediction.seconds, "description": description}, sort_keys=True)
        np.savez(handle, meta=np.array(meta), **arrays)


def load_prediction(path: Path, description: dict[str, Any]) -> Prediction | None:
    """A cached prediction; None when there is none, it is damaged, or it was made by something else."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            meta = json.loads(str(archive["meta"]))
            if meta["description"] != json.loads(json.dumps(description)):
                return None
            arrays = {key: archive[key] for key in _ARRAYS if key in archive}
        if "motion" in arrays:
            arrays["motion"] = arrays["motion"].astype(np.float32) / 255
        return Prediction(**arrays, seconds=float(meta["seconds"]))
    except Exception:  # numpy, zipfile and json raise a dozen kinds on damaged bytes
        return None
