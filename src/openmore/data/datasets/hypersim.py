"""Hypersim: rendered interiors, HDF5, about 100 stills along each camera path.

Layout: `ai_VVV_NNN/{_detail/{metadata_scene.csv, cam_XX/camera_keyframe_{positions,orientations}.hdf5},
images/scene_cam_XX_{final,geometry}_hdf5/frame.IIII.*.hdf5}` and the authors' `metadata_camera_parameters.csv` in the
root. A sequence is `ai_001_001/cam_00`.
Choices
- Depth is the distance along the ray; z follows from the scene's true intrinsics. NaN = no surface.
- Orientations are OpenGL axes camera-to-world; positions are in asset units times `meters_per_asset_unit`.
- Scenes whose projection is sheared (tilt-shift) are left out: a pinhole K cannot hold them.
- Colour is linear: the 90th percentile of luminance where something was hit maps to 0.8 after gamma 1/2.2.
- Frame ids have holes (withdrawn pictures) and key-frame arrays are indexed by the id. Paths jump: not a video.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.errors import DataError

_SHEAR = 1e-6
_LUMINANCE = np.array([0.3, 0.59, 0.11], dtype=np.float32)


class Hypersim(FrameDataset):
    """Hypersim scenes with pinhole cameras."""

    name = "hypersim"
    is_metric = True
    is_video = False
    knows = ("cameras", "intrinsics", "depth", "motion")
    picture_shape = (768, 1024)

    def names(self) -> list[str]:
        found = [
            f"{scene}/{folder.name.removeprefix('scene_').removesuffix('_final_hdf5')}"
            for scene in decode.subfolders(self.root)
            if scene.startswith("ai_") and not is_sheared(self._parameters(scene))
            for folder in sorted((self.root / scene / "images").glob("scene_cam_*_final_hdf5"))
        ]
        if not found:
            raise DataError(f"{self.root} has no ai_*/images/scene_cam_*_final_hdf5 with a pinhole camera")
        return found

    def _parameters(self, scene: str) -> dict[str, str]:
        rows = camera_parameters(decode.require(self.root / "metadata_camera_parameters.csv"))
        if scene not in rows:
            raise DataError(f"{self.root}/metadata_camera_parameters.csv has no row for {scene}")
        return rows[scene]

    def read_index(self, sequence: str) -> Index:
        scene, _, camera = sequence.partition("/")
        folder = self.root / scene
        files = decode.numbered(folder / f"images/scene_{camera}_final_hdf5", "frame.????.color.hdf5")
        detail = folder / "_detail" / camera
        positions = decode.read_hdf5(detail / "camera_keyframe_positions.hdf5", "dataset")
        orientations = decode.read_hdf5(detail / "camera_keyframe_orientations.hdf5", "dataset")
        ids = [n for n in files if n < len(positions)]
        metres = meters_per_unit(folder / "_detail/metadata_scene.csv")
        cameras = axes.from_opengl(axes.rigid(orientations[ids].astype(np.float64), positions[ids] * metres))
        K = np.tile(K_of(self._parameters(scene)), (len(ids), 1, 1))
        index = Index(ids, np.array(ids, dtype=float), cameras, K, [files[n] for n in ids])
        return index.without(invalid_cameras(cameras), "invalid camera")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        path = index.files[i]
        geometry = path.parent.with_name(path.parent.name.replace("_final_", "_geometry_"))
        distance = decode.read_hdf5(geometry / f"frame.{index.ids[i]:04d}.depth_meters.hdf5", "dataset")
        hit = decode.read_hdf5(geometry / f"frame.{index.ids[i]:04d}.render_entity_id.hdf5", "dataset") != -1
        color = decode.read_hdf5(path, "dataset").astype(np.float32)
        depth = planar_depth(distance.astype(np.float32), index.K[i])
        return Pixels(tone_map(color, hit), depth, np.zeros(depth.shape, np.uint8))


def planar_depth(distance: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Distance along the ray [H, W] -> z."""
    v, u = np.mgrid[: distance.shape[0], : distance.shape[1]].astype(np.float32)
    x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    return (distance / np.sqrt(x * x + y * y + 1)).astype(np.float32)


def tone_map(color: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Linear HDR [H, W, 3] -> uint8: bright enough to see, without burning out."""
    color = np.nan_to_num(np.maximum(color, 0), nan=0, posinf=0)
    luminance = (color @ _LUMINANCE)[hit]
    bright = float(np.percentile(luminance, 90)) if luminance.size else 0.0
    gain = 0.0 if bright < 1e-4 else 0.8**2.2 / bright
    return (np.clip((color * gain) ** (1 / 2.2), 0, 1) * 255).round().astype(np.uint8)


def K_of(row: dict[str, str]) -> np.ndarray:
    """K [3, 3] with integer pixel centres from the 4x4 OpenGL projection of the authors' table."""
    width, height = float(row["settings_output_img_width"]), float(row["settings_output_img_height"])
    M = {k: float(row[f"M_proj_{k}"]) for k in ("00", "02", "11", "12")}
    # The corner of the first pixel is the origin of the projection: half a pixel less for integer centres.
    cx, cy = (1 - M["02"]) * width / 2 - 0.5, (1 + M["12"]) * height / 2 - 0.5
    return axes.intrinsics(M["00"] * width / 2, M["11"] * height / 2, cx, cy)


def is_sheared(row: dict[str, str]) -> bool:
    """Whether image axes are not perpendicular."""
    return max(abs(float(row["M_proj_01"])), abs(float(row["M_proj_10"]))) > _SHEAR


@lru_cache(maxsize=4)
def camera_parameters(path: Path) -> dict[str, dict[str, str]]:
    """Scene -> row of metadata_camera_parameters.csv."""
    with path.open(newline="") as file:
        return {row["scene_name"]: row for row in csv.DictReader(file)}


def meters_per_unit(path: Path) -> float:
    """`meters_per_asset_unit` of metadata_scene.csv."""
    for line in decode.require(path).read_text().splitlines():
        key, _, value = line.partition(",")
        if key == "meters_per_asset_unit":
            return float(value)
    raise DataError(f"{path} has no meters_per_asset_unit: download the _detail files again")
