"""Dynamic Replica, PointOdyssey, Spring, Virtual KITTI 2, TartanAir, OmniWorld, Waymo, Sintel."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.datasets.miniatures.world import World, float16_bits, quaternions, write_image, write_rows

FLIP_XY = np.array([-1.0, -1.0, 1.0])


def pytorch3d(world: World, i: int) -> tuple[list, list]:
    """R and T of row-vector cameras with x left, y up."""
    E = world.cam_from_world[i]
    return (E[:3, :3].T * FLIP_XY).tolist(), (E[:3, 3] * FLIP_XY).tolist()


def ndc(world: World, isotropic: bool) -> tuple[list, list]:
    """Focal length and principal point in PyTorch3D's normalised coordinates."""
    h, w = world.shape
    half = np.array([w, h]) / 2
    rescale = np.full(2, half.min()) if isotropic else half
    K = world.K
    focal = np.array([K[0, 0], K[1, 1]]) / rescale
    return focal.tolist(), ((half - (K[:2, 2] + 0.5)) / rescale).tolist()


def dynamic_replica(root: Path, world: World) -> None:
    entries = []
    focal, pp = ndc(world, isotropic=False)
    for eye in ("left", "right"):
        for i in reversed(range(len(world))):
            folder = f"009850-3_obj_source_{eye}"
            paths = {k: f"{folder}/{k}/{i:04d}.png" for k in ("images", "depths", "masks", "instance_id_maps")}
            write_image(root / "train" / paths["images"], world.rgb[i])
            write_image(root / "train" / paths["depths"], float16_bits(world.depth[i]))
            write_image(root / "train" / paths["masks"], world.moving[i].astype(np.uint8) * 255)
            write_image(root / "train" / paths["instance_id_maps"], world.moving[i].astype(np.uint8) * 7)
            flows = {}
            for name, step in (("flow_forward", 1), ("flow_backward", -1)):
                flow = world.flow(step)[i]
                if not np.isfinite(flow).any():
                    flows |= {name: {"path": None}, f"{name}_mask": {"path": None}}
                    continue
                bits = [float16_bits(f) for f in flow]
                for kind, picture in (
                    (name, np.stack((*bits, np.zeros_like(bits[0])), -1)),
                    (f"{name}_mask", np.where(world.moving[i], 0, 255).astype(np.uint8)),
                ):
                    flows[kind] = {"path": f"{folder}/{kind}/{i:04d}.png"}
                    write_image(root / "train" / flows[kind]["path"], picture)
            R, T = pytorch3d(world, i)
            entries.append(
                {
                    **flows,
                    "sequence_name": "009850-3_obj",
                    "camera_name": eye,
                    "frame_number": i,
                    "frame_timestamp": str(i / 30),
                    "image": {"path": paths["images"], "size": list(world.shape)},
                    "depth": {"path": paths["depths"], "scale_adjustment": 1.0, "mask_path": None},
                    "mask": {"path": paths["masks"]},
                    "viewpoint": {
                        "R": R,
                        "T": T,
                        "focal_length": focal,
                        "principal_point": pp,
                        "intrinsics_format": "ndc_norm_image_bounds",
                    },
                    "instance_id_map_path": paths["instance_id_maps"],
                }
            )
    (root / "train/frame_annotations_train.jgz").write_bytes(gzip.compress(json.dumps(entries).encode()))


