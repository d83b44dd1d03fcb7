"""One scene's nodes in a viser server: background, movers, cameras. Knows nothing of sliders.

Choices
- Point clouds are updated in place when they exist: replacing a node would flash.
- Positions are sent as float32: half precision is 4 mm at 5 m, visible as bands.
- Static points are drawn as large as their spacing, movers as large as a pixel at their distance, both times the
  slider: scenes of any scale look closed, and near movers are not drawn fat.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from openmore.export.cameras import frame_indices, frame_times
from openmore.export.colours import time_colours
from openmore.export.frusta import frustum_lines, frustum_size
from openmore.export.points import pixel_footprint
from openmore.geometry.rotation import matrix_to_quaternion
from openmore.types import Reconstruction
from openmore.viewer.colours import CloudColours
from openmore.viewer.layers import Background, FrameCache, Settings, first_readable

MOST_FRUSTA = 100  # drawn of a path; more are thinned out evenly
_PICTURE_SIDE = 320  # pixels; the picture in the current camera's frustum


class Stage:
    """A scene at a place in the viewer, under the node `root`."""

    def __init__(self, server: Any, root: str, name: str, recon: Reconstruction):
        self.server, self.root, self.name, self.recon = server, root, name, recon
        self.cameras = recon.cameras
        self.cache = FrameCache(recon)
        self.background = Background(recon)
        self.colours = CloudColours(self.cameras)
        self._first_number, self._first = first_readable(recon)
        self._clock = list(zip(frame_indices(recon), frame_times(recon), strict=True))
        self._spacing = {"static": pixel_footprint(self._first) or 0.01}  # scene units, per part
        self._size = 1.0  # the slider
        self.drawn = -1  # frame on show
        self._visible = {"static": True, "movers": True, "path": True, "camera": True, "frusta": False}
        self._nodes: dict[str, Any] = {}
        self._frame = server.scene.add_frame(root, show_axes=False)
        self._add_path()
        self._add_camera()

    def extent_x(self) -> np.ndarray:
        """[2] left and right end of the middle 90 % of the first frame that can be read, scene units."""
        depth, K = self._first.depth, self._first.K_model
        columns = (np.arange(depth.shape[1]) - K[0, 2]) / K[0, 0]
        x = (depth * columns)[np.isfinite(depth) & (depth > 0)] + self._first.camera.center[0]
        if not len(x):
            return np.array([-1.0, 1.0])
        return np.percentile(x, (5, 95))

    def move_to(self, x: float) -> None:
        """Shift the whole scene along x."""
        self._frame.position = (x, 0.0, 0.0)

    @property
    def offset_x(self) -> float:
        """How far the scene was shifted."""
        return float(self._frame.position[0])

    def add_name(self) -> None:
        """Write the scene's name above it, for several side by side."""
        left, right = self.extent_x()
        depth = self._middle_depth()
        place = (left + right) / 2, -0.6 * depth, depth
        self.server.scene.add_label(f"{self.root}/name", self.name, position=place, anchor="bottom-center")

    def report(self, settings: Settings) -> list[str]:
        """Lines about what is on show: the frame, its time, how many points; why there are none; what is damaged."""
        done, total = self.background.done, len(self.background.numbers)
        index, seconds = self._clock[max(self.drawn, 0)]
        lines = [f"**{self.name}**: frame {index}, {seconds:.2f} s, of {len(self.recon)} frames"]
        static, movers = (len(self._nodes[part].points) if part in self._nodes else 0 for part in ("static", "movers"))
        lines.append(f"{static:,} static points, {movers:,} moving")
        if done < total:
            lines.append(f"background from {done} of {total} frames")
        elif not static:
            lines.append(f"**{self.background.why_empty(settings)}**")
        if damaged := self.background.damaged:
            lines.append(f"**{len(damaged)} damaged, left out of the background: {damaged[0]}**")
        return lines

    def first_view(self) -> tuple[np.ndarray, np.ndarray]:
        """(position, look_at) a little behind and above the first camera, looking at the middle depth.

        Aside to the right, because the panel hides the right quarter of the window.
        """
        middle = self._middle_depth()
        world_from_cam = self.cameras[0].world_from_cam
        aside = 0.1 * float(np.ptp(self.extent_x()))
        back_and_up = world_from_cam @ [aside, -0.1 * middle, -0.2 * middle, 1]
        ahead = world_from_cam @ [aside, 0, middle, 1]
        return back_and_up[:3] + self._frame.position, ahead[:3] + self._frame.position

    def _middle_depth(self) -> float:
        depth = self._first.depth[np.isfinite(self._first.depth) & (self._first.depth > 0)]
        return float(np.median(depth)) if len(depth) else 1.0

    def view_of(self, frame: int) -> tuple[np.ndarray, np.ndarray, float]:
        """(wxyz, position, vertical field of view in radians) of a frame's camera, in the viewer's world."""
        camera = self.cameras[min(frame, len(self.cameras) - 1)]
        fov = 2 * np.arctan(camera.height / 2 / camera.K[1, 1])
        return quaternion_wxyz(camera.world_from_cam), camera.center + self._frame.position, float(fov)

    def draw_background(self, settings: Settings) -> None:
        """Draw what has been accumulated so far."""
        cloud, self._spacing["static"] = self.background.points(settings)
        self.colours.fit(cloud)
        self._draw_points("static", cloud, settings.colour)

    def draw_frame(self, frame: int, settings: Settings) -> None:
        """Draw the movers and the camera of a frame; past the end the last frame stays.

        Raises DataError for a damaged frame, and leaves on show what was.
        """
        number = min(frame, len(self.recon) - 1)
        movers = self.cache.movers(number, settings)
        self._spacing["movers"] = self.spacing_of(movers, number)
        self._draw_points("movers", movers, settings.colour)
        self.draw_camera(number)
        self.drawn = number

    def draw_camera(self, number: int) -> None:
        """Move the current camera to a frame and put its picture in."""
        camera, node = self.cameras[number], self._nodes["camera"]
        node.wxyz, node.position = quaternion_wxyz(camera.world_from_cam), camera.center
        node.image = small(self.cache[number].picture)

    def add_points(self, name: str, cloud: np.ndarray, colour: str, spacing: float, visible: bool) -> Any:
        """A new node of points under this scene's root; returns viser's handle."""
        return self.server.scene.add_point_cloud(
            f"{self.root}/{name}",
            np.ascontiguousarray(cloud["xyz"]),
            np.ascontiguousarray(self.colours(cloud, colour)),
            point_size=spacing * self._size,
            point_shape="rounded",
            point_shading="flat",
            precision="float32",
            visible=visible,
        )

    def spacing_of(self, cloud: np.ndarray, number: int) -> float:
        """Side of a model pixel, scene units, at the cloud's median depth in a frame's camera."""
        if not len(cloud):
            return self._spacing["static"]
        camera = self.cameras[number]
        depth = (cloud["xyz"] - camera.center) @ camera.world_from_cam[:3, 2]
        return float(np.median(depth)) / float(camera.K_at(self.recon.info.model_shape)[0, 0])

    def set_point_size(self, factor: float) -> None:
        self._size = factor
        for part in ("static", "movers"):
            if part in self._nodes:
                self._nodes[part].point_size = self._spacing[part] * factor

    def show_part(self, part: str, visible: bool) -> None:
        """Show or hide static, movers, path, camera or frusta."""
        self._visible[part] = visible
        if part in self._nodes:
            self._nodes[part].visible = visible

    def _draw_points(self, part: str, cloud: np.ndarray, colour: str) -> None:
        if part not in self._nodes:
            self._nodes[part] = self.add_points(part, cloud, colour, self._spacing[part], self._visible[part])
            return
        rgb = np.ascontiguousarray(self.colours(cloud, colour))
        self._nodes[part].points, self._nodes[part].colors = np.ascontiguousarray(cloud["xyz"]), rgb
        self._nodes[part].point_size = self._spacing[part] * self._size

    def _add_path(self) -> None:
        scene, colours = self.server.scene, time_colours(len(self.cameras))
        chosen = np.unique(np.linspace(0, len(self.cameras) - 1, MOST_FRUSTA).round().astype(int))
        lines = frustum_lines([self.cameras[i] for i in chosen], frustum_size(self.cameras) / 2).reshape(-1, 2, 3)
        rgb = np.repeat(colours[chosen], 8, 0)[:, None].repeat(2, 1)
        self._nodes["frusta"] = scene.add_line_segments(
            f"{self.root}/frusta", lines, rgb, thickness=1.0, thickness_units="screen", visible=False
        )
        if len(self.cameras) > 1:
            centers = np.stack([camera.center for camera in self.cameras]).astype(np.float32)
            steps = np.stack((centers[:-1], centers[1:]), 1)
            rgb = np.stack((colours[:-1], colours[1:]), 1)
            self._nodes["path"] = scene.add_line_segments(
                f"{self.root}/path", steps, rgb, thickness=2.0, thickness_units="screen"
            )

    def _add_camera(self) -> None:
        camera = self.cameras[0]
        self._nodes["camera"] = self.server.scene.add_camera_frustum(
            f"{self.root}/camera",
            fov=float(2 * np.arctan(camera.height / 2 / camera.K[1, 1])),
            aspect=camera.width / camera.height,
            scale=frustum_size(self.cameras),
            color=(230, 120, 20),
            thickness=2.0,
            thickness_units="screen",
            image=small(self._first.rgb) if self._first_number == 0 else None,
        )


def quaternion_wxyz(world_from_cam: np.ndarray) -> np.ndarray:
    """[4] w x y z, viser's order, of a [4, 4] transform."""
    return matrix_to_quaternion(torch.from_numpy(world_from_cam[:3, :3])).numpy()[[3, 0, 1, 2]]


def small(picture: np.ndarray | None) -> np.ndarray | None:
    """Every n-th pixel, so that the long side is about 320."""
    if picture is None:
        return None
    step = max(1, round(max(picture.shape[:2]) / _PICTURE_SIDE))
    return np.ascontiguousarray(picture[::step, ::step])
