"""ARKitScenes raw: iPad videos of rooms with low-resolution LiDAR depth.

Layout: `[raw/]{Training,Validation}/<id>/{vga_wide,lowres_depth,confidence,vga_wide_intrinsics}/` and
`lowres_wide.traj`; `metadata.csv` above says which way is up.
Choices
- .traj rows are cam_from_world (time, axis-angle, translation); the camera between two rows is interpolated (slerp and
  linear); pictures outside the trajectory are dropped and counted.
- .pincam names may differ by a millisecond from the picture's; the nearest within 2 ms is taken.
- LiDAR depth (256x192) is repeated to the picture's size; only confidence 2 is kept (`min_confidence`).
- Pictures, cameras and K are turned so that the sky is up where metadata.csv gives `sky_direction` [recalled].
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.data.datasets.tum import nearest
from openmore.errors import DataError
from openmore.io.images import image_shape

LENS_TOLERANCE_S = 0.002
# Quarter turns counter-clockwise (numpy's rot90) that bring the sky up.
TURNS = {"Up": 0, "Right": 1, "Down": 2, "Left": 3}


class ARKitScenes(FrameDataset):
    """One split of ARKitScenes raw."""

    name = "arkitscenes"
    is_metric = True
    knows = ("cameras", "intrinsics", "depth", "motion")
    recalled: ClassVar[dict[str, str]] = {
        "sky_direction of metadata.csv turns pictures upright": "rooms in the picture lie on their side",
        ".traj rows are cam_from_world": "a problem says INVERTED",
    }

    def __init__(self, root: str | Path, *, split: str = "Training", min_confidence: int = 2, threads: int = 1):
        super().__init__(root, threads=threads)
        top = self.root / "raw" if (self.root / "raw").is_dir() else self.root
        self.folder, self.min_confidence = top / split, min_confidence
        self.metadata = next((p for p in (top / "metadata.csv", self.root / "metadata.csv") if p.is_file()), None)

    def names(self) -> list[str]:
        found = [n for n in decode.subfolders(self.folder) if (self.folder / n / "lowres_wide.traj").is_file()]
        if not found:
            raise DataError(f"{self.folder} has no video with lowres_wide.traj: download that asset too")
        return found

    def turns(self, sequence: str) -> int:
        """Quarter turns that bring the sky up."""
        if self.metadata is None:
            return 0
        return TURNS.get(sky_directions(self.metadata).get(sequence, "Up"), 0)

    def read_index(self, sequence: str) -> Index:
        folder = self.folder / sequence
        pictures = by_time(folder / "vga_wide", ".png")
        times = np.array(list(pictures))
        rows = decode.read_rows(folder / "lowres_wide.traj", 7)
        world_from_cam = interpolate(rows, times)
        lenses = by_time(folder / "vga_wide_intrinsics", ".pincam")
        place, difference = nearest(times, np.array(list(lenses)))
        lens_files = list(lenses.values())
        K = np.stack([axes.intrinsics(*decode.read_rows(lens_files[k], 6)[0, 2:]) for k in place])
        shape, turns = image_shape(next(iter(pictures.values()))), self.turns(sequence)
        world_from_cam, K = turn_cameras(world_from_cam, K, shape, turns)
        index = Index(list(range(len(times))), times, world_from_cam, K, list(pictures.values()))
        bad = invalid_cameras(world_from_cam)
        return index.without(difference > LENS_TOLERANCE_S, "no intrinsics").without(
            bad[difference <= LENS_TOLERANCE_S], "outside the trajectory"
        )

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        import cv2

        folder, path = self.folder / sequence, index.files[i]
        image = decode.read_rgb(path)
        depths = by_time(folder / "lowres_depth", ".png")
        place, difference = nearest(index.times_s[i : i + 1], np.array(list(depths)))
        depth = np.zeros(image.shape[:2], np.float32)
        if difference[0] <= LENS_TOLERANCE_S:
            found = list(depths.values())[place[0]]
            low = decode.read_depth16(found, 1000.0)
            sure = decode.read_raw(decode.require(folder / "confidence" / found.name)) >= self.min_confidence
            size = (image.shape[1], image.shape[0])
            depth = cv2.resize(np.where(sure, low, 0), size, interpolation=cv2.INTER_NEAREST)
        turns = self.turns(sequence)
        image, depth = np.ascontiguousarray(np.rot90(image, turns)), np.ascontiguousarray(np.rot90(depth, turns))
        return Pixels(image, depth, np.zeros(depth.shape, np.uint8))


@lru_cache(maxsize=16)
def by_time(folder: Path, suffix: str) -> dict[float, Path]:
    """`<id>_<seconds><suffix>` files by time."""
    files = {float(p.stem.rpartition("_")[2]): p for p in folder.glob(f"*{suffix}")}
    if not files:
        raise DataError(f"{folder} has no {suffix} files: download that asset too")
    return dict(sorted(files.items()))


@lru_cache(maxsize=2)
def sky_directions(path: Path) -> dict[str, str]:
    """Video id -> Up, Left, Down or Right."""
    with path.open(newline="") as file:
        return {row["video_id"]: row.get("sky_direction", "Up") for row in csv.DictReader(file)}


def interpolate(rows: np.ndarray, times: np.ndarray) -> np.ndarray:
    """world_from_cam [N, 4, 4] at `times` from trajectory rows [M, 7]; NaN outside them."""
    world_from_cam = axes.invert(axes.from_rotation_vector(rows[:, 1:4], rows[:, 4:7]))
    clock = rows[:, 0]
    right = np.searchsorted(clock, times).clip(1, len(clock) - 1)
    left = right - 1
    share = (times - clock[left]) / np.maximum(clock[right] - clock[left], 1e-9)
    out = axes.between(world_from_cam[left], world_from_cam[right], share)
    out[(times < clock[0] - 1e-3) | (times > clock[-1] + 1e-3)] = np.nan
    return out


def turn_cameras(
    world_from_cam: np.ndarray, K: np.ndarray, shape: tuple[int, int], turns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cameras and intrinsics of pictures of `shape` (H, W) turned by `turns` quarters counter-clockwise."""
    height, width = shape
    for _ in range(turns % 4):
        # A picture turned counter-clockwise: new u = old v, new v = W - 1 - old u.
        fx, fy, cx, cy = K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]
        K = np.stack([axes.intrinsics(*row) for row in np.column_stack((fy, fx, cy, width - 1 - cx))])
        old_from_new = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        world_from_cam = world_from_cam @ old_from_new
        height, width = width, height
    return world_from_cam, K