def point_odyssey(root: Path, world: World) -> None:
    folder = root / "train/ani10"
    rng = np.random.default_rng(0)
    for i in range(len(world)):
        write_image(folder / f"rgbs/rgb_{i:05d}.jpg", world.rgb[i])
        raw = (world.depth[i] / 1000 * 65535).round().astype(np.uint16)
        write_image(folder / f"depths/depth_{i:05d}.png", raw)
        write_image(
            folder / f"masks/mask_{i:05d}.png",
            np.where(world.moving[i][..., None], [200, 10, 0], [0, 60, 9]).astype(np.uint8),
        )
    # Tracks: points drawn in the first frame; those on the mover go along with the sphere.
    h, w = world.shape
    v, u = rng.integers(0, h, 400), rng.integers(0, w, 400)
    on = world.moving[0, v, u]
    rays = np.column_stack((u, v, np.ones(400))) @ np.linalg.inv(world.K).T * world.depth[0, v, u][:, None]
    start = rays @ world.world_from_cam[0, :3, :3].T + world.world_from_cam[0, :3, 3]
    # The sphere walks 0.25 along the renderer's x, which is the turned world's y.
    step = np.where(on[:, None], [0, 0.25, 0], 0.0)
    xyz = np.stack([start + i * step for i in range(len(world))])
    cam = np.stack([x @ E[:3, :3].T + E[:3, 3] for x, E in zip(xyz, world.cam_from_world)])
    uvw = cam @ world.K.T
    np.savez(
        folder / "anno.npz",
        intrinsics=np.tile(world.K, (len(world), 1, 1)).astype(np.float32),
        extrinsics=world.cam_from_world.astype(np.float32),
        trajs_2d=(uvw[..., :2] / uvw[..., 2:]).astype(np.float32),
        trajs_3d=xyz.astype(np.float32),
        visibs=np.ones(xyz.shape[:2], bool),
        valids=np.ones(xyz.shape[:2], bool),
    )


def spring(root: Path, world: World) -> None:
    import h5py

    folder = root / "train/0001"
    baseline = world.K[0, 0] * 0.065
    forward, backward = world.flow(1), world.flow(-1)
    for i in range(len(world)):
        write_image(folder / f"frame_left/frame_left_{i + 1:04d}.png", world.rgb[i])
        disparity = np.repeat(np.repeat(baseline / world.depth[i], 2, 0), 2, 1)
        _hdf5(h5py, folder / f"disp1_left/disp1_left_{i + 1:04d}.dsp5", "disparity", disparity.astype(np.float32))
        for name, flow in (("FW", forward[i]), ("BW", backward[i])):
            if np.isfinite(flow).any():
                # Movers differ from the ego flow; by how much does not matter here.
                moved = np.where(world.moving[i], flow + 5, flow).transpose(1, 2, 0)
                big = np.repeat(np.repeat(moved, 2, 0), 2, 1).astype(np.float32)
                _hdf5(h5py, folder / f"flow_{name}_left/flow_{name}_left_{i + 1:04d}.flo5", "flow", big)
    K = world.K
    write_rows(folder / "cam_data/intrinsics.txt", [(K[0, 0], K[1, 1], K[0, 2], K[1, 2])] * len(world))
    write_rows(folder / "cam_data/extrinsics.txt", world.cam_from_world.reshape(-1, 16))
    write_rows(folder / "cam_data/focaldistance.txt", [(1.0,)] * len(world))


