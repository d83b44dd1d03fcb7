"""ScanNet v2: phone RGB-D videos of rooms, from exported folders or straight from the .sens files.

Layout: `[scans|scans_test]/<scene>/{color/%d.jpg, depth/%d.png, pose/%d.txt, intrinsic/intrinsic_depth.txt}` or
`<scene>/<scene>.sens`.
Choices
- Colour is resized to the depth's size and the depth intrinsics are used; the small parallax between the two is
  ignored, as everybody does.
- `color_only`, for the pose benchmark: colour at its own size with its own intrinsics, no depth.
- Poses are world_from_cam; -inf rows (lost tracking) drop the frame, counted. Depth is millimetres.
- File names are not padded: sorting is numeric. Nothing moves: motion is 0 everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmore.data.datasets import decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.data.datasets.sens import SensFile
from openmore.errors import DataError

FPS = 30.0
DEPTH_PER_METRE = 1000.0


class ScanNet(FrameDataset):
    """ScanNet v2 scenes."""

    name = "scannet"
    is_metric = True
    knows = ("cameras", "intrinsics", "depth", "motion")
    picture_shape = (480, 640)

    def __init__(self, root: str | Path, *, color_only: bool = False, threads: int = 1):
        super().__init__(root, threads=threads)
        self.color_only = color_only

    def truth(self, sequence: str) -> dict[str, str]:
        found = super().truth(sequence)
        return {key: grade for key, grade in found.items() if key != "depth" or not self.color_only}

    def names(self) -> list[str]:
        found = sorted(
            name
            for top in self._tops()
            for name in decode.subfolders(top)
            if (top / name / "pose").is_dir() or (top / name / f"{name}.sens").is_file()
        )
        if not found:
            raise DataError(f"{self.root} has no scene with pose/ or a .sens file: give the folder of the scans")
        return found

    def _tops(self) -> list[Path]:
        return [top for top in (self.root, self.root / "scans", self.root / "scans_test") if top.is_dir()]

    def folder(self, sequence: str) -> Path:
        """Where a scene lies."""
        return next((top / sequence for top in self._tops() if (top / sequence).is_dir()), self.root / sequence)

    def read_index(self, sequence: str) -> Index:
        folder = self.folder(sequence)
        if not (folder / "pose").is_dir():
            return self._sens_index(folder)
        files = decode.numbered(folder / "color", "*.jpg")
        poses = decode.numbered(folder / "pose", "*.txt")
        missing = [n for n in files if n not in poses]
        if missing:
            raise DataError(f"{folder}: picture {missing[0]} has no pose file: export the .sens file again")
        cameras = np.stack([decode.read_rows(poses[n], 4).reshape(4, 4) for n in files])
        lens = "intrinsic_color.txt" if self.color_only else "intrinsic_depth.txt"
        K = decode.read_rows(folder / "intrinsic" / lens, 4)[:3, :3]
        return self._index(list(files), cameras, K, list(files.values()))

    def _sens_index(self, folder: Path) -> Index:
        path = folder / f"{folder.name}.sens"
        sens = SensFile.open(decode.require(path))
        K = sens.K_color if self.color_only else sens.K_depth
        return self._index(list(range(len(sens))), sens.world_from_cam, K, [path] * len(sens))

    def _index(self, ids: list[int], cameras: np.ndarray, K: np.ndarray, files: list[Path]) -> Index:
        index = Index(ids, np.array(ids) / FPS, cameras, np.tile(K, (len(ids), 1, 1)), files)
        return index.without(invalid_cameras(cameras), "lost tracking (pose not finite)")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        import cv2

        path, number = index.files[i], index.ids[i]
        if path.suffix == ".sens":
            image, raw = SensFile.open(path).frame(number)
            depth = raw.astype(np.float32) / DEPTH_PER_METRE
        else:
            image = decode.read_rgb(path)
            depth_file = path.parents[1] / f"depth/{number}.png"
            depth = None if self.color_only else decode.read_depth16(depth_file, DEPTH_PER_METRE)
        if depth is None or self.color_only:
            return Pixels(image, None, np.zeros(image.shape[:2], np.uint8))
        size = (depth.shape[1], depth.shape[0])
        if image.shape[:2] != depth.shape:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return Pixels(image, depth, np.zeros(depth.shape, np.uint8))
