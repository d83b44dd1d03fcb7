"""KITTI: the depth benchmark's validation drives, and the odometry sequences.

Layouts
    depth:    `[data_depth_annotated/]val/<drive>/proj_depth/groundtruth/image_02/%010d.png` and the raw pictures
              `<date>/<drive>/image_02/data/%010d.png`, `<date>/calib_cam_to_cam.txt`
    odometry: `sequences/%02d/{image_0|image_2, calib.txt, times.txt}`, `poses/%02d.txt`
Choices
- Depth is value / 256 metres, sparse. Frames are those that are annotated; their pictures have the same file name.
- The depth benchmark has no camera poses: identity, and `knows` says so.
- Odometry poses are of camera 0; those of another camera follow through its projection matrix.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmore.data.datasets import decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, identity_cameras
from openmore.errors import DataError
from openmore.io.trajectories import read_trajectory

DEPTH_PER_METRE = 256.0
FPS = 10.0


class KittiDepth(FrameDataset):
    """Validation drives of the depth benchmark, left colour camera."""

    name = "kitti_depth"
    is_metric = True
    knows = ("intrinsics", "depth")

    def names(self) -> list[str]:
        found = decode.subfolders(self._annotated())
        if not found:
            raise DataError(f"{self.root} has no val/<drive>/proj_depth: unpack data_depth_annotated.zip there")
        return found

    def expected_sequences(self) -> int | None:
        return 13

    def _annotated(self) -> Path:
        tops = (self.root / "data_depth_annotated" / "val", self.root / "val")
        return next((top for top in tops if top.is_dir()), tops[0])

    def _depths(self, sequence: str) -> dict[int, Path]:
        return decode.numbered(self._annotated() / sequence / "proj_depth/groundtruth/image_02", "*.png")

    def read_index(self, sequence: str) -> Index:
        ids = list(self._depths(sequence))
        date = self.root / sequence[:10]
        files = [date / sequence / f"image_02/data/{n:010d}.png" for n in ids]
        K = projection(date / "calib_cam_to_cam.txt", "P_rect_02")[:, :3]
        return Index(ids, np.array(ids) / FPS, identity_cameras(len(ids)), np.tile(K, (len(ids), 1, 1)), files)

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        depth = decode.read_depth16(self._depths(sequence)[index.ids[i]], DEPTH_PER_METRE)
        return Pixels(decode.read_rgb(index.files[i]), depth)


class KittiOdometry(FrameDataset):
    """Odometry sequences that have true poses (00 to 10)."""

    name = "kitti_odometry"
    is_metric = True
    knows = ("cameras", "intrinsics")

    def names(self) -> list[str]:
        found = [n for n in decode.subfolders(self.root / "sequences") if (self.root / f"poses/{n}.txt").is_file()]
        if not found:
            raise DataError(
                f"{self.root} has no sequences/ with poses/<number>.txt: unpack data_odometry_poses.zip too"
            )
        return found

    def expected_sequences(self) -> int | None:
        return 11

    def read_index(self, sequence: str) -> Index:
        folder = self.root / "sequences" / sequence
        camera = next((n for n in (2, 0) if (folder / f"image_{n}").is_dir()), None)
        if camera is None:
            raise DataError(f"{folder} has neither image_2 nor image_0: unpack the pictures")
        files = decode.numbered(folder / f"image_{camera}", "*.png")
        trajectory = read_trajectory(self.root / f"poses/{sequence}.txt", "kitti", folder / "times.txt")
        if len(files) != len(trajectory):
            raise DataError(
                f"{folder} has {len(files)} pictures and {len(trajectory)} poses: the download is incomplete"
            )
        P = projection(folder / "calib.txt", f"P{camera}")
        cam0_from_cam = np.eye(4)
        cam0_from_cam[:3, 3] = -np.linalg.solve(P[:, :3], P[:, 3])
        K = np.tile(P[:, :3], (len(files), 1, 1))
        return Index(
            list(files), trajectory.times_s, trajectory.world_from_cam @ cam0_from_cam, K, list(files.values())
        )

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        return Pixels(decode.read_rgb(index.files[i]))


def projection(path: Path, key: str) -> np.ndarray:
    """A 3x4 projection matrix `key: 12 numbers` of a calibration file."""
    for line in decode.require(path).read_text().splitlines():
        name, _, values = line.partition(":")
        if name.strip() == key:
            return np.array(values.split(), dtype=np.float64).reshape(3, 4)
    raise DataError(f"{path} has no line {key}: is it another calibration file?")
