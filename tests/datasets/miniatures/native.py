"""Posed folders, COLMAP, nerfstudio, TUM and Bonn."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from tests.datasets.miniatures.world import World, quaternions, write_image, write_rows


def posed_folder(root: Path, world: World) -> None:
    for i in range(len(world)):
        write_image(root / f"tum_clip/rgb/{i:06d}.png", world.rgb[i])
        write_image(root / f"tum_clip/depth/{i:06d}.png", (world.depth[i] * 5000).round().astype(np.uint16))
        write_image(root / f"tum_clip/mask/{i:06d}.png", world.moving[i].astype(np.uint8) * 255)
    rows = np.column_stack(
        (np.arange(len(world)) / 10, world.world_from_cam[:, :3, 3], quaternions(world.world_from_cam))
    )
    write_rows(root / "tum_clip/poses.txt", rows, "# timestamp tx ty tz qx qy qz qw")
    K, (h, w) = world.K, world.shape
    write_rows(root / "tum_clip/intrinsics.txt", [(K[0, 0], K[1, 1], K[0, 2], K[1, 2], w, h)], "# fx fy cx cy w h")


def observations(world: World, i: int, stride: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Key points (u, v) [P, 2] of frame i on a grid, and their world points [P, 3]."""
    v, u = np.mgrid[2 : world.shape[0] : stride, 3 : world.shape[1] : stride].reshape(2, -1)
    rays = np.column_stack((u, v, np.ones(len(u)))) @ np.linalg.inv(world.K).T
    points = rays * world.depth[i, v, u][:, None]
    pose = world.world_from_cam[i]
    return np.column_stack((u, v)).astype(float), points @ pose[:3, :3].T + pose[:3, 3]


def colmap_text(root: Path, world: World) -> None:
    K, (h, w) = world.K, world.shape
    camera = f"1 PINHOLE {w} {h} {K[0, 0]} {K[1, 1]} {K[0, 2] + 0.5} {K[1, 2] + 0.5}\n"
    xyzw, t = quaternions(world.cam_from_world), world.cam_from_world[:, :3, 3]
    images, points = ["# two lines per image"], ["# id x y z r g b error track"]
    for i in range(len(world)):
        uv, xyz = observations(world, i)
        ids = [i * 1000 + k for k in range(len(uv))]
        q = (xyzw[i, 3], *xyzw[i, :3])
        images.append(" ".join(map(str, (i + 1, *q, *t[i], 1, f"{i:04d}.png"))))
        images.append(" ".join(f"{u + 0.5} {v + 0.5} {k}" for (u, v), k in zip(uv, ids)))
        points += [f"{k} {x} {y} {z} 9 9 9 0.5 {i + 1} {k % 1000}" for k, (x, y, z) in zip(ids, xyz.tolist())]
        write_image(root / f"images/{i:04d}.png", world.rgb[i])
    folder = root / "sparse/0"
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text("# cameras\n" + camera)
    (folder / "images.txt").write_text("\n".join(images) + "\n")
    (folder / "points3D.txt").write_text("\n".join(points) + "\n")


def colmap_binary(root: Path, world: World) -> None:
    K, (h, w) = world.K, world.shape
    xyzw, t = quaternions(world.cam_from_world), world.cam_from_world[:, :3, 3]
    camera = struct.pack("<iiQQ4d", 1, 1, w, h, K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5)
    images, points, count = b"", b"", 0
    for i in range(len(world)):
        uv, xyz = observations(world, i)
        images += struct.pack("<I7dI", i + 1, xyzw[i, 3], *xyzw[i, :3], *t[i], 1) + f"{i:04d}.png".encode() + b"\0"
        images += struct.pack("<Q", len(uv))
        for k, ((u, v), point) in enumerate(zip(uv, xyz)):
            images += struct.pack("<ddq", u + 0.5, v + 0.5, i * 1000 + k)
            points += struct.pack("<Q3d3Bd", i * 1000 + k, *point, 9, 9, 9, 0.5)
            points += struct.pack("<Q2i", 1, i + 1, k)
            count += 1
        write_image(root / f"images/{i:04d}.png", world.rgb[i])
    folder = root / "sparse/0"
    folder.mkdir(parents=True)
    (folder / "cameras.bin").write_bytes(struct.pack("<Q", 1) + camera)
    (folder / "images.bin").write_bytes(struct.pack("<Q", len(world)) + images)
    (folder / "points3D.bin").write_bytes(struct.pack("<Q", count) + points)


def nerfstudio(root: Path, world: World) -> None:
    K, (h, w) = world.K, world.shape
    frames = []
    for i in reversed(range(len(world))):  # the files list frames in any order
        write_image(root / f"images/frame_{i}.png", world.rgb[i])
        write_image(root / f"depth/frame_{i}.png", (world.depth[i] * 1000).round().astype(np.uint16))
        gl = world.world_from_cam[i] @ np.diag([1.0, -1, -1, 1])
        name = {"file_path": f"images/frame_{i}.png", "depth_file_path": f"depth/frame_{i}.png"}
        frames.append({**name, "transform_matrix": gl.tolist()})
    lens = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5, "w": w, "h": h}
    scene = {"camera_model": "OPENCV", **lens, "k1": 0.0, "frames": frames}
    (root / "transforms.json").write_text(json.dumps(scene))


def _tum_sequence(folder: Path, world: World) -> None:
    color, depth = ["# color images"], ["# depth maps"]
    for i in range(len(world)):
        time, later = 100 + i / 30, 100 + i / 30 + 0.004
        write_image(folder / f"rgb/{time:.6f}.png", world.rgb[i])
        write_image(folder / f"depth/{later:.6f}.png", (world.depth[i] * 5000).round().astype(np.uint16))
        color.append(f"{time:.6f} rgb/{time:.6f}.png")
        depth.append(f"{later:.6f} depth/{later:.6f}.png")
    (folder / "rgb.txt").write_text("\n".join(color) + "\n")
    (folder / "depth.txt").write_text("\n".join(depth) + "\n")
    times = 100 + np.arange(len(world)) / 30 + 0.002
    rows = np.column_stack((times, world.world_from_cam[:, :3, 3], quaternions(world.world_from_cam)))
    write_rows(folder / "groundtruth.txt", rows, "# timestamp tx ty tz qx qy qz qw")


def tum(root: Path, world: World) -> None:
    _tum_sequence(root / "rgbd_dataset_freiburg3_walking_xyz", world)


def bonn(root: Path, world: World) -> None:
    _tum_sequence(root / "rgbd_bonn_balloon2", world)
