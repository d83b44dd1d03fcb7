"""Cameras and clocks in other programs' conventions.

Choices
- Here a pixel's centre is the integer coordinate; COLMAP, nerfstudio, rerun and USD put the origin at the image's
  corner, so that the first pixel's centre is (0.5, 0.5). `corner_K` converts, and does it at MODEL resolution, where
  depth was predicted: a point then projects exactly to the middle of the source block its model pixel covers. Adding
  0.5 at the original resolution instead would shift points by (scale - 1) / 2 pixels, 1.35 for 1920 -> 518.
- Axes: OpenCV (x right, y down, z forward) inside; `OPENGL` turns a camera or a world to x right, y up, z backward.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from openmore.io.scene_arrays import SceneFrames
from openmore.types import Camera, Reconstruction

log = logging.getLogger(__name__)

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # its own inverse
FALLBACK_FPS = 10.0


def corner_K(camera: Camera, model_shape: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """[3, 3] intrinsics, origin at the image corner, for pictures of `shape` (height, width)."""
    K = camera.K_at(model_shape)
    K[:2, 2] += 0.5
    return np.diag([shape[1] / model_shape[1], shape[0] / model_shape[0], 1.0]) @ K


def corner_pixels(pixels: np.ndarray, model_shape: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Model pixels [..., 2] (u, v; integer centres) -> corner-origin coordinates in pictures of `shape`."""
    return (pixels + 0.5) * [shape[1] / model_shape[1], shape[0] / model_shape[0]]


def frame_times(recon: Reconstruction) -> list[float]:
    """Time stamps of the source, seconds, without loading a lazy scene's arrays."""
    if isinstance(recon.frames, SceneFrames):
        return [entry["time_s"] for entry in _entries(recon.frames)]
    return [frame.time_s for frame in recon.frames]


def frame_indices(recon: Reconstruction) -> list[int]:
    """Frame numbers in the source, without loading a lazy scene's arrays."""
    if isinstance(recon.frames, SceneFrames):
        return [entry["index"] for entry in _entries(recon.frames)]
    return [frame.index for frame in recon.frames]


def _entries(frames: SceneFrames) -> list[dict[str, Any]]:
    return [frames.entries[number] for number in frames.numbers]


def timeline(recon: Reconstruction) -> np.ndarray:
    """[S] float64 seconds from 0, strictly increasing as animations need.

    Time stamps that do not increase (single pictures, damaged containers) become 10 frames per second, with a warning.
    """
    times = np.asarray(frame_times(recon), np.float64)
    if len(times) > 1 and not (np.diff(times) > 0).all():
        log.warning("time stamps do not increase: the animation runs at %g frames per second", FALLBACK_FPS)
        return np.arange(len(times)) / FALLBACK_FPS
    return times - times[0]
