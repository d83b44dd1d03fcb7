"""GLB that plays: the static background, each frame's movers, the camera and its path, in one animated file.

Choices
- glTF cannot animate visibility in its core, so movers appear by animating their node's scale 0 -> 1 -> 0 with STEP.
  Programs without animation show the middle frame's movers.
- The root node turns the OpenCV world (y down) into glTF's (y up); everything below keeps our coordinates.
- The file also holds a real camera that follows the path: Blender and web viewers can look through it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from openmore.errors import InputError
from openmore.export.cameras import OPENGL, timeline
from openmore.export.colours import time_colours
from openmore.export.frusta import frustum_lines
from openmore.export.gltf import LINES, POINTS, GlbWriter
from openmore.export.points import PointOptions, gather
from openmore.geometry.rotation import matrix_to_quaternion
from openmore.progress import ProgressCallback, silent
from openmore.types import Camera, Reconstruction

_TURN_TO_Y_UP = [1.0, 0.0, 0.0, 0.0]  # quaternion x y z w: half a turn about x


def write(
    recon: Reconstruction,
    path: Path,
    *,
    points: PointOptions = PointOptions(),
    cameras: bool = True,
    progress: ProgressCallback = silent,
) -> None:
    """Write the animated scene; `cameras=False` leaves frusta, path and camera out."""
    cloud = gather(recon, points, progress)
    times = timeline(recon)
    glb = GlbWriter("openmore")
    animation: dict[str, list] = {"channels": [], "samplers": []}
    children = []
    if len(cloud.static):
        children.append(_points(glb, "static", cloud.static))
    for number, movers in enumerate(cloud.movers):
        if len(movers):
            children.append(_movers(glb, animation, number, movers, times))
    if cameras:
        children += _cameras(glb, animation, recon.cameras, times)
    root = glb.add("nodes", name="world", rotation=_TURN_TO_Y_UP, children=children)
    glb.add("scenes", nodes=[root])
    if animation["channels"]:
        glb.add("animations", name="time", **animation)
    try:
        glb.save(path)
    except ValueError as error:
        raise InputError(f"{error}: lower max_points or max_mover_points") from error


def _points(glb: GlbWriter, name: str, cloud: np.ndarray, **node: object) -> int:
    return glb.add("nodes", name=name, mesh=glb.mesh(name, cloud["xyz"], cloud["rgb"], POINTS), **node)


def _movers(glb: GlbWriter, animation: dict[str, list], number: int, cloud: np.ndarray, times: np.ndarray) -> int:
    """A node that is there from its frame's time to the next frame's."""
    shown = float(number == len(times) // 2)
    node = _points(glb, f"movers_{number:06d}", cloud, scale=[shown] * 3)
    keys = [(times[number], 1.0)]
    if number:
        keys.insert(0, (times[0], 0.0))
    if number + 1 < len(times):
        keys.append((times[number + 1], 0.0))
    if len(times) > 1:
        at, scale = np.array(keys).T
        glb.animate(animation, node, "scale", at, np.repeat(scale[:, None], 3, 1), "STEP")
    return node


def _cameras(glb: GlbWriter, animation: dict[str, list], cameras: list[Camera], times: np.ndarray) -> list[int]:
    """Frusta of all frames, the path, and one camera that moves along it."""
    colours = time_colours(len(cameras))
    lines = frustum_lines(cameras)  # [S, 16, 3]
    frusta = glb.mesh("frusta", lines.reshape(-1, 3), np.repeat(colours, lines.shape[1], 0), LINES)
    nodes = [glb.add("nodes", name="frusta", mesh=frusta)]
    world_from_gl = np.stack([camera.world_from_cam @ OPENGL for camera in cameras])
    centers = world_from_gl[:, :3, 3]
    quaternions = _continuous(matrix_to_quaternion(torch.from_numpy(world_from_gl[:, :3, :3])).numpy())
    lens = glb.add("cameras", type="perspective", perspective=_perspective(cameras[0], lines))
    start = {"translation": centers[0].tolist(), "rotation": quaternions[0].tolist()}
    moving = glb.add("nodes", name="camera", camera=lens, **start)
    if len(cameras) > 1:
        steps = np.stack((centers[:-1], centers[1:]), 1).reshape(-1, 3)
        path = glb.mesh("path", steps, np.repeat(colours[1:], 2, 0), LINES)
        nodes.append(glb.add("nodes", name="path", mesh=path))
        glb.animate(animation, moving, "translation", times, centers, "LINEAR")
        glb.animate(animation, moving, "rotation", times, quaternions, "LINEAR")
    return [*nodes, moving]


def _perspective(camera: Camera, lines: np.ndarray) -> dict[str, float]:
    size = float(np.ptp(lines[0], 0).max())
    yfov = 2 * np.arctan(camera.height / 2 / camera.K[1, 1])
    return {"yfov": float(yfov), "aspectRatio": camera.width / camera.height, "znear": size / 100}


def _continuous(quaternions: np.ndarray) -> np.ndarray:
    """Flip signs so that neighbours are close: viewers interpolate the numbers, and q and -q are one rotation."""
    flips = np.sign(np.sum(quaternions[1:] * quaternions[:-1], -1))
    signs = np.concatenate(([1.0], np.cumprod(np.where(flips == 0, 1.0, flips))))
    return quaternions * signs[:, None]
