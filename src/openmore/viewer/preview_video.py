"""preview.mp4 (or .gif, .webp): picture | depth | motion | trajectory from above, frame by frame.

Choices
- The same colours as the preview sheet: 1/z on one range for the whole clip, movers tinted in vermilion.
- The last panel draws the static world from above in grey, the camera's path so far along the time colours and its
  field of view now, and the movers of the frame where they are.
- A damaged frame is left out with a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from openmore.errors import InputError
from openmore.export.colours import time_colours
from openmore.io.atomic import atomic_file
from openmore.io.colours import MOVING, legend
from openmore.io.output import FILE, require_free
from openmore.io.preview import (
    depth_legend,
    inverse_depth,
    motion_legend,
    motion_overlay,
    near_colours,
    near_range,
    picture_legend,
)
from openmore.io.video import write_video
from openmore.progress import ProgressCallback, silent
from openmore.types import Camera, FramePrediction, Reconstruction
from openmore.viewer.layers import Background, FrameCache, Settings, first_readable, readable
from openmore.viewer.scene_view import native_fps

log = logging.getLogger(__name__)

_SAMPLE = 24  # frames that decide the depth range and draw the map
_SMOOTH = 2  # the map is drawn this much larger and shrunk: Pillow's lines are not smoothed
_SETTINGS = Settings(budget=200_000)


def write_preview_video(
    recon: Reconstruction,
    path: Path,
    *,
    height: int = 240,
    columns: int = 4,
    legends: bool = True,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> Path:
    """Write an mp4, or an endless .gif or .webp, at the scene's own rate.

    `height`: of one panel; `columns`: 4 is a strip, 2 a square; `legends`: say under each panel what it shows.
    Animated pictures are held in memory while they are made: take them from short clips.
    """
    require_free(path, FILE, overwrite)
    pictures = preview_frames(recon, height, columns, legends, progress)
    if path.suffix.lower() in (".gif", ".webp"):
        return _write_animation(path, pictures, native_fps(recon))
    return write_video(path, pictures, native_fps(recon))


def preview_frames(
    recon: Reconstruction,
    height: int = 240,
    columns: int = 4,
    legends: bool = False,
    progress: ProgressCallback = silent,
) -> Iterator[np.ndarray]:
    """[H, W, 3] uint8 pictures, one per frame that can be read. Panels without data (rgb, motion) are left out.

    Raises DataError when no frame can be read.
    """
    if not len(recon):
        raise InputError("the scene has no frames: nothing to draw")
    first_readable(recon)  # else it would be a video without frames
    shown = depth_range(recon)
    top = TopView(recon, height)
    for number, frame in readable(recon, range(len(recon)), _warn):
        panels = [] if frame.rgb is None else [frame.rgb]
        panels.append(near_colours(inverse_depth(frame.depth), shown))
        if frame.motion is not None:
            panels.append(motion_overlay(frame.rgb, frame.motion))
        panels = [*(_at_height(panel, height) for panel in panels), top.draw(number)]
        if legends:
            panels = [np.concatenate(pair) for pair in zip(panels, _legends(recon, frame, shown, panels), strict=True)]
        yield _grid(panels, columns)
        progress("video", number + 1, len(recon))


def _warn(reason: str) -> None:
    log.warning("a frame is left out of the video: %s", reason)


def _legends(
    recon: Reconstruction, frame: FramePrediction, shown: tuple[float, float], panels: list[np.ndarray]
) -> list[np.ndarray]:
    """One foot per panel, as wide as the panel."""
    width, side = panels[0].shape[1], panels[-1].shape[1]
    feet = [] if frame.rgb is None else [picture_legend(frame.index, frame.index, width)]
    feet.append(depth_legend(shown, width))
    if frame.motion is not None:
        feet.append(motion_legend(width))
    return [*feet, legend(time_colours(side), "first", "from above", "last", side)]


def _write_animation(path: Path, pictures: Iterator[np.ndarray], fps: float) -> Path:
    first, *others = (Image.fromarray(picture) for picture in pictures)
    options = {"quality": 80} if path.suffix.lower() == ".webp" else {}
    with atomic_file(path) as handle:
        kind = path.suffix[1:].upper()
        first.save(handle, kind, save_all=True, append_images=others, duration=round(1000 / fps), loop=0, **options)
    return path


def depth_range(recon: Reconstruction) -> tuple[float, float]:
    """The range of 1/z that serves all frames, from frames spread over the clip."""
    chosen = np.unique(np.linspace(0, len(recon) - 1, _SAMPLE).round().astype(int))
    return near_range([inverse_depth(frame.depth)[::4, ::4] for _, frame in readable(recon, chosen.tolist())])


class TopView:
    """The scene from above (x to the right, z up the picture), square, in scene units."""

    def __init__(self, recon: Reconstruction, side: int):
        self.side = side * _SMOOTH
        self.cameras = recon.cameras
        self.movers = FrameCache(recon)
        self.path = np.stack([camera.center[[0, 2]] for camera in self.cameras])
        self.colours = time_colours(len(self.path))
        background = Background(recon, sample=_SAMPLE)
        background.accumulate()
        ground = background.points(_SETTINGS)[0]["xyz"][:, [0, 2]]
        self._fit(np.concatenate((self.path, _middle(ground))))
        self.base = self._draw_ground(ground)

    def draw(self, number: int) -> np.ndarray:
        """[side, side, 3] uint8 at a frame."""
        image = Image.fromarray(self.base)
        draw = ImageDraw.Draw(image)
        movers = self.movers.movers(number, _SETTINGS)["xyz"][::7, [0, 2]]
        for x, y in self.pixels(movers).tolist():
            draw.rectangle((x - 1, y - 1, x + 1, y + 1), fill=_colour(MOVING))
        track = self._points(self.path[: number + 1])
        for i in range(len(track) - 1):
            draw.line((track[i], track[i + 1]), fill=_colour(self.colours[i]), width=2 * _SMOOTH)
        view = self._points(self._view(self.cameras[number]))
        draw.line((*view, view[0]), fill=(20, 20, 20), width=_SMOOTH)
        side = self.side // _SMOOTH
        return np.asarray(image.resize((side, side), Image.Resampling.BOX))

    def pixels(self, xz: np.ndarray) -> np.ndarray:
        """Ground positions [N, 2] -> picture coordinates [N, 2]."""
        return (xz - self.center) * [self.scale, -self.scale] + self.side / 2

    def _points(self, xz: np.ndarray) -> list[tuple[float, float]]:
        """The same as a list, as Pillow wants it."""
        return [(x, y) for x, y in self.pixels(xz).tolist()]

    def _fit(self, xz: np.ndarray) -> None:
        low, high = xz.min(0), xz.max(0)
        self.center = (low + high) / 2
        self.scale = 0.9 * self.side / max(float((high - low).max()), 1e-9)

    def _view(self, camera: Camera) -> np.ndarray:
        """[3, 2] the triangle of the camera's field of view on the ground."""
        length = 0.1 * self.side / self.scale
        half = np.tan(np.arctan(camera.width / 2 / camera.K[0, 0]))
        corners = np.array([[0, 0, 0], [-half, 0, 1], [half, 0, 1]]) * length
        return (corners @ camera.world_from_cam[:3, :3].T + camera.center)[:, [0, 2]]

    def _draw_ground(self, xz: np.ndarray) -> np.ndarray:
        """[side, side, 3] uint8: denser walls darker, on white."""
        bins = np.arange(self.side + 1)
        u, v = self.pixels(xz).T
        count, _, _ = np.histogram2d(v, u, bins=(bins, bins))
        level = np.log1p(count)
        top = np.percentile(level[level > 0], 95) if (level > 0).any() else 1.0
        grey = np.where(count > 0, 190 - 110 * np.clip(level / top, 0, 1), 255)
        return np.repeat(grey.astype(np.uint8)[..., None], 3, -1)


def _colour(rgb: np.ndarray) -> tuple[int, int, int]:
    r, g, b = rgb.tolist()
    return r, g, b


def _middle(xz: np.ndarray) -> np.ndarray:
    """Two corners of the box of the middle 80 % of the points, or nothing: far points would shrink the rest."""
    return np.percentile(xz, (10, 90), axis=0) if len(xz) else np.zeros((0, 2))


def _at_height(image: np.ndarray, height: int) -> np.ndarray:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _grid(panels: list[np.ndarray], columns: int) -> np.ndarray:
    """Panels of one height in rows; a short row is filled up with white on the right."""
    rows = [np.concatenate(panels[i : i + columns], 1) for i in range(0, len(panels), columns)]
    width = max(row.shape[1] for row in rows)
    filled = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(filled, 0)