def _hdf5(h5py: object, path: Path, key: str, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:  # type: ignore[attr-defined]
        file[key] = values


def vkitti2(root: Path, world: World) -> None:
    folder = root / "Scene01/clone"
    (h, w), K = world.shape, world.K
    extrinsic, intrinsic = [], []
    boxes = ["frame cameraID trackID left right top bottom number_pixels truncation_ratio occupancy_ratio isMoving"]
    for i in range(len(world)):
        frames = folder / "frames"
        write_image(frames / f"rgb/Camera_0/rgb_{i:05d}.jpg", world.rgb[i])
        depth = (world.depth[i] * 100).round().astype(np.uint16)
        depth[0] = 65535
        write_image(frames / f"depth/Camera_0/depth_{i:05d}.png", depth)
        path = frames / f"instanceSegmentation/Camera_0/instancegt_{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        palette = Image.fromarray(world.moving[i].astype(np.uint8) * 3, mode="P")
        palette.putpalette([(17 * k) % 256 for k in range(768)])
        palette.save(path)
        flow = world.flow(1)[i]
        if np.isfinite(flow).any():
            scaled = [(f / (n - 1) + 1) / 2 * 65535 for f, n in zip(flow, (w, h))]
            rgb = np.stack((*scaled, np.full((h, w), 65535.0)), -1).round().astype(np.uint16)
            write_image(frames / f"forwardFlow/Camera_0/flow_{i:05d}.png", rgb)
        for camera in (0, 1):
            extrinsic.append((str(i), str(camera), *world.cam_from_world[i].ravel()))
            intrinsic.append((str(i), str(camera), K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
            boxes.append(f"{i} {camera} 2 0 9 0 9 50 0 0 True")
    write_rows(folder / "extrinsic.txt", extrinsic, "frame cameraID " + " ".join(f"r{k}" for k in range(16)))
    write_rows(folder / "intrinsic.txt", intrinsic, "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]")
    (folder / "bbox.txt").write_text("\n".join(boxes) + "\n")


def tartanair(root: Path, world: World) -> None:
    folder = root / "office/office/Easy/P000"  # doubled, as some archives unpack
    ned_from_cv = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
    poses = world.world_from_cam.copy()
    poses[:, :3, :3] = poses[:, :3, :3] @ ned_from_cv.T
    for i in range(len(world)):
        write_image(folder / f"image_left/{i:06d}_left.png", world.rgb[i])
        depth = world.depth[i].astype(np.float32)
        depth[:3] = 10000
        (folder / "depth_left").mkdir(exist_ok=True)
        np.save(folder / f"depth_left/{i:06d}_left_depth.npy", depth)
    write_rows(folder / "pose_left.txt", np.column_stack((poses[:, :3, 3], quaternions(poses))))


def omniworld(root: Path, world: World) -> None:
    folder = root / "b04f88d1f85a"
    count = len(world)
    for i in range(count + 2):  # two more frames whose cameras are useless
        k = min(i, count - 1)
        write_image(folder / f"color/{i:06d}.png", world.rgb[k])
        write_image(folder / f"gdino_mask/{i:06d}.png", world.moving[k].astype(np.uint8) * 255)
        if i != count + 1:
            z = world.depth[k]
            d = 4 * z / (1 + 0.004 * 999 * z)  # inverse of z = d / (1000 - 999 d) / 0.004
            write_image(folder / f"depth/{i:06d}.png", (d * 65535).round().astype(np.uint16))
    xyzw = quaternions(world.cam_from_world)
    quats = [*np.column_stack((xyzw[:, 3], xyzw[:, :3])).tolist(), [0.5, 0, 0, 0], [1.0, 0, 0, 0]]
    trans = [*world.cam_from_world[:, :3, 3].tolist(), [0, 0, 0], [0, 0, 0]]
    K = world.K
    corner = {"cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5}  # their tool counts from the corner of the first pixel
    camera = {"focals": [K[0, 0]] * (count + 2), **corner, "quats": quats, "trans": trans}
    (folder / "camera").mkdir()
    (folder / "camera/split_0.json").write_text(json.dumps({**camera, "invalid_frame": []}))
    (folder / "split_info.json").write_text(json.dumps({"split_num": 1, "split": [list(range(count + 2))]}))


def sintel(root: Path, world: World) -> None:
    top = root / "training"
    forward = world.flow(1)
    tag = struct.pack("<f", 202021.25)
    h, w = world.shape
    for i in range(len(world)):
        name = f"alley_2/frame_{i + 1:04d}"
        for render in ("final", "clean"):
            write_image(top / f"{render}/{name}.png", world.rgb[i])
        files = {
            f"depth/{name}.dpt": tag + struct.pack("<ii", w, h) + world.depth[i].astype("<f4").tobytes(),
            f"camdata_left/{name}.cam": tag
            + world.K.astype("<f8").tobytes()
            + world.cam_from_world[i, :3].astype("<f8").tobytes(),
        }
        if np.isfinite(forward[i]).any():
            flow = np.where(world.moving[i], forward[i] + 5, forward[i]).transpose(1, 2, 0)
            files[f"flow/{name}.flo"] = tag + struct.pack("<ii", w, h) + flow.astype("<f4").tobytes()
        for path, data in files.items():
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).write_bytes(data)


# --- Waymo: a protobuf writer as small as the reader's counterpart ---


def varint(value: int) -> bytes:
    out = b""
    value &= (1 << 64) - 1
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: object) -> bytes:
    """One protobuf field: int -> varint, float -> double, bytes -> length-delimited."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    return varint(number << 3) + varint(int(value))  # type: ignore[call-overload]


def transform(matrix: np.ndarray) -> bytes:
    return b"".join(field(1, float(x)) for x in matrix.ravel())


def packed_matrix(values: np.ndarray, integer: bool) -> bytes:
    data = b"".join(varint(int(x)) for x in values.ravel()) if integer else values.astype("<f4").tobytes()
    shape = b"".join(field(1, int(n)) for n in values.shape)
    return zlib.compress(field(1, data) + field(2, shape))


def waymo(root: Path, world: World) -> None:
    """One segment, one camera mounted forward, one front laser (no per-cell poses) that hits the exact surfaces."""
    import cv2

    flu_from_cv = np.array([[0, 0, 1.0, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    vehicle_from_cam = np.eye(4)
    vehicle_from_cam[:3, 3] = [1.5, 0.0, 2.0]  # in the camera's own x-forward axes
    K, (h, w) = world.K, world.shape
    intrinsic = (K[0, 0], K[1, 1], K[0, 2], K[1, 2], 0, 0, 0, 0, 0)
    lens = field(1, 1) + b"".join(field(2, float(x)) for x in intrinsic) + field(3, transform(vehicle_from_cam))
    vehicle_from_laser = vehicle_from_cam  # at the camera's centre: every ray is a pixel
    rows, columns = 80, 400
    low, high = -0.7, 0.7
    laser = field(1, 2) + field(3, low) + field(4, high) + field(5, transform(vehicle_from_laser))
    context = field(1, b"segment") + field(2, lens) + field(3, laser)
    inclination = (low + (np.arange(rows) + 0.5) / rows * (high - low))[::-1, None]
    azimuth = ((np.arange(columns, 0, -1) - 0.5) / columns * 2 - 1) * np.pi
    rays = np.stack(
        (
            np.cos(inclination) * np.cos(azimuth),
            np.cos(inclination) * np.sin(azimuth),
            np.sin(inclination) + 0 * azimuth,
        ),
        -1,
    )
    rays_cv = rays @ flu_from_cv[:3, :3]
    ahead = rays_cv[..., 2] > 0.2
    uv = (
        np.where(ahead[..., None], (rays_cv / np.where(ahead, rays_cv[..., 2], 1)[..., None]) @ K.T, -1)[..., :2]
        .round()
        .astype(int)
    )
    hit = ahead & (uv >= 0).all(-1) & (uv[..., 0] < w) & (uv[..., 1] < h)
    out = b""
    for i in range(len(world)):
        world_from_vehicle = world.world_from_cam[i] @ np.linalg.inv(vehicle_from_cam @ flu_from_cv)
        ranges = np.zeros((rows, columns, 4), np.float32)
        z = world.depth[i, uv[hit][:, 1], uv[hit][:, 0]]
        ranges[hit, 0] = z / rays_cv[hit][:, 2]
        projections = np.zeros((rows, columns, 6), int)
        projections[hit, :3] = np.column_stack((np.ones(hit.sum()), uv[hit]))
        returned = field(2, packed_matrix(ranges, False)) + field(3, packed_matrix(projections, True))
        _, jpeg = cv2.imencode(".jpg", world.rgb[i][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
        image = (
            field(1, 1) + field(2, jpeg.tobytes()) + field(3, transform(world_from_vehicle)) + field(5, 100 + i / 10)
        )
        frame = field(1, context) + field(2, int(1e8 + i * 1e5)) + field(3, transform(world_from_vehicle))
        frame += field(4, image) + field(5, field(1, 2) + field(2, returned))
        frame += field(6, moving_box(world, i, np.linalg.inv(world_from_vehicle)))
        out += struct.pack("<QI", len(frame), 0) + frame + struct.pack("<I", 0)
    (root / "segment-1.tfrecord").write_bytes(out)


def moving_box(world: World, i: int, vehicle_from_world: np.ndarray) -> bytes:
    """A label around the moving pixels' surface, walking at 2 m/s."""
    v, u = np.nonzero(world.moving[i])
    rays = np.column_stack((u, v, np.ones(len(u)))) @ np.linalg.inv(world.K).T * world.depth[i, v, u][:, None]
    to_vehicle = vehicle_from_world @ world.world_from_cam[i]
    points = rays @ to_vehicle[:3, :3].T + to_vehicle[:3, 3]
    center, size = (points.max(0) + points.min(0)) / 2, points.max(0) - points.min(0)
    box = b"".join(field(k, float(x)) for k, x in zip((1, 2, 3, 5, 4, 6, 7), (*center, *size, 0.0)))
    return field(1, box) + field(2, field(1, 2.0) + field(2, 0.0)) + field(3, 1)
