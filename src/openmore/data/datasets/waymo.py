"""Waymo Open (perception v1 .tfrecord files), read without TensorFlow. A sequence is `<segment>/FRONT`.

Choices
- Camera poses are the vehicle's at the camera's own trigger time; axes x forward, y left, z up become OpenCV's. The
  shared rolling shutter is not modelled.
- Depth: LiDAR points (first returns, all lasers) at the pixels the files project them to, nearest point wins; z in the
  camera. Pictures, depth and labels are undistorted (others leave the distortion in).
- Motion: boxes faster than 0.5 m/s fill their outline with 1, the rest is 0. Traffic moves: never all static.
- Field numbers are those of the public dataset.proto (Apache-2.0).
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from openmore.data.datasets import axes
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.data.datasets.lens import undistort
from openmore.data.datasets.protobuf import Message, packed_varints, records
from openmore.errors import DataError

CAMERAS = {"FRONT": 1, "FRONT_LEFT": 2, "FRONT_RIGHT": 3, "SIDE_LEFT": 4, "SIDE_RIGHT": 5}
TOP_LASER = 1
MOVING_M_S = 0.5
# Field numbers of Frame, Context and their parts.
CONTEXT, TIMESTAMP, FRAME_POSE, IMAGES, LASERS, LABELS = 1, 2, 3, 4, 5, 6
CAMERA_CALIBRATIONS, LASER_CALIBRATIONS = 2, 3


class Waymo(FrameDataset):
    """A folder of segment-*.tfrecord files."""

    name = "waymo"
    is_metric = True
    knows = ("cameras", "intrinsics", "depth", "motion")
    recalled: ClassVar[dict[str, str]] = {
        "field numbers of dataset.proto": "cameras are not finite, depth covers nothing, or boxes miss the cars",
    }

    def __init__(self, root: str | Path, *, cameras: tuple[str, ...] = ("FRONT",), threads: int = 1):
        super().__init__(root, threads=threads)
        unknown = set(cameras) - set(CAMERAS)
        if unknown:
            raise DataError(f"Waymo has no camera {sorted(unknown)[0]}: choose some of {', '.join(CAMERAS)}")
        self.cameras = cameras

    def names(self) -> list[str]:
        found = [f"{p.stem}/{camera}" for p in sorted(self.root.glob("*.tfrecord")) for camera in self.cameras]
        if not found:
            raise DataError(f"{self.root} has no .tfrecord files: give the folder of perception v1 segments")
        return found

    def read_index(self, sequence: str) -> Index:
        path, camera = self._split(sequence)
        times, poses, K = [], [], []
        for record in frames_of(path):
            frame = Message(record)
            lens = _named(frame.message(CONTEXT).messages(CAMERA_CALIBRATIONS), camera, path)
            image = _named(frame.messages(IMAGES), camera, path)
            vehicle_from_cam = _transform(lens.message(3))
            poses.append(axes.from_vehicle(_transform(image.message(3)) @ vehicle_from_cam))
            times.append(image.double(5) or frame.integer(TIMESTAMP) * 1e-6)
            K.append(axes.intrinsics(*lens.doubles(2)[:4]))
        cameras = np.stack(poses)
        index = Index(list(range(len(times))), np.array(times), cameras, np.stack(K), [path] * len(times))
        return index.without(invalid_cameras(cameras), "invalid camera")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        import cv2

        path, camera = self._split(sequence)
        frame = Message(frames_of(path)[index.ids[i]])
        picture = cv2.imdecode(np.frombuffer(_named(frame.messages(IMAGES), camera, path).raw(2), np.uint8), 1)
        if picture is None:
            raise DataError(f"{path}, frame {index.ids[i]}: the picture cannot be decoded: download it again")
        lens = _named(frame.message(CONTEXT).messages(CAMERA_CALIBRATIONS), camera, path)
        vehicle_from_cv = axes.from_vehicle(_transform(lens.message(3)))
        shape = (picture.shape[0], picture.shape[1])
        distortion = tuple(lens.doubles(2)[4:9].tolist())
        depth = lidar_depth(frame, camera, axes.invert(vehicle_from_cv), shape)
        image = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        straight = undistort(Pixels(image, depth), index.K[i], distortion)
        # Boxes are projected with the pinhole, so they belong to the undistorted picture.
        return replace(straight, motion=moving_boxes(frame, axes.invert(vehicle_from_cv), index.K[i], shape))

    def _split(self, sequence: str) -> tuple[Path, int]:
        segment, _, camera = sequence.rpartition("/")
        return self.root / f"{segment}.tfrecord", CAMERAS[camera]


@lru_cache(maxsize=4)
def frames_of(path: Path) -> list[memoryview]:
    """Views of the segment's frames; the pages are read when they are used."""
    if not path.is_file():
        raise DataError(f"{path} is missing: the download is incomplete or the root is another one")
    found = list(records(path))
    if not found:
        raise DataError(f"{path} holds no frame: download it again")
    return found


