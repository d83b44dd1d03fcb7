"""A nerfstudio data folder: transforms.json, images/, masks/ and sparse_pc.ply.

Choices
- `transform_matrix` is world_from_camera with OpenGL camera axes (x right, y up, z backward); the world stays ours, and
  the points are in the same world. nerfstudio orients and scales both when it loads.
- Intrinsics are written per frame, pixel origin at the corner: nerfstudio samples rays at pixel centres + 0.5.
- Movers are left out of the points and black in the masks. `time` (0 first frame, 1 last) serves dynamic methods.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from openmore.export import ply
from openmore.export.cameras import OPENGL, corner_K, timeline
from openmore.export.images import write_images, write_masks
from openmore.export.points import PointOptions
from openmore.io.atomic import write_json
from openmore.progress import ProgressCallback, silent
from openmore.types import Camera, Reconstruction

_POINTS = "sparse_pc.ply"


def write(
    recon: Reconstruction,
    path: Path,
    *,
    points: PointOptions = PointOptions(static_only=True),
    images: str = "auto",
    progress: ProgressCallback = silent,
) -> None:
    """Write the folder."""
    ply.write(recon, path / _POINTS, points=points, progress=progress)
    pictures = write_images(recon, path / "images", images, progress)
    masks = write_masks(recon, path / "masks", pictures, points.motion, points.motion_margin)
    times = timeline(recon) / max(timeline(recon)[-1], 1e-9)
    frames = []
    for number, camera in enumerate(recon.cameras):
        frame = _camera(camera, corner_K(camera, recon.info.model_shape, pictures.shape), pictures.shape)
        frame["file_path"] = f"images/{pictures.names[number]}"
        frame["time"] = float(times[number])
        if masks:
            frame["mask_path"] = f"masks/{masks[number]}"
        frames.append(frame)
    write_json(path / "transforms.json", {"camera_model": "OPENCV", "ply_file_path": _POINTS, "frames": frames})


def _camera(camera: Camera, K: np.ndarray, shape: tuple[int, int]) -> dict[str, Any]:
    return {
        "fl_x": K[0, 0],
        "fl_y": K[1, 1],
        "cx": K[0, 2],
        "cy": K[1, 2],
        "w": shape[1],
        "h": shape[0],
        "transform_matrix": (camera.world_from_cam @ OPENGL).tolist(),
    }
