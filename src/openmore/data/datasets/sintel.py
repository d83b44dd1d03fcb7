"""MPI Sintel, training half: an animated film with depth, cameras and flow.

Layout: `training/{final,clean}/<seq>/frame_%04d.png`, `training/{depth/<seq>/*.dpt, camdata_left/<seq>/*.cam,
flow/<seq>/*.flo}` (the root may be `training/` itself); frame numbers start at 1.
Choices
- .cam holds K and cam_from_world. Depth is passed on uncapped; the sky is far away and finite.
- Motion as in MonST3R: true flow against ego flow beyond 0.1 px; the last frame (no flow) is unknown.
- 24 frames per second.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.data.datasets.ego import moving_by_flow
from openmore.errors import ConfigError, DataError

FPS = 24.0
MOVING_PX = 0.1


class Sintel(FrameDataset):
    """The 23 training sequences."""

    name = "sintel"
    knows = ("cameras", "intrinsics", "depth", "motion")
    picture_shape = (436, 1024)

    def __init__(self, root: str | Path, *, render: str = "final", threads: int = 1):
        super().__init__(root, threads=threads)
        if render not in ("final", "clean"):
            raise ConfigError(f"Sintel render {render!r} is unknown: choose final or clean")
        self.render = render
        self.top = self.root / "training" if (self.root / "training").is_dir() else self.root

    def names(self) -> list[str]:
        found = [n for n in decode.subfolders(self.top / self.render) if (self.top / "camdata_left" / n).is_dir()]
        if not found:
            raise DataError(f"{self.top} lacks {self.render}/ or camdata_left/: unpack MPI-Sintel-depth-training too")
        return found

    def expected_sequences(self) -> int | None:
        return 23

    def read_index(self, sequence: str) -> Index:
        files = decode.numbered(self.top / self.render / sequence, "frame_*.png")
        read = [decode.read_sintel_camera(self._file("camdata_left", sequence, n, "cam")) for n in files]
        cam_from_world = axes.rigid(np.stack([E[:, :3] for _, E in read]), np.stack([E[:, 3] for _, E in read]))
        cameras, K = axes.invert(cam_from_world), np.stack([K for K, _ in read])
        index = Index(list(files), np.array(list(files)) / FPS, cameras, K, list(files.values()))
        return index.without(invalid_cameras(cameras), "invalid camera")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        number = index.ids[i]
        depth = decode.read_sintel_depth(self._file("depth", sequence, number, "dpt"))
        path = self._file("flow", sequence, number, "flo")
        flow = decode.read_flo(path) if path.is_file() else None
        motion = None
        if (self.top / "flow" / sequence).is_dir():
            motion = moving_by_flow(depth, index.K, index.world_from_cam, i, [(i + 1, flow)], MOVING_PX)
        return Pixels(decode.read_rgb(index.files[i]), depth, motion, flow_forward=flow)

    def _file(self, kind: str, sequence: str, number: int, suffix: str) -> Path:
        return self.top / kind / sequence / f"frame_{number:04d}.{suffix}"
