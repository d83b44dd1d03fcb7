"""Spring: an animated film with stereo disparity, flow and cameras.

Layout: `train/<%04d>/{frame_left/frame_left_%04d.png, disp1_left/*.dsp5, flow_FW_left/*.flo5, flow_BW_left/*.flo5,
cam_data/{intrinsics,extrinsics}.txt, maps/rigidmap_FW_left/*.png}`; frame numbers start at 1.
Choices
- Disparity and flow are stored at twice the picture's size in units of its pixels: every second value is taken.
- z = fx * 0.065 / disparity with that frame's fx; sky has no disparity and becomes 0 (and the sky mask).
- extrinsics.txt holds cam_from_world, row-major.
- Motion: the rigidity map where it exists (non-rigid = moving) [recalled]; else the true flow against the ego flow of
  true depth, moving beyond 1 px of the picture. Both directions count, so the last frame is labelled too.
- The film has no published frame rate in its files: 24 is assumed for time stamps.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.data.datasets.ego import moving_by_flow
from openmore.errors import DataError

BASELINE_M = 0.065
FPS = 24.0
FAR = 1000.0  # units; farther is sky
MOVING_PX = 1.0


class Spring(FrameDataset):
    """The 37 training sequences, left eye."""

    name = "spring"
    is_metric = True
    knows = ("cameras", "intrinsics", "depth", "motion")
    recalled: ClassVar[dict[str, str]] = {
        "maps/rigidmap_FW_left, non-rigid = bright": "the picture's third column marks the background, or nothing",
    }
    picture_shape = (1080, 1920)

    def names(self) -> list[str]:
        folder = self.root / "train"
        found = [n for n in decode.subfolders(folder) if (folder / n / "cam_data").is_dir()]
        if not found:
            raise DataError(f"{folder} has no sequence with cam_data/: unpack the camera and disparity archives too")
        return found

    def expected_sequences(self) -> int | None:
        return 37

    def read_index(self, sequence: str) -> Index:
        folder = self.root / "train" / sequence
        files = decode.numbered(folder / "frame_left", "frame_left_*.png")
        lens = decode.read_rows(folder / "cam_data/intrinsics.txt", 4)
        cam_from_world = decode.read_rows(folder / "cam_data/extrinsics.txt", 16).reshape(-1, 4, 4)
        if not len(files) == len(lens) == len(cam_from_world):
            raise DataError(f"{folder}: {len(files)} pictures, {len(lens)} lenses, {len(cam_from_world)} cameras")
        world_from_cam = axes.invert(cam_from_world)
        K = np.stack([axes.intrinsics(*row) for row in lens])
        index = Index(list(files), np.array(list(files)) / FPS, world_from_cam, K, list(files.values()))
        return index.without(invalid_cameras(world_from_cam), "invalid camera")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        folder, number = self.root / "train" / sequence, index.ids[i]
        image = decode.read_rgb(index.files[i])
        depth, sky = self._depth(folder, number, index.K[i])
        forward, backward = (_flow(folder, direction, number) for direction in ("FW", "BW"))
        motion = self._rigidity(folder, number, depth.shape)
        if motion is None:
            neighbours = ((i + 1, forward), (i - 1, backward))
            motion = moving_by_flow(depth, index.K, index.world_from_cam, i, neighbours, MOVING_PX)
        motion[sky & (motion == 255)] = 0
        return Pixels(image, depth, motion, None, sky, forward, backward)

    def _depth(self, folder: Path, number: int, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        stored = decode.read_hdf5(folder / f"disp1_left/disp1_left_{number:04d}.dsp5", "disparity")
        disparity = np.abs(stored[::2, ::2].astype(np.float32))
        sky = disparity < K[0, 0] * BASELINE_M / FAR
        known = np.isfinite(disparity) & ~sky
        return np.where(known, K[0, 0] * BASELINE_M / np.where(known, disparity, 1), 0), sky

    def _rigidity(self, folder: Path, number: int, shape: tuple[int, ...]) -> np.ndarray | None:
        path = folder / f"maps/rigidmap_FW_left/rigidmap_FW_left_{number:04d}.png"
        if not path.is_file():
            return None
        stored = decode.read_labels(path)
        step = stored.shape[0] // shape[0]
        return (stored[::step, ::step] > 127).astype(np.uint8)


def _flow(folder: Path, direction: str, number: int) -> np.ndarray | None:
    """[2, H, W]; None where there is no neighbour."""
    path = folder / f"flow_{direction}_left/flow_{direction}_left_{number:04d}.flo5"
    return decode.read_hdf5(path, "flow")[::2, ::2].transpose(2, 0, 1).astype(np.float32) if path.is_file() else None
