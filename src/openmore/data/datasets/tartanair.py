"""TartanAir v1: simulated flights, left eye.

Layout: `<env>/<Easy|Hard>/P%03d/{image_left/%06d_left.png, depth_left/%06d_left_depth.npy, pose_left.txt}`; unpacking
can leave a doubled `<env>/<env>/`. A sequence is `<env>/Easy/P000`.
Choices
- Constant pinhole 320 320 320 240 for 640x480. Poses are NED camera-to-world; the camera axes are turned, the world
  stays NED. Depth is metres; 1000 and beyond is sky.
- The shipped flow is computed from depth and cameras: it is ego flow and is never returned as optical flow.
- Some environments hold movers without any truth: motion is unknown everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.errors import DataError

PINHOLE, SHAPE = (320.0, 320.0, 320.0, 240.0), (480, 640)
SKY_M = 1000.0
FPS = 10.0


class TartanAir(FrameDataset):
    """TartanAir v1."""

    name = "tartanair"
    is_metric = True
    picture_shape = SHAPE

    def names(self) -> list[str]:
        found = [
            f"{env}/{level}/{path}"
            for env in decode.subfolders(self.root)
            for level in ("Easy", "Hard")
            for path in decode.subfolders(self._environment(env) / level)
        ]
        if not found:
            raise DataError(f"{self.root} has no <env>/Easy/P000: unpack image_left, depth_left archives there")
        return found

    def _environment(self, env: str) -> Path:
        doubled = self.root / env / env
        return doubled if doubled.is_dir() else self.root / env

    def folder(self, sequence: str) -> Path:
        """Where a sequence lies."""
        env, _, rest = sequence.partition("/")
        return self._environment(env) / rest

    def read_index(self, sequence: str) -> Index:
        folder = self.folder(sequence)
        files = decode.numbered(folder / "image_left", "*_left.png")
        rows = decode.read_rows(folder / "pose_left.txt", 7)
        if len(rows) != len(files):
            raise DataError(f"{folder} has {len(files)} pictures and {len(rows)} poses: expected one each")
        world_from_cam = axes.from_ned(axes.from_quaternion(rows[:, 3:], rows[:, :3]))
        K = np.tile(axes.intrinsics(*PINHOLE), (len(files), 1, 1))
        index = Index(list(files), np.array(list(files)) / FPS, world_from_cam, K, list(files.values()))
        return index.without(invalid_cameras(world_from_cam), "invalid camera")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        image = decode.read_rgb(index.files[i])
        if image.shape[:2] != SHAPE:
            raise DataError(f"{index.files[i]} is {image.shape[1]}x{image.shape[0]}, expected 640x480: is it v2?")
        depth = decode.read_npy(self.folder(sequence) / f"depth_left/{index.ids[i]:06d}_left_depth.npy")
        sky = depth >= SKY_M
        motion = np.full(depth.shape, 255, np.uint8)
        return Pixels(image, np.where(sky, 0, depth), motion, None, sky)
