"""A small `Reconstruction` with known geometry: a checkered back wall, a box, and one red sphere that moves.

Choices
- Everything is ray cast in float64, so a test may ask for a tenth of a pixel.
- The first camera is the world; later cameras slide to the right, rise and turn a little.
- Pixels follow docs/conventions.md: the ray of model pixel (u, v) goes through K_model^-1 (u, v, 1).
- Confidence is 5, except for the leftmost tenth of the columns, where it is 1.1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmore.types import Camera, FramePrediction, Reconstruction, SceneInfo

WALL_Z = 4.0
BOX_LOW, BOX_HIGH = np.array([-1.4, 0.1, 2.6]), np.array([-0.7, 0.8, 3.1])
SPHERE_RADIUS = 0.35
SURE, UNSURE = 5.0, 1.1


def sphere_center(i: int) -> np.ndarray:
    """[3] world position of the sphere's centre in frame i."""
    return np.array([-0.4 + 0.25 * i, -0.3, 2.2])


def camera(i: int, original: tuple[int, int]) -> Camera:
    """The exact camera of frame i for source frames of `original` = (height, width)."""
    height, width = original
    yaw = 0.02 * i
    world_from_cam = np.eye(4)
    world_from_cam[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    world_from_cam[:3, 3] = [0.06 * i, -0.02 * i, 0.01 * i]
    K = np.array([[0.9 * width, 0, width / 2], [0, 0.9 * width, height / 2], [0, 0, 1.0]])
    return Camera(world_from_cam, K, width, height)


def _hit_box(origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (BOX_LOW - origin) / rays, (BOX_HIGH - origin) / rays
    near, far = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
    return np.where((near < far) & (near > 0), near, np.inf)


def _hit_sphere(origin: np.ndarray, rays: np.ndarray, center: np.ndarray) -> np.ndarray:
    offset = origin - center
    a, b, c = (rays * rays).sum(-1), (rays @ offset), offset @ offset - SPHERE_RADIUS**2
    root = b * b - a * c
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def render(camera: Camera, K: np.ndarray, shape: tuple[int, int], i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ray cast frame i: rgb [h, w, 3] uint8, depth [h, w] float64 (z), motion [h, w] bool."""
    v, u = np.mgrid[: shape[0], : shape[1]].astype(float)
    rays_cam = np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(K).T
    rays, origin = rays_cam @ camera.world_from_cam[:3, :3].T, camera.center
    # Rays have z = 1 in camera axes, so the distance along a ray is the depth.
    hits = np.stack(
        ((WALL_Z - origin[2]) / rays[..., 2], _hit_box(origin, rays), _hit_sphere(origin, rays, sphere_center(i)))
    )
    which, depth = hits.argmin(0), hits.min(0)
    points = origin + rays * depth[..., None]
    checker = (np.floor(points[..., 0] * 2) + np.floor(points[..., 1] * 2)) % 2
    wall = np.stack((90 + 90 * checker, 110 + 80 * checker, 200 - 60 * checker), -1)
    box = np.broadcast_to([60.0, 170.0, 80.0], wall.shape)
    red = np.broadcast_to([230.0, 30.0, 30.0], wall.shape)
    rgb = np.choose(which[..., None], [wall, box, red]).astype(np.uint8)
    return rgb, depth, which == 2


def make_frame(i: int, shape: tuple[int, int], original: tuple[int, int]) -> FramePrediction:
    cam = camera(i, original)
    rgb, depth, moving = render(cam, cam.K_at(shape), shape, i)
    confidence = np.full(shape, SURE, np.float32)
    confidence[:, : shape[1] // 10] = UNSURE
    return FramePrediction(i, i / 10, cam, depth.astype(np.float32), confidence, moving.astype(np.float32), rgb)


def make_scene(
    frames: int = 4, shape: tuple[int, int] = (48, 64), original: tuple[int, int] = (96, 128), source: str = "none"
) -> Reconstruction:
    """The scene in memory: dense arrays of `shape`, cameras for source frames of `original` (height, width)."""
    info = SceneInfo(source, {"name": "exact"}, "full", shape, original)
    return Reconstruction([make_frame(i, shape, original) for i in range(frames)], info)


def write_source(recon: Reconstruction, folder: Path) -> Path:
    """Render the source frames at original resolution into `folder` as PNG; returns the folder.

    A model pixel is the mean of a block of source pixels, so its ray leaves the middle of the block: the source is
    rendered with the principal point that makes this exact (see docs/exports.md, pixel centres).
    """
    from PIL import Image

    folder.mkdir(parents=True)
    (h, w), (height, width) = recon.info.model_shape, recon.info.original_shape
    for i, cam in enumerate(recon.cameras):
        K = cam.K.copy()
        K[:2, 2] += [(width / w - 1) / 2, (height / h - 1) / 2]
        Image.fromarray(render(cam, K, (height, width), i)[0]).save(folder / f"{i:06d}.png")
    return folder


def distance_to_static(points: np.ndarray) -> np.ndarray:
    """[N] distance of world points [N, 3] to the nearest of wall and box surface."""
    wall = np.abs(points[:, 2] - WALL_Z)
    outside = np.maximum(np.maximum(BOX_LOW - points, points - BOX_HIGH), 0)
    inside = np.minimum(points - BOX_LOW, BOX_HIGH - points).min(-1)
    box = np.where(inside > 0, inside, np.linalg.norm(outside, axis=-1))
    return np.minimum(wall, box)
