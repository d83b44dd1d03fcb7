"""Depth as pictures: 16-bit PNG (value / factor = depth, as in the TUM and ScanNet data sets) or 32-bit OpenEXR.

Choices
- PNG: 0 means no value. Depth beyond 65535 / factor cannot be written and becomes 0; a warning counts it.
- depth.json beside the pictures holds the factor and the cameras, so that the folder can be unprojected alone.
- EXR: one float32 channel "Z", uncompressed; written here because OpenCV's writer is off by default.
"""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import numpy as np

from openmore.errors import InputError
from openmore.export.cameras import frame_indices
from openmore.io.atomic import write_json
from openmore.io.images import write_png
from openmore.progress import ProgressCallback, silent
from openmore.types import Reconstruction

log = logging.getLogger(__name__)

_LARGEST = 2**16 - 1


def write(
    recon: Reconstruction,
    path: Path,
    *,
    files: str = "png",
    factor: float = 5000.0,
    progress: ProgressCallback = silent,
) -> None:
    """Write one picture per frame at model resolution, named by frame number. `factor` serves PNG only."""
    if files not in ("png", "exr"):
        raise InputError(f"files={files!r} is not a kind of depth picture: expected 'png' or 'exr'")
    if not factor > 0:
        raise InputError(f"factor={factor} cannot scale depth: give a positive number such as 5000")
    lost = 0
    indices = frame_indices(recon)
    for number, frame in enumerate(recon.frames):
        target = path / f"{indices[number]:06d}.{files}"
        if files == "png":
            lost += _write_png(target, frame.depth, factor)
        else:
            write_exr(target, frame.depth)
        progress("depth", number + 1, len(indices))
    if lost:
        log.warning("%d pixels lie beyond depth %g and became 0: lower factor", lost, _LARGEST / factor)
    write_json(path / "depth.json", _sidecar(recon, factor if files == "png" else 1.0, indices))


def write_exr(path: Path, depth: np.ndarray) -> None:
    """[h, w] float -> a single-part scan-line OpenEXR file with one FLOAT channel Z and no compression."""
    h, w = depth.shape
    box = struct.pack("<4i", 0, 0, w - 1, h - 1)
    channel = b"Z\0" + struct.pack("<i4B2i", 2, 0, 0, 0, 0, 1, 1) + b"\0"  # FLOAT, sampled at every pixel
    header = struct.pack("<2i", 20000630, 2) + b"".join(
        name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value
        for name, kind, value in (
            (b"channels", b"chlist", channel),
            (b"compression", b"compression", b"\0"),
            (b"dataWindow", b"box2i", box),
            (b"displayWindow", b"box2i", box),
            (b"lineOrder", b"lineOrder", b"\0"),
            (b"pixelAspectRatio", b"float", struct.pack("<f", 1)),
            (b"screenWindowCenter", b"v2f", struct.pack("<2f", 0, 0)),
            (b"screenWindowWidth", b"float", struct.pack("<f", 1)),
        )
    )
    header += b"\0"
    line_size = 8 + 4 * w
    lines = np.empty(h, [("y", "<i4"), ("size", "<i4"), ("z", "<f4", w)])
    lines["y"], lines["size"], lines["z"] = np.arange(h), 4 * w, depth
    offsets = len(header) + 8 * h + line_size * np.arange(h)
    path.write_bytes(header + offsets.astype("<u8").tobytes() + lines.tobytes())


def _write_png(path: Path, depth: np.ndarray, factor: float) -> int:
    """Write one 16-bit PNG; returns how many pixels were too far for it."""
    values = np.rint(np.where(np.isfinite(depth), depth, 0).astype(np.float64) * factor)
    too_far = values > _LARGEST
    values[too_far | (values < 0)] = 0
    write_png(path, values.astype(np.uint16))
    return int(too_far.sum())


def _sidecar(recon: Reconstruction, factor: float, indices: list[int]) -> dict:
    shape = recon.info.model_shape
    frames = [
        {"index": index, "K": camera.K_at(shape).tolist(), "world_from_cam": camera.world_from_cam.tolist()}
        for index, camera in zip(indices, recon.cameras, strict=True)
    ]
    return {"depth": "z = value / factor; 0 = no value", "factor": factor, "shape": shape, "frames": frames}