def lidar_depth(frame: Message, camera: int, cam_from_vehicle: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Sparse z [H, W] float32 of one camera (with its lens distortion); 0 where no ray fell."""
    depth = np.full(shape, np.inf, np.float32)
    calibrations = {c.integer(1): c for c in frame.message(CONTEXT).messages(LASER_CALIBRATIONS)}
    for laser in frame.messages(LASERS):
        returned = laser.message(2)
        ranges = _matrix(returned.raw(2), "<f4")[..., 0]
        points = range_points(ranges, calibrations[laser.integer(1)], returned, frame, laser.integer(1))
        pixels = _matrix(returned.raw(3), "varint")
        for first in (0, 3):  # a point may be seen by two cameras
            seen = (pixels[..., first] == camera) & (ranges > 0)
            u, v = pixels[seen][:, first + 1], pixels[seen][:, first + 2]
            z = (points[seen] @ cam_from_vehicle[2, :3] + cam_from_vehicle[2, 3]).astype(np.float32)
            inside = (u >= 0) & (v >= 0) & (u < shape[1]) & (v < shape[0]) & (z > 0)
            np.minimum.at(depth, (v[inside], u[inside]), z[inside])
    return np.where(np.isfinite(depth), depth, 0)


def range_points(ranges: np.ndarray, calibration: Message, returned: Message, frame: Message, laser: int) -> np.ndarray:
    """Range image [H, W] -> points [H, W, 3] in the vehicle frame of this Frame."""
    height, width = ranges.shape
    vehicle_from_laser = _transform(calibration.message(5))
    inclination = calibration.doubles(2)
    if not len(inclination):
        low, high = calibration.double(3), calibration.double(4)
        inclination = low + (np.arange(height) + 0.5) / height * (high - low)
    inclination = inclination[::-1, None]  # the first row looks up
    turn = np.arctan2(vehicle_from_laser[1, 0], vehicle_from_laser[0, 0])
    azimuth = ((np.arange(width, 0, -1) - 0.5) / width * 2 - 1) * np.pi - turn
    x, y = np.cos(inclination) * np.cos(azimuth), np.cos(inclination) * np.sin(azimuth)
    rays = np.stack((x, y, np.broadcast_to(np.sin(inclination), x.shape)), -1)
    points = (rays * ranges[..., None]) @ vehicle_from_laser[:3, :3].T + vehicle_from_laser[:3, 3]
    if laser != TOP_LASER or not returned.raw(4):
        return points
    # The top laser turns while the car drives: every cell has its own vehicle pose.
    pose = _matrix(returned.raw(4), "<f4").astype(np.float64)
    world = (euler(pose[..., :3]) @ points[..., None])[..., 0] + pose[..., 3:]
    vehicle_from_world = axes.invert(_transform(frame.message(FRAME_POSE)))
    return world @ vehicle_from_world[:3, :3].T + vehicle_from_world[:3, 3]


def moving_boxes(frame: Message, cam_from_vehicle: np.ndarray, K: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Labels [H, W]: 1 inside the outline of boxes faster than 0.5 m/s, else 0."""
    import cv2

    motion = np.zeros(shape, np.uint8)
    for label in frame.messages(LABELS):
        speed = label.message(2)
        if np.hypot(speed.double(1), speed.double(2)) <= MOVING_M_S:
            continue
        corners = box_corners(label.message(1)) @ cam_from_vehicle[:3, :3].T + cam_from_vehicle[:3, 3]
        seen = in_front(corners)
        if not len(seen):
            continue
        uv = seen[:, :2] / seen[:, 2:] * (K[0, 0], K[1, 1]) + K[:2, 2]
        outline = cv2.convexHull(np.round(uv.clip(-1e4, 1e4)).astype(np.int32))
        cv2.fillConvexPoly(motion, outline, 1)
    return motion


def box_corners(box: Message) -> np.ndarray:
    """[8, 3] in the vehicle frame."""
    center = np.array([box.double(1), box.double(2), box.double(3)])
    size = np.array([box.double(5), box.double(4), box.double(6)])
    signs = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, -1).T
    c, s = np.cos(box.double(7)), np.sin(box.double(7))
    return (signs * size) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]]) + center


def in_front(corners: np.ndarray, near: float = 0.1) -> np.ndarray:
    """What of a box [8, 3] lies beyond `near` metres: its corners there, and where its lines cross the plane.

    A car that overtakes is partly behind the camera; the part that is seen must not count as static.
    """
    z = corners[:, 2]
    a, b = np.triu_indices(len(corners), 1)
    crossing = (z[a] < near) != (z[b] < near)
    a, b = a[crossing], b[crossing]
    share = ((near - z[a]) / (z[b] - z[a]))[:, None]
    return np.concatenate((corners[z >= near], corners[a] + share * (corners[b] - corners[a])))


def euler(angles: np.ndarray) -> np.ndarray:
    """Roll, pitch, yaw [..., 3] (rotations about z, then y, then x) -> [..., 3, 3]."""
    (sr, sp, sy), (cr, cp, cy) = np.moveaxis(np.sin(angles), -1, 0), np.moveaxis(np.cos(angles), -1, 0)
    rows = (
        cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr,
        sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr,
        -sp, cp * sr, cp * cr,
    )  # fmt: skip
    return np.stack(rows, -1).reshape(*angles.shape[:-1], 3, 3)


def _named(messages: list[Message], name: int, path: Path) -> Message:
    for message in messages:
        if message.integer(1) == name:
            return message
    raise DataError(f"{path}: a frame lacks camera {name}: download the segment again")


def _transform(message: Message) -> np.ndarray:
    values = message.doubles(1)
    return values.reshape(4, 4) if len(values) == 16 else np.full((4, 4), np.nan)


def _matrix(packed: bytes, dtype: str) -> np.ndarray:
    """A zlib-packed MatrixFloat or MatrixInt32."""
    try:
        message = Message(zlib.decompress(packed))
        data = message.raw(1)
        values = packed_varints(data) if dtype == "varint" else np.frombuffer(data, dtype)
        dims = message.message(2)
        shape = [int(n) for n in dims.fields.get(1, [])] if _unpacked(dims) else packed_varints(dims.raw(1)).tolist()
        return values.reshape(shape)
    except (zlib.error, ValueError) as error:
        raise DataError(f"a LiDAR image cannot be unpacked ({error}): download the segment again") from error


def _unpacked(dims: Message) -> bool:
    return all(isinstance(value, int) for value in dims.fields.get(1, []))
