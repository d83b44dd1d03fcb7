"""Virtual KITTI 2.0.3: rendered driving with exact depth, flow, instances and a moving flag per car.

Layout: `Scene*/<variation>/frames/{rgb,depth,forwardFlow,backwardFlow,instanceSegmentation}/Camera_{0,1}/` and
`Scene*/<variation>/{extrinsic,intrinsic,bbox}.txt`. A sequence is `Scene01/clone/Camera_0`.
Choices
- extrinsic.txt is cam_from_world, rows of both cameras interleaved. Depth is centimetres; 65535 is sky.
- Flow: 16 bit, red horizontal, green vertical, blue 0 = invalid [recalled; checked by reprojection].
- Motion: instance value = track + 1; bbox.txt says per frame and track whether it moves [recalled]. A track without a
  row is unknown, everything that is no track is static. Without bbox.txt the labels are unknown on instances.
- The ten variations repeat one drive: weight by scene. Time stamps are 10 Hz.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.errors import DataError

FPS = 10.0
SKY_RAW = 65535


class VKITTI2(FrameDataset):
    """Virtual KITTI 2."""

    name = "vkitti2"
    is_metric = True
    knows = ("cameras", "intrinsics", "depth", "motion")
    recalled: ClassVar[dict[str, str]] = {
        "flow: 16 bit, red horizontal, green vertical, blue 0 invalid": "flow is off by as much as pictures move",
        "isMoving in bbox.txt, instance value = track + 1": "the picture's third column marks parked cars",
    }
    picture_shape = (375, 1242)

    def __init__(self, root: str | Path, *, cameras: tuple[int, ...] = (0,), threads: int = 1):
        super().__init__(root, threads=threads)
        self.cameras = cameras

    def names(self) -> list[str]:
        found = [
            f"{scene}/{variation}/Camera_{camera}"
            for scene in decode.subfolders(self.root)
            if scene.startswith("Scene")
            for variation in decode.subfolders(self.root / scene)
            for camera in self.cameras
            if (self.root / scene / variation / f"frames/rgb/Camera_{camera}").is_dir()
        ]
        if not found:
            raise DataError(
                f"{self.root} has no Scene*/<variation>/frames/rgb/Camera_0: unpack vkitti_2.0.3_rgb.tar there"
            )
        return found

    def expected_sequences(self) -> int | None:
        return 5 * 10 * len(self.cameras)

    def read_index(self, sequence: str) -> Index:
        folder, camera = self._split(sequence)
        files = decode.numbered(folder / f"frames/rgb/Camera_{camera}", "rgb_*.jpg")
        lenses = _rows_of(folder / "intrinsic.txt", camera, 4)
        cameras = _rows_of(folder / "extrinsic.txt", camera, 16)
        missing = [n for n in files if n not in lenses or n not in cameras]
        if missing:
            raise DataError(f"{folder}: no camera for frame {missing[0]}: unpack vkitti_2.0.3_textgt.tar.gz too")
        world_from_cam = axes.invert(np.stack([cameras[n].reshape(4, 4) for n in files]))
        K = np.stack([axes.intrinsics(*lenses[n]) for n in files])
        index = Index(list(files), np.array(list(files)) / FPS, world_from_cam, K, list(files.values()))
        return index.without(invalid_cameras(world_from_cam), "invalid camera")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        folder, camera = self._split(sequence)
        number, frames = index.ids[i], folder / "frames"
        raw = decode.read_raw(frames / f"depth/Camera_{camera}/depth_{number:05d}.png")
        sky = raw == SKY_RAW
        depth = np.where(sky, 0, raw.astype(np.float32) / 100)
        forward = decode_flow(frames / f"forwardFlow/Camera_{camera}/flow_{number:05d}.png")
        backward = decode_flow(frames / f"backwardFlow/Camera_{camera}/backwardFlow_{number:05d}.png")
        path = frames / f"instanceSegmentation/Camera_{camera}/instancegt_{number:05d}.png"
        instances = decode.read_labels(path).astype(np.int32) if path.is_file() else None
        motion = None if instances is None else self._motion(folder, camera, number, instances)
        return Pixels(decode.read_rgb(index.files[i]), depth, motion, instances, sky, forward, backward)

    def _split(self, sequence: str) -> tuple[Path, int]:
        folder, _, camera = sequence.rpartition("/Camera_")
        return self.root / folder, int(camera)

    def _motion(self, folder: Path, camera: int, number: int, instances: np.ndarray) -> np.ndarray:
        path = folder / "bbox.txt"
        flags = moving_tracks(path).get((number, camera), {}) if path.is_file() else {}
        motion = np.zeros(instances.shape, np.uint8)
        for value in np.unique(instances[instances > 0]).tolist():
            motion[instances == value] = flags.get(value - 1, 255)
        return motion


def _rows_of(path: Path, camera: int, count: int) -> dict[int, np.ndarray]:
    """`frame cameraID` + `count` numbers -> frame -> numbers, for one camera."""
    rows = decode.read_rows(path, count + 2, skip=1)
    return {int(row[0]): row[2:] for row in rows if int(row[1]) == camera}


@lru_cache(maxsize=8)
def moving_tracks(path: Path) -> dict[tuple[int, int], dict[int, int]]:
    """(frame, camera) -> track -> 1 moving, 0 still. Raises DataError when the table has no isMoving column."""
    header, *lines = path.read_text().splitlines()
    columns = header.split()
    if "isMoving" not in columns:
        raise DataError(f"{path} has no isMoving column ({header}): expected Virtual KITTI 2.0.3")
    at = [columns.index(name) for name in ("frame", "cameraID", "trackID", "isMoving")]
    flags: dict[tuple[int, int], dict[int, int]] = {}
    for line in filter(str.strip, lines):
        frame, camera, track, moving = (line.split()[k] for k in at)
        flags.setdefault((int(frame), int(camera)), {})[int(track)] = int(moving.lower() in ("true", "1"))
    return flags


def decode_flow(path: Path) -> np.ndarray | None:
    """16-bit flow picture -> [2, H, W] pixels, NaN invalid; None where there is no neighbour."""
    if not path.is_file():
        return None
    blue, green, red = np.moveaxis(decode.read_raw(path).astype(np.float32), -1, 0)
    height, width = red.shape
    flow = np.stack(((2 * red / 65535 - 1) * (width - 1), (2 * green / 65535 - 1) * (height - 1)))
    flow[:, blue == 0] = np.nan
    return flow
