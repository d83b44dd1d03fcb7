"""DAVIS 2016/2017: short videos with masks of the salient objects. No cameras, no depth.

Layout: `[DAVIS/]{JPEGImages,Annotations}/480p/<seq>/%05d.{jpg,png}`, `ImageSets/<year>/<split>.txt`.
Choices
- Motion is any non-zero id (the benchmark's binary truth). The annotated things are the salient ones, which nearly
  always move; other movers count as static here, and void (255) counts as moving, as published.
- Cameras are identity and K is a 55 degree lens; `knows` says that only motion is true.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, identity_cameras
from openmore.errors import DataError
from openmore.io.images import image_shape

FPS = 24.0
ASSUMED_FOV_DEG = 55.0


class Davis(FrameDataset):
    """The sequences of one list, or all."""

    name = "davis"
    knows = ("motion",)

    def __init__(self, root: str | Path, *, year: str = "2016", split: str = "val", threads: int = 1):
        """`split`: train, val, trainval of the year's lists, or "all" folders."""
        super().__init__(root, threads=threads)
        self.top = self.root / "DAVIS" if (self.root / "DAVIS").is_dir() else self.root
        self.year, self.split = year, split

    def names(self) -> list[str]:
        if self.split == "all":
            found = decode.subfolders(self.top / "Annotations/480p")
        else:
            found = self._listed()
        if not found:
            raise DataError(f"{self.top} has no Annotations/480p: unpack DAVIS-2017-trainval-480p.zip there")
        return found

    def expected_sequences(self) -> int | None:
        return {("2016", "val"): 20, ("2016", "trainval"): 50, ("2017", "val"): 30, ("2017", "trainval"): 90}.get(
            (self.year, self.split)
        )

    def on_disk(self) -> list[str]:
        """Sequences that have pictures."""
        return decode.subfolders(self.top / "JPEGImages/480p")

    def _listed(self) -> list[str]:
        path = self.top / "ImageSets" / self.year / f"{self.split}.txt"
        lines = decode.require(path).read_text().split("\n")
        # 2016 lists files ("/JPEGImages/480p/blackswan/00000.jpg /Annotations/..."), 2017 lists names.
        names = {
            line.split()[0].strip("/").split("/")[-2] if "/" in line else line.strip() for line in lines if line.strip()
        }
        return sorted(names)

    def read_index(self, sequence: str) -> Index:
        files = decode.numbered(self.top / "JPEGImages/480p" / sequence, "*.jpg")
        height, width = image_shape(next(iter(files.values())))
        focal = max(height, width) / 2 / np.tan(np.radians(ASSUMED_FOV_DEG) / 2)
        K = np.tile(axes.intrinsics(focal, focal, width / 2, height / 2), (len(files), 1, 1))
        ids = list(files)
        return Index(ids, np.array(ids) / FPS, identity_cameras(len(ids)), K, list(files.values()))

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        path = self.top / "Annotations/480p" / sequence / f"{index.ids[i]:05d}.png"
        motion = (decode.read_labels(path) > 0).astype(np.uint8)
        return Pixels(decode.read_rgb(index.files[i]), motion=motion)
