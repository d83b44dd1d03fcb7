"""nerfstudio and instant-ngp folders: `transforms.json` with pictures, optional depth and masks.

Choices
- Camera axes are OpenGL's (x right, y up, z backwards); the principal point is counted from the corner of the first
  pixel and loses half a pixel here. Intrinsics may stand once for all frames or per frame; `camera_angle_x` alone is
  accepted (Blender files).
- Lens distortion k1 k2 p1 p2 k3 is undone when pictures are loaded; fisheye models are refused.
- Depth files are 16-bit with `depth_unit_scale_factor` (default 1 mm) or .npy in scene units.
- Frames are sorted by file name (the files list them in any order) and are not called a video; scale is arbitrary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.data.datasets.lens import undistort
from openmore.errors import DataError
from openmore.io.images import image_shape, natural_key

_PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL")
_DEFAULT_DEPTH_UNIT = 0.001


class Nerfstudio(FrameDataset):
    """One transforms.json and its pictures."""

    name = "nerfstudio"
    is_video = False

    def __init__(self, root: str | Path, *, threads: int = 1):
        path = Path(root)
        self.file = path if path.is_file() else path / "transforms.json"
        super().__init__(self.file.parent, threads=threads)
        self._scene: dict[str, Any] | None = None

    @property
    def scene(self) -> dict[str, Any]:
        """The parsed file, frames sorted by name."""
        if self._scene is None:
            scene = decode.read_json(self.file)
            if not isinstance(scene, dict) or not scene.get("frames"):
                raise DataError(f"{self.file} has no frames: expected nerfstudio's transforms.json")
            model = scene.get("camera_model", "OPENCV")
            if model not in _PINHOLES:
                raise DataError(f"{self.file}: camera_model {model} is no pinhole: undistort the pictures first")
            scene["frames"] = sorted(scene["frames"], key=lambda frame: natural_key(frame["file_path"]))
            self._scene = scene
        return self._scene

    def names(self) -> list[str]:
        return [self.root.resolve().name]

    def truth(self, sequence: str) -> dict[str, str]:
        kinds = {"cameras": "true", "intrinsics": "true"}
        return {**kinds, "depth": "true"} if "depth_file_path" in self.scene["frames"][0] else kinds

    def read_index(self, sequence: str) -> Index:
        frames = self.scene["frames"]
        files = [self._picture(frame["file_path"]) for frame in frames]
        shape = image_shape(files[0])
        matrices = np.array([frame["transform_matrix"] for frame in frames], dtype=np.float64)
        if matrices.shape[1:] != (4, 4):
            raise DataError(f"{self.file}: transform_matrix has shape {matrices.shape[1:]}, expected 4x4")
        world_from_cam = axes.from_opengl(matrices)
        K = np.stack([intrinsics_of({**self.scene, **frame}, shape, self.file) for frame in frames])
        ids = list(range(len(frames)))
        index = Index(ids, np.arange(len(ids), dtype=float), world_from_cam, K, files)
        return index.without(invalid_cameras(world_from_cam), "invalid camera")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        frame = {**self.scene, **self.scene["frames"][index.ids[i]]}
        depth = self._depth(frame["depth_file_path"]) if frame.get("depth_file_path") else None
        coefficients = tuple(float(frame.get(key, 0.0)) for key in ("k1", "k2", "p1", "p2", "k3"))
        return undistort(Pixels(decode.read_rgb(index.files[i]), depth), index.K[i], coefficients)

    def _picture(self, name: str) -> Path:
        path = self.root / name
        if path.is_file():
            return path
        # Blender and instant-ngp files leave the suffix out.
        found = next((p for s in (".png", ".jpg", ".jpeg") if (p := path.with_name(path.name + s)).is_file()), None)
        if found is None:
            raise DataError(f"{path} is missing: {self.file.name} lists it; download the pictures again")
        return found

    def _depth(self, name: str) -> np.ndarray:
        path = self.root / name
        if path.suffix == ".npy":
            return decode.read_npy(path)
        return decode.read_depth16(path, 1 / float(self.scene.get("depth_unit_scale_factor", _DEFAULT_DEPTH_UNIT)))


def intrinsics_of(frame: dict[str, Any], shape: tuple[int, int], where: Path) -> np.ndarray:
    """K [3, 3] with integer pixel centres from a frame's keys, for pictures of `shape` (H, W)."""
    height, width = shape
    stated = (frame.get("h", height), frame.get("w", width))
    if (int(stated[0]), int(stated[1])) != shape:
        raise DataError(f"{where} is for {stated[1]}x{stated[0]} pixels but the pictures are {width}x{height}")
    if "fl_x" in frame:
        fx, fy = float(frame["fl_x"]), float(frame.get("fl_y", frame["fl_x"]))
    elif "camera_angle_x" in frame:
        fx = fy = width / 2 / np.tan(float(frame["camera_angle_x"]) / 2)
    else:
        raise DataError(f"{where} has neither fl_x nor camera_angle_x: intrinsics are missing")
    return axes.intrinsics(fx, fy, float(frame.get("cx", width / 2)) - 0.5, float(frame.get("cy", height / 2)) - 0.5)
