"""Plain posed folders: `rgb/`, `poses.txt`, `intrinsics.txt`, optional `depth/`, `mask/`, `timestamps.txt`.

Layout of one clip
    rgb/000000.jpg ...     poses.txt: time tx ty tz qx qy qz qw (world_from_cam, OpenCV axes), one row per image
    intrinsics.txt: one row "fx fy cx cy width height"    timestamps.txt: seconds, for clips without poses
    depth/000000.png (16 bit) or .npy (scene units)       mask/000000.png: 255 = moving
    motion/000000.png: labels 0 / 1 / 255 unknown, as `openmore.data.sample_folder` writes them
Choices
- `depth_*_pseudo` and `mask_*_pseudo` stand in when there is no truth; `truth()` says which it is.
- A 16-bit depth file does not say its scale: `depth_scale` is given, or the clip's name is in `DEPTH_SCALES`. Without
  either it is a setting that is missing, not a clip that is damaged: training must not look for a better clip.
- Clips without cameras or intrinsics are refused unless `fill_missing` puts an identity camera and a 55 degree lens.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, identity_cameras
from openmore.errors import ConfigError, DataError
from openmore.io.images import image_shape
from openmore.io.source import DamagedFrame
from openmore.io.trajectories import read_trajectory

# Depth values per metre in 16-bit files, by the beginning of the clip's name.
DEPTH_SCALES = {"tum_": 5000.0, "bonn_": 5000.0, "hololens_": 1000.0, "scannet_": 1000.0, "kitti": 256.0}
ASSUMED_FOV_DEG = 55.0  # of the longer side
IMAGES = (".jpg", ".jpeg", ".png")


class PosedFolder(FrameDataset):
    """Every posed clip folder under a root (or the root itself)."""

    name = "posed_folder"

    def __init__(
        self, root: str | Path, *, depth_scale: float | None = None, fill_missing: bool = False, threads: int = 1
    ):
        super().__init__(root, threads=threads)
        if depth_scale is not None and not (isinstance(depth_scale, int | float) and depth_scale > 0):
            raise ConfigError(f"depth_scale={depth_scale!r} is no number of values per unit, for example 1000")
        self.depth_scale, self.fill_missing = depth_scale, fill_missing

    def names(self) -> list[str]:
        if (self.root / "rgb").is_dir():
            return [Path(os.path.abspath(self.root)).name]  # of `.` too; a link's is its own
        found = [name for name in decode.subfolders(self.root) if (self.root / name / "rgb").is_dir()]
        if not found:
            raise DataError(f"{self.root} has no clip folders with rgb/ inside: give a clip or a folder of clips")
        return found

    def folder(self, sequence: str) -> Path:
        """Where a clip lies."""
        return self.root if (self.root / "rgb").is_dir() else self.root / sequence

    def truth(self, sequence: str) -> dict[str, str]:
        """What the clip knows: cameras, intrinsics, depth, motion -> "true" or "pseudo"; absent when unknown."""
        folder = self.folder(sequence)
        found = {
            "cameras": "true" if (folder / "poses.txt").is_file() else None,
            "intrinsics": "true" if (folder / "intrinsics.txt").is_file() else None,
            "depth": _grade(_side_folder(folder, "depth")),
            "motion": "true" if (folder / "motion").is_dir() else _grade(_side_folder(folder, "mask")),
        }
        return {key: grade for key, grade in found.items() if grade}

    def read_index(self, sequence: str) -> Index:
        folder = self.folder(sequence)
        images = self._images(folder)
        if (folder / "poses.txt").is_file():
            trajectory = read_trajectory(folder / "poses.txt", "tum")
            times, cameras = trajectory.times_s, trajectory.world_from_cam
        elif self.fill_missing:
            cameras = identity_cameras(len(images))
            clock = folder / "timestamps.txt"
            times = decode.read_rows(clock, 1)[:, 0] if clock.is_file() else np.arange(len(images), dtype=float)
        else:
            raise DataError(f"{folder} has no poses.txt: use it as plain images, or allow missing cameras")
        if len(times) != len(images):
            raise DataError(f"{folder} has {len(images)} images and {len(times)} poses or times: expected one each")
        K = np.tile(self._K(folder, images[0]), (len(images), 1, 1))
        return Index(list(range(len(images))), times, cameras, K, images)

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        folder = self.folder(sequence)
        path = index.files[i]
        depth, mask = self._depth(folder, sequence, path.stem), self._mask(folder, path.stem)
        return Pixels(decode.read_rgb(path), depth, mask)

    def _images(self, folder: Path) -> list[Path]:
        images = sorted(p for p in (folder / "rgb").iterdir() if p.suffix.lower() in IMAGES)
        if not images:
            raise DataError(f"{folder}/rgb holds no pictures: expected 000000.jpg, 000001.jpg, ...")
        return images

    def _K(self, folder: Path, image: Path) -> np.ndarray:
        try:
            height, width = image_shape(image)
        except DamagedFrame as error:
            raise DataError(f"{image} cannot be read ({error}): replace the file") from error
        path = folder / "intrinsics.txt"
        if path.is_file():
            row = decode.read_rows(path, 6)[0]
            if (row[4], row[5]) != (width, height):
                raise DataError(f"{path} is for {row[4]:.0f}x{row[5]:.0f} pixels but {image.name} is {width}x{height}")
            return axes.intrinsics(*row[:4])
        if not self.fill_missing:
            raise DataError(f"{folder} has no intrinsics.txt: write 'fx fy cx cy width height', or allow a guess")
        focal = max(height, width) / 2 / np.tan(np.radians(ASSUMED_FOV_DEG) / 2)
        return axes.intrinsics(focal, focal, width / 2, height / 2)

    def _depth(self, folder: Path, sequence: str, stem: str) -> np.ndarray | None:
        side = _side_folder(folder, "depth")
        if side is None:
            return None
        if (side / f"{stem}.npy").is_file():
            return decode.read_npy(side / f"{stem}.npy")
        return decode.read_depth16(side / f"{stem}.png", self._scale(sequence))

    def _scale(self, sequence: str) -> float:
        if self.depth_scale is not None:
            return self.depth_scale
        for beginning, scale in DEPTH_SCALES.items():
            if sequence.startswith(beginning):
                return scale
        raise ConfigError(
            f"{sequence}: 16-bit depth does not say its scale: give depth_scale, as in '{self.root}?depth_scale=1000' "
            "(values per unit: ScanNet and HoloLens 1000, TUM 5000, KITTI 256)"
        )

    def _mask(self, folder: Path, stem: str) -> np.ndarray | None:
        if (folder / "motion").is_dir():
            return decode.read_labels(folder / "motion" / f"{stem}.png")
        side = _side_folder(folder, "mask")
        return None if side is None else (decode.read_labels(side / f"{stem}.png") > 127).astype(np.uint8)


def _side_folder(folder: Path, kind: str) -> Path | None:
    """`depth/` or `mask/`, else the pseudo one, else None."""
    if (folder / kind).is_dir():
        return folder / kind
    return next(iter(sorted(folder.glob(f"{kind}_*_pseudo"))), None)


def _grade(side: Path | None) -> str | None:
    return None if side is None else ("pseudo" if side.name.endswith("_pseudo") else "true")
