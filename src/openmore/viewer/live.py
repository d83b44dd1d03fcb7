"""A growing scene beside a running stream: cloud, movers, camera and path appear as frames arrive.

Choices
- `add_frame` only puts a reference into a queue of two: when drawing falls behind, frames are left out of the picture,
  never waited for. The stream pays microseconds.
- Cost per frame and in total is bounded: every n-th pixel, one point per cell, and the oldest part of the cloud leaves
  when the budget is full. A table of fixed size remembers which cells are taken.
- The static cloud is drawn in chunks; only the newest one is sent again when it grows.
"""

from __future__ import annotations

import math
import queue
import threading
from collections import deque
from typing import Any

import numpy as np

from openmore.export.cloud import CLOUD, join, take
from openmore.export.points import PointOptions, frame_points, pixel_footprint
from openmore.export.thinning import cell_keys
from openmore.types import FramePrediction
from openmore.viewer.server import close_server
from openmore.viewer.stage import quaternion_wxyz, small

_TABLE_BITS = 22  # 4 MB of cells; two cells that share a slot cost a point, not correctness
_CHUNK = 10_000  # points that are sent again while a chunk grows
_LONGEST_PATH = 2_000  # camera positions drawn


class TakenCells:
    """Which cells hold a point, in constant time and fixed memory."""

    def __init__(self, voxel: float):
        self.voxel = voxel  # scene units
        self._taken = np.zeros(1 << _TABLE_BITS, bool)

    def take(self, xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of `xyz` [N, 3] in cells that were free, and their slots; the cells are taken now."""
        # A multiplicative hash spreads neighbouring cells over the table.
        keys = cell_keys(xyz, self.voxel).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        slots, rows = np.unique(keys >> np.uint64(64 - _TABLE_BITS), return_index=True)
        free = ~self._taken[slots]
        self._taken[slots[free]] = True
        return rows[free], slots[free]

    def release(self, slots: np.ndarray) -> None:
        """Free the cells again."""
        self._taken[slots] = False


class LiveView:
    """Draws a stream on a server made by `viewer.server.open_server`. Use as a context manager, or `close` it."""

    def __init__(
        self,
        server: Any,
        *,
        points_per_frame: int = 5_000,
        budget: int = 400_000,
        options: PointOptions = PointOptions(),
    ):
        self.server, self.points_per_frame, self.budget, self.options = server, points_per_frame, budget, options
        self.drawn = self.left_out = 0  # frames
        self._queue: queue.Queue[FramePrediction | None] = queue.Queue(maxsize=2)
        self._cells: TakenCells | None = None
        self._chunks: deque[tuple[Any, np.ndarray, list[np.ndarray]]] = deque()  # (node, points, slots), oldest first
        self._path: deque[np.ndarray] = deque(maxlen=_LONGEST_PATH)
        self._nodes: dict[str, Any] = {}
        self._spacing = 0.0
        self._status = server.gui.add_markdown("Waiting for the first frame")
        self._follow = server.gui.add_checkbox("Follow the camera", False)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_frame(self, prediction: FramePrediction) -> bool:
        """Offer a frame; returns False when drawing is behind and the frame is left out. Never waits."""
        try:
            self._queue.put_nowait(prediction)
        except queue.Full:
            self.left_out += 1
            return False
        return True

    def finish(self) -> None:
        """Draw what is queued, then stop drawing; the server goes on showing the result."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def close(self) -> None:
        """`finish`, then stop the server."""
        self.finish()
        close_server(self.server)

    @property
    def point_count(self) -> int:
        """Static points on show."""
        return sum(len(points) for _, points, _ in self._chunks)

    def _work(self) -> None:
        while (prediction := self._queue.get()) is not None:
            with self.server.atomic():
                self._draw(prediction)
            self.drawn += 1
            left_out = f", {self.left_out} not drawn" if self.left_out else ""
            self._status.content = f"Frame {prediction.index}, {prediction.time_s:.1f} s{left_out}"

    def _draw(self, frame: FramePrediction) -> None:
        h, w = frame.shape
        step = max(1, math.ceil(math.sqrt(h * w / self.points_per_frame)))
        static, movers = frame_points(frame, self.drawn, self.options, step=step)
        if self._cells is None:
            self._begin(frame, step)
        self._add_static(static)
        self._set_points("movers", movers)
        self._draw_camera(frame)

    def _begin(self, frame: FramePrediction, step: int) -> None:
        self._spacing = pixel_footprint(frame) * step or 0.01
        self._cells = TakenCells(self._spacing)
        depth = self._spacing / step * frame.K_model[0, 0]
        back_and_up = frame.camera.world_from_cam @ [0, -0.3 * depth, -0.7 * depth, 1]
        self.server.initial_camera.position = back_and_up[:3]
        self.server.initial_camera.look_at = (frame.camera.world_from_cam @ [0, 0, depth, 1])[:3]

    def _add_static(self, cloud: np.ndarray) -> None:
        """Add the points of new cells to the newest chunk; let the oldest chunks go beyond the budget."""
        assert self._cells is not None
        rows, slots = self._cells.take(cloud["xyz"])
        if not len(rows):
            return
        node, points, taken = self._chunks.pop() if self._chunks else (None, np.zeros(0, CLOUD), [])
        if len(points) >= _CHUNK:
            self._chunks.append((node, points, taken))
            node, points, taken = None, np.zeros(0, CLOUD), []
        points = join((points, take(cloud, rows)))
        node = node or self._add_points(f"static/{self.drawn:08d}", points)
        node.points, node.colors = points["xyz"], points["rgb"]
        self._chunks.append((node, points, [*taken, slots]))
        while self.point_count > self.budget and len(self._chunks) > 1:
            oldest, _, freed = self._chunks.popleft()
            oldest.remove()
            self._cells.release(np.concatenate(freed))

    def _set_points(self, name: str, cloud: np.ndarray) -> None:
        if name not in self._nodes:
            self._nodes[name] = self._add_points(name, cloud)
        self._nodes[name].points, self._nodes[name].colors = cloud["xyz"], cloud["rgb"]

    def _add_points(self, name: str, cloud: np.ndarray) -> Any:
        return self.server.scene.add_point_cloud(
            f"/live/{name}",
            cloud["xyz"],
            cloud["rgb"],
            point_size=self._spacing,
            point_shape="rounded",
            point_shading="flat",
            precision="float32",
        )

    def _draw_camera(self, frame: FramePrediction) -> None:
        camera = frame.camera
        wxyz, fov = quaternion_wxyz(camera.world_from_cam), float(2 * np.arctan(camera.height / 2 / camera.K[1, 1]))
        if "camera" not in self._nodes:
            self._nodes["camera"] = self.server.scene.add_camera_frustum(
                "/live/camera", fov=fov, aspect=camera.width / camera.height, scale=0.1, color=(230, 120, 20)
            )
        node = self._nodes["camera"]
        node.wxyz, node.position, node.image = wxyz, camera.center, small(frame.rgb)
        self._path.append(camera.center.astype(np.float32))
        if len(self._path) > 1:
            centers = np.stack(self._path)
            self.server.scene.add_line_segments(
                "/live/path",
                np.stack((centers[:-1], centers[1:]), 1),
                (40, 90, 200),
                thickness=2.0,
                thickness_units="screen",
            )
        if self._follow.value:
            for client in self.server.get_clients().values():
                with client.atomic():
                    client.camera.wxyz, client.camera.position = wxyz, camera.center
