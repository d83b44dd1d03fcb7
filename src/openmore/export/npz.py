"""Every array of the scene in one .npz, written frame by frame.

Choices
- An .npz is a zip of .npy files: each array's header is written first and its frames follow, so that a thousand frames
  need the memory of one. Not compressed by default: depth hardly shrinks and loading would be slower.
- Both directions of the cameras are stored under names that cannot be confused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from openmore.errors import InputError
from openmore.export.cameras import frame_indices, frame_times
from openmore.progress import ProgressCallback, silent
from openmore.types import FramePrediction, Reconstruction

CONVENTIONS = (
    "OpenCV axes (x right, y down, z forward); world = first camera; scale relative unless given; "
    "K in original pixels, K_model for the dense arrays; integer pixel centres; depth is z; motion = probability"
)
_DENSE: dict[str, tuple[type, tuple[int, ...], Callable[[FramePrediction], np.ndarray | None]]] = {
    "depth": (np.float32, (), lambda frame: frame.depth),
    "confidence": (np.float32, (), lambda frame: frame.confidence),
    "motion": (np.float32, (), lambda frame: frame.motion),
    "rgb": (np.uint8, (3,), lambda frame: frame.rgb),
}


def write(recon: Reconstruction, path: Path, *, compress: bool = False, progress: ProgressCallback = silent) -> None:
    """Write the file: world_from_cam, cam_from_world, K, K_model, times_s, index, depth, confidence, motion, rgb.

    motion and rgb are absent when the scene has none. Raises InputError when frames differ in shape.
    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        for name, value in _small_arrays(recon).items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, value)  # type: ignore[arg-type]
        first = recon.frames[0]
        present = [name for name, (_, _, get) in _DENSE.items() if get(first) is not None]
        for done, name in enumerate(present, 1):
            _write_dense(archive, name, recon, first.shape)
            progress("arrays", done, len(present))


def _small_arrays(recon: Reconstruction) -> dict[str, np.ndarray]:
    cameras = recon.cameras
    return {
        "world_from_cam": recon.world_from_cam,
        "cam_from_world": np.stack([camera.cam_from_world for camera in cameras]),
        "K": recon.K,
        "K_model": np.stack([camera.K_at(recon.info.model_shape) for camera in cameras]),
        "times_s": np.asarray(frame_times(recon), np.float64),
        "index": np.asarray(frame_indices(recon), np.int64),
        "conventions": np.array(CONVENTIONS),
    }


def _write_dense(archive: zipfile.ZipFile, name: str, recon: Reconstruction, shape: tuple[int, int]) -> None:
    dtype, channels, get = _DENSE[name]
    full = (len(recon), *shape, *channels)
    header = {"descr": np.dtype(dtype).newbyteorder("<").str, "fortran_order": False, "shape": full}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_2_0(file, header)  # type: ignore[arg-type]
        for number, frame in enumerate(recon.frames):
            values = get(frame)
            if values is None or values.shape != full[1:]:
                have = "missing" if values is None else values.shape
                raise InputError(f"{name} of frame {number} is {have}, the first frame's is {full[1:]}: cannot stack")
            file.write(np.ascontiguousarray(values, dtype).tobytes())
