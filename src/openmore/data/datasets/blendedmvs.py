"""BlendedMVS: rendered meshes of reconstructed places, unordered photos.

Layout: `<scene>/{blended_images/%08d.jpg, cams/%08d_cam.txt, rendered_depth_maps/%08d.pfm, cams/pair.txt}`.
Choices
- cam files hold cam_from_world and K; depth 0 is no mesh. No metric scale and no time order: `is_video` is False and
  time stamps are picture numbers. Nothing moves.
- `neighbours` reads pair.txt: which pictures see the same place, for drawing clips that overlap.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.errors import DataError


class BlendedMVS(FrameDataset):
    """BlendedMVS, BlendedMVS+ and ++."""

    name = "blendedmvs"
    is_video = False
    knows = ("cameras", "intrinsics", "depth", "motion")
    picture_shape = (576, 768)

    def names(self) -> list[str]:
        found = [n for n in decode.subfolders(self.root) if (self.root / n / "cams").is_dir()]
        if not found:
            raise DataError(f"{self.root} has no scene with cams/: unpack the low-resolution archives there")
        return found

    def expected_sequences(self) -> int | None:
        return 502

    def read_index(self, sequence: str) -> Index:
        folder = self.root / sequence
        files = decode.numbered(folder / "blended_images", "????????.jpg")
        cameras = [read_camera(folder / f"cams/{n:08d}_cam.txt") for n in files]
        world_from_cam = axes.invert(np.stack([E for E, _ in cameras]))
        K = np.stack([K for _, K in cameras])
        index = Index(list(files), np.array(list(files), dtype=float), world_from_cam, K, list(files.values()))
        return index.without(invalid_cameras(world_from_cam), "invalid camera")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        path = self.root / sequence / f"rendered_depth_maps/{index.ids[i]:08d}.pfm"
        depth = decode.read_pfm(path)
        return Pixels(decode.read_rgb(index.files[i]), depth, np.zeros(depth.shape, np.uint8))

    def neighbours(self, sequence: str) -> dict[int, list[int]]:
        """Picture -> pictures that see the same place, best first."""
        lines = decode.require(self.root / sequence / "cams/pair.txt").read_text().split("\n")
        found = {}
        for head, tail in zip(lines[1::2], lines[2::2]):
            found[int(head)] = [int(word) for word in tail.split()[1::2]]
        return found


def read_camera(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """cam_from_world [4, 4] and K [3, 3] of an MVSNet camera file."""
    words = decode.require(path).read_text().split()
    try:
        at, lens = words.index("extrinsic") + 1, words.index("intrinsic") + 1
        extrinsic = np.array(words[at : at + 16], dtype=np.float64).reshape(4, 4)
        return extrinsic, np.array(words[lens : lens + 9], dtype=np.float64).reshape(3, 3)
    except ValueError as error:
        raise DataError(f"{path} is no MVSNet camera file ({error}): download it again") from error
