"""PointOdyssey v1.2: long synthetic videos with people, animals and 3D point tracks.

Layout: `{train,val,test}/<scene>/{rgbs/rgb_%05d.jpg, depths/depth_%05d.png, masks/mask_%05d.png, anno.npz}`.
Choices
- `extrinsics` are cam_from_world, OpenCV axes. Depth is value / 65535 * 1000 (1.5 cm steps); the background saturates
  near 1000 and is sky here.
- Motion: an instance moves in a frame if a track of it is displaced by more than max(1 cm, 0.5 % of its depth) from
  the frame before or after; an instance no track lies on is unknown. Without tracks everything is unknown.
- Frame counts of pictures, depth and poses must agree: older versions are refused by name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.errors import DataError

FULL_SCALE = 1000.0  # depth units of 65535
SKY = 999.0
MOVED, MOVED_OF_DEPTH = 0.01, 0.005  # metres; share of depth
FPS = 30.0


class PointOdyssey(FrameDataset):
    """One split of PointOdyssey."""

    name = "point_odyssey"
    is_metric = True
    knows = ("cameras", "intrinsics", "depth", "motion")

    def __init__(self, root: str | Path, *, split: str = "train", threads: int = 1):
        super().__init__(root, threads=threads)
        self.split = split
        self._rows: dict[str, dict[int, int]] = {}  # scene -> picture number -> row of the track arrays, in file order

    def names(self) -> list[str]:
        folder = self.root / self.split
        found = [n for n in decode.subfolders(folder) if (folder / n / "anno.npz").is_file()]
        if not found:
            raise DataError(f"{folder} has no scene with anno.npz: unpack {self.split}.tar.gz of v1.2 there")
        return found

    def expected_sequences(self) -> int | None:
        return {"train": 131, "val": 15, "test": 13}.get(self.split)

    def read_index(self, sequence: str) -> Index:
        folder = self.root / self.split / sequence
        anno = decode.read_npz(folder / "anno.npz", ["intrinsics", "extrinsics"])
        files = decode.numbered(folder / "rgbs", "rgb_*.jpg")
        depths = decode.numbered(folder / "depths", "depth_*.png")
        if not len(files) == len(depths) == len(anno["extrinsics"]):
            counts = f"{len(files)} pictures, {len(depths)} depths, {len(anno['extrinsics'])} poses"
            raise DataError(f"{folder} has {counts}: expected equal numbers; get version 1.2")
        world_from_cam = axes.invert(anno["extrinsics"].astype(np.float64))
        ids = list(files)
        self._rows[sequence] = {number: row for row, number in enumerate(ids)}
        index = Index(
            ids, np.array(ids) / FPS, world_from_cam, anno["intrinsics"].astype(np.float64), list(files.values())
        )
        return index.without(invalid_cameras(world_from_cam), "invalid camera")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        folder, number = self.root / self.split / sequence, index.ids[i]
        depth = decode.read_depth16(folder / f"depths/depth_{number:05d}.png", 65535.0 / FULL_SCALE)
        sky = depth >= SKY
        instances = instance_ids(decode.read_raw(folder / f"masks/mask_{number:05d}.png"))
        motion = self._motion(folder, self._rows[sequence][number], index.world_from_cam[i], instances)
        depth = np.where(sky, 0, depth)
        return Pixels(decode.read_rgb(index.files[i]), depth, motion, instances, sky)

    def _motion(self, folder: Path, row: int, world_from_cam: np.ndarray, instances: np.ndarray) -> np.ndarray:
        uv, visible, moved = moved_tracks(folder / "anno.npz", row, axes.invert(world_from_cam))
        height, width = instances.shape
        u, v = np.round(np.nan_to_num(uv, nan=-1)).astype(int).T
        on = visible & (u >= 0) & (v >= 0) & (u < width) & (v < height)
        labels = instances[v[on], u[on]]
        motion = np.full(instances.shape, 255, np.uint8)
        for label in np.unique(labels):
            motion[instances == label] = np.mean(moved[on][labels == label]) > 0.5
        return motion


def instance_ids(mask: np.ndarray) -> np.ndarray:
    """Colour or grey mask -> int32 ids [H, W]; a colour is its 24-bit number."""
    if mask.ndim == 2:
        return mask.astype(np.int32)
    blue, green, red = (mask[..., k].astype(np.int32) for k in range(3))
    return (red << 16) | (green << 8) | blue


def moved_tracks(path: Path, row: int, cam_from_world: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tracks of one frame: pixels [P, 2], visible [P], moved [P] since the frame before or until the next."""
    before, after = max(row - 1, 0), row + 2
    xyz = decode.read_npz_rows(path, "trajs_3d", before, after).astype(np.float64)
    if xyz.size == 0 or len(xyz) <= row - before:  # scenes without tracks have empty arrays
        return np.zeros((0, 2)), np.zeros(0, bool), np.zeros(0, bool)
    here = xyz[row - before]
    z = np.abs(here @ cam_from_world[2, :3] + cam_from_world[2, 3])
    moved = (np.linalg.norm(xyz - here, axis=-1) > np.maximum(MOVED, MOVED_OF_DEPTH * z)).any(0)
    uv, visible = (decode.read_npz_rows(path, key, row, row + 1)[0] for key in ("trajs_2d", "visibs"))
    return uv.astype(np.float64), visible.astype(bool), moved
