"""Co3Dv2 (data and benchmark), ScanNet (exported and .sens), BlendedMVS, Hypersim, ARKitScenes, KITTI, DAVIS."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from tests.datasets.miniatures.dynamic import ndc, pytorch3d
from tests.datasets.miniatures.world import World, float16_bits, write_image, write_rows


def _jgz(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(value).encode()))


def co3d(root: Path, world: World) -> None:
    focal, pp = ndc(world, isotropic=True)
    entries = []
    for i in range(len(world)):
        base = "apple/110_13051_23361"
        paths = {
            "image": f"{base}/images/frame{i + 1:06d}.jpg",
            "depth": f"{base}/depths/frame{i + 1:06d}.jpg.geometric.png",
            "depth_mask": f"{base}/depth_masks/frame{i + 1:06d}.png",
            "mask": f"{base}/masks/frame{i + 1:06d}.png",
        }
        write_image(root / paths["image"], world.rgb[i])
        write_image(root / paths["depth"], float16_bits(world.depth[i] / 2))
        sure = np.full(world.shape, 255, np.uint8)
        sure[:5] = 0
        write_image(root / paths["depth_mask"], sure)
        write_image(root / paths["mask"], world.moving[i].astype(np.uint8) * 255)
        R, T = pytorch3d(world, i)
        entries.append(
            {
                "sequence_name": "110_13051_23361",
                "frame_number": i,
                "frame_timestamp": i / 30,
                "image": {"path": paths["image"], "size": list(world.shape)},
                "depth": {"path": paths["depth"], "scale_adjustment": 2.0, "mask_path": paths["depth_mask"]},
                "mask": {"path": paths["mask"], "mass": 1.0},
                "viewpoint": {
                    "R": R,
                    "T": T,
                    "focal_length": focal,
                    "principal_point": pp,
                    "intrinsics_format": "ndc_norm_image_bounds",
                },
            }
        )
    _jgz(root / "apple/frame_annotations.jgz", entries)
    sequence = {"sequence_name": "110_13051_23361", "category": "apple", "viewpoint_quality_score": 1.2}
    _jgz(root / "apple/sequence_annotations.jgz", [sequence, {"sequence_name": "bad", "viewpoint_quality_score": 0.1}])


def co3d_benchmark(root: Path, world: World) -> None:
    entries = []
    focal, pp = ndc(world, isotropic=True)
    for i in range(len(world)):
        path = f"apple/110_13051_23361/images/frame{i + 1:06d}.jpg"
        write_image(root / path, world.rgb[i])
        R, T = pytorch3d(world, i)
        entries.append({"filepath": path, "R": R, "T": T, "focal_length": focal, "principal_point": pp})
    _jgz(root / "apple_test.jgz", {"110_13051_23361": entries})


def scannet(root: Path, world: World) -> None:
    folder = root / "scans/scene0707_00"
    count = len(world)
    lost = np.full((4, 4), -np.inf)
    for i in range(count + 1):
        k = min(i, count - 1)
        # Colour is twice the size of depth, as in the real scans (about).
        color = np.repeat(np.repeat(world.rgb[k], 2, 0), 2, 1)
        write_image(folder / f"color/{i}.jpg", color)
        write_image(folder / f"depth/{i}.png", (world.depth[k] * 1000).round().astype(np.uint16))
        write_rows(folder / f"pose/{i}.txt", world.world_from_cam[k] if i < count else lost)
    K = np.eye(4)
    K[:3, :3] = world.K
    write_rows(folder / "intrinsic/intrinsic_depth.txt", K)
    color = np.diag([2.0, 2, 1, 1]) @ K  # corner of a doubled pixel: its middle lies half a pixel further
    color[:2, 2] += 0.5
    write_rows(folder / "intrinsic/intrinsic_color.txt", color)


def scannet_sens(root: Path, world: World) -> None:
    import cv2

    (h, w), K = world.shape, np.eye(4)
    K[:3, :3] = world.K
    name = b"StructureSensor"
    data = struct.pack("<IQ", 4, len(name)) + name
    for matrix in (K, np.eye(4), K, np.eye(4)):
        data += matrix.astype("<f4").tobytes()
    data += struct.pack("<iiIIIIfQ", 2, 1, w, h, w, h, 1000.0, len(world))
    for i in range(len(world)):
        _, jpeg = cv2.imencode(".jpg", world.rgb[i][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
        depth = zlib.compress((world.depth[i] * 1000).round().astype("<u2").tobytes())
        data += world.world_from_cam[i].astype("<f4").tobytes()
        data += struct.pack("<QQQQ", i, i, len(jpeg), len(depth)) + jpeg.tobytes() + depth
    data += struct.pack("<Q", 0)  # no IMU frames
    (root / "scene0708_00").mkdir(parents=True)
    (root / "scene0708_00/scene0708_00.sens").write_bytes(data)


def blendedmvs(root: Path, world: World) -> None:
    folder = root / "5a3ca9cb270f0e3f14d0eddb"
    for i in range(len(world)):
        write_image(folder / f"blended_images/{i:08d}.jpg", world.rgb[i])
        write_image(folder / f"blended_images/{i:08d}_masked.jpg", world.rgb[i] // 2)
        E = "\n".join(" ".join(map(repr, row)) for row in world.cam_from_world[i].tolist())
        K = "\n".join(" ".join(map(repr, row)) for row in world.K.tolist())
        path = folder / f"cams/{i:08d}_cam.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"extrinsic\n{E}\n\nintrinsic\n{K}\n\n0.5 0.1 128 10.0\n")
        (folder / "rendered_depth_maps").mkdir(exist_ok=True)
        h, w = world.shape
        header = f"Pf\n{w} {h}\n-1.000000\n".encode()
        data = np.ascontiguousarray(world.depth[i][::-1]).astype("<f4").tobytes()
        (folder / f"rendered_depth_maps/{i:08d}.pfm").write_bytes(header + data)
    pairs = [f"{len(world)}"]
    for i in range(len(world)):
        others = [j for j in range(len(world)) if j != i]
        pairs += [str(i), f"{len(others)} " + " ".join(f"{j} 10.5" for j in others)]
    (folder / "cams/pair.txt").write_text("\n".join(pairs) + "\n")


def hypersim(root: Path, world: World) -> None:
    import h5py

    scene = root / "ai_001_001"
    final, geometry = scene / "images/scene_cam_00_final_hdf5", scene / "images/scene_cam_00_geometry_hdf5"
    detail = scene / "_detail/cam_00"
    for folder in (final, geometry, detail):
        folder.mkdir(parents=True)
    h, w = world.shape
    v, u = np.mgrid[:h, :w]
    rays = np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(world.K).T
    length = np.linalg.norm(rays, axis=-1)

    def save(path: Path, values: np.ndarray) -> None:
        with h5py.File(path, "w") as file:
            file["dataset"] = values

    ids = [0, *range(2, len(world) + 1)]  # frame 1 was withdrawn
    for i, number in enumerate(ids):
        save(final / f"frame.{number:04d}.color.hdf5", ((world.rgb[i] / 255.0) ** 2.2).astype(np.float16))
        save(geometry / f"frame.{number:04d}.depth_meters.hdf5", (world.depth[i] * length).astype(np.float16))
        save(geometry / f"frame.{number:04d}.render_entity_id.hdf5", np.ones((h, w), np.int16))
    metres = 0.0254
    poses = np.tile(np.eye(4), (len(world) + 1, 1, 1))
    poses[ids] = world.world_from_cam @ np.diag([1.0, -1, -1, 1])
    save(detail / "camera_keyframe_positions.hdf5", poses[:, :3, 3] / metres)
    save(detail / "camera_keyframe_orientations.hdf5", poses[:, :3, :3])
    (scene / "_detail/metadata_scene.csv").write_text(
        f"parameter_name,parameter_value\nmeters_per_asset_unit,{metres}\n"
    )
    K = world.K
    M = np.zeros((4, 4))
    M[0, 0], M[1, 1] = 2 * K[0, 0] / w, 2 * K[1, 1] / h
    M[0, 2], M[1, 2] = 1 - 2 * (K[0, 2] + 0.5) / w, 2 * (K[1, 2] + 0.5) / h - 1
    names = [f"M_proj_{r}{c}" for r in range(4) for c in range(4)]
    header = ",".join(["scene_name", "settings_output_img_width", "settings_output_img_height", *names])
    sheared = M.copy()
    sheared[0, 1] = 0.1
    rows = [",".join(map(str, (name, w, h, *m.ravel()))) for name, m in (("ai_001_001", M), ("ai_001_002", sheared))]
    (root / "metadata_camera_parameters.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "ai_001_002/images/scene_cam_00_final_hdf5").mkdir(parents=True)


def arkitscenes(root: Path, world: World) -> None:
    """Held on its side: the stored pictures are the world turned by a quarter, with the sky to the left."""
    folder = root / "raw/Training/40753679"
    # Clockwise-turned sky direction "Left": the reader turns pictures clockwise, so stored = world turned back.
    stored_K = world.K.copy()
    h, w = world.shape
    fx, fy, cx, cy = world.K[0, 0], world.K[1, 1], world.K[0, 2], world.K[1, 2]
    # stored[i, j] = world[j, w - 1 - i]: u' = v, v' = w - 1 - u.
    stored_K[0, 0], stored_K[1, 1], stored_K[0, 2], stored_K[1, 2] = fy, fx, cy, w - 1 - cx
    stored_from_cam = np.array([[0, 1.0, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    rows = []
    for i in range(len(world)):
        time = 5000 + i / 10
        stem = f"40753679_{time:.3f}"
        write_image(folder / f"vga_wide/{stem}.png", np.rot90(world.rgb[i]))
        depth = np.rot90((world.depth[i] * 1000).round().astype(np.uint16))
        write_image(folder / f"lowres_depth/{stem}.png", np.ascontiguousarray(depth))
        sure = np.full(depth.shape, 2, np.uint8)
        sure[:, :4] = 1
        write_image(folder / f"confidence/{stem}.png", sure)
        lens = (w_h := (h, w))[0], w_h[1], stored_K[0, 0], stored_K[1, 1], stored_K[0, 2], stored_K[1, 2]
        write_rows(folder / f"vga_wide_intrinsics/40753679_{time + 0.001:.3f}.pincam", [lens])
        E = stored_from_cam @ world.cam_from_world[i]
        rows.append((time, *Rotation.from_matrix(E[:3, :3]).as_rotvec(), *E[:3, 3]))
    write_rows(folder / "lowres_wide.traj", rows)
    (root / "raw/metadata.csv").write_text("video_id,visit_id,fold,sky_direction\n40753679,1,Training,Left\n")


def kitti_depth(root: Path, world: World) -> None:
    drive = "2011_09_26_drive_0002_sync"
    for i in range(len(world)):
        depth = (world.depth[i] * 256).round().astype(np.uint16)
        depth[::2] = 0
        write_image(root / f"val/{drive}/proj_depth/groundtruth/image_02/{i + 5:010d}.png", depth)
        write_image(root / f"2011_09_26/{drive}/image_02/data/{i + 5:010d}.png", world.rgb[i])
    P = np.column_stack((world.K, [4.5, 0, 0]))
    lines = "calib_time: 09-Jan-2012\nP_rect_02: " + " ".join(map(repr, P.ravel().tolist())) + "\n"
    (root / "2011_09_26/calib_cam_to_cam.txt").write_text(lines)


def kitti_odometry(root: Path, world: World) -> None:
    """Camera 2 sits 6 cm to the left of camera 0."""
    for i in range(len(world)):
        write_image(root / f"sequences/03/image_2/{i:06d}.png", world.rgb[i])
    offset = np.array([0.06, 0, 0])
    P2 = np.column_stack((world.K, world.K @ offset))
    P0 = np.column_stack((world.K, np.zeros(3)))
    lines = [f"{key}: " + " ".join(map(repr, P.ravel().tolist())) for key, P in (("P0", P0), ("P2", P2))]
    (root / "sequences/03/calib.txt").write_text("\n".join(lines) + "\n")
    write_rows(root / "sequences/03/times.txt", [(i / 10,) for i in range(len(world))])
    cam2_from_cam0 = np.eye(4)
    cam2_from_cam0[:3, 3] = offset
    write_rows(root / "poses/03.txt", (world.world_from_cam @ cam2_from_cam0)[:, :3].reshape(-1, 12))


def davis(root: Path, world: World) -> None:
    top = root / "DAVIS"
    for i in range(len(world)):
        write_image(top / f"JPEGImages/480p/bmx-trees/{i:05d}.jpg", world.rgb[i])
        path = top / f"Annotations/480p/bmx-trees/{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = Image.fromarray(world.moving[i].astype(np.uint8) * 2, mode="P")
        ids.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        ids.save(path)
    for year, line in (
        ("2016", "/JPEGImages/480p/bmx-trees/00000.jpg /Annotations/480p/bmx-trees/00000.png"),
        ("2017", "bmx-trees"),
    ):
        (top / f"ImageSets/{year}").mkdir(parents=True)
        (top / f"ImageSets/{year}/val.txt").write_text(line + "\n")
