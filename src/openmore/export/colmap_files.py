"""COLMAP's cameras, images and points3D files, binary and text, as its documentation specifies them.

Choices
- Own writer: no dependency, and a million points are written by numpy, not by a loop. Tests read with pycolmap.
- Points are written in groups of equal track length, because a group is one numpy array; COLMAP orders by id anyway.
- Ids count from 1, as COLMAP's own do. Quaternions are w x y z. World to camera. Pixel origin at the corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

PINHOLE = 1  # COLMAP's model id


@dataclass(frozen=True)
class ColmapCamera:
    width: int
    height: int
    params: tuple[float, float, float, float]  # fx, fy, cx, cy; pixels, corner origin


@dataclass(frozen=True)
class ColmapImage:
    name: str
    camera: int  # position in ColmapModel.cameras
    quaternion_wxyz: np.ndarray  # [4] of cam_from_world
    translation: np.ndarray  # [3] of cam_from_world
    xy: np.ndarray  # [M, 2] float64 observations, pixels, corner origin
    point: np.ndarray  # [M] int64 position in ColmapModel.xyz of each observation


@dataclass(frozen=True)
class ColmapModel:
    """One sparse model; observations of a point are rows of the images that name it."""

    cameras: list[ColmapCamera]
    images: list[ColmapImage]
    xyz: np.ndarray  # [N, 3] float64
    rgb: np.ndarray  # [N, 3] uint8
    error: np.ndarray  # [N] float64, mean reprojection error, pixels

    def tracks(self) -> tuple[np.ndarray, np.ndarray]:
        """All observations sorted by point: point [M] and (image id, observation number) [M, 2] uint32."""
        point = np.concatenate([image.point for image in self.images])
        counts = [len(image.point) for image in self.images]
        image_id = np.repeat(np.arange(1, len(counts) + 1), counts)
        number = np.concatenate([np.arange(n) for n in counts])
        order = np.argsort(point, kind="stable")
        return point[order], np.stack((image_id, number), -1)[order].astype("<u4")


def write_binary(model: ColmapModel, folder: Path) -> None:
    """cameras.bin, images.bin and points3D.bin."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cameras.bin").open("wb") as file:
        _count(file, len(model.cameras))
        for number, camera in enumerate(model.cameras, 1):
            file.write(np.array([number, PINHOLE], "<i4").tobytes())
            file.write(np.array([camera.width, camera.height], "<u8").tobytes())
            file.write(np.array(camera.params, "<f8").tobytes())
    with (folder / "images.bin").open("wb") as file:
        _count(file, len(model.images))
        for number, image in enumerate(model.images, 1):
            _write_image(file, number, image)
    with (folder / "points3D.bin").open("wb") as file:
        _count(file, len(model.xyz))
        for group in _point_groups(model):
            file.write(group.tobytes())


def _count(file: BinaryIO, count: int) -> None:
    file.write(np.uint64(count).astype("<u8").tobytes())


def _write_image(file: BinaryIO, number: int, image: ColmapImage) -> None:
    observations = np.empty(len(image.xy), [("xy", "<f8", 2), ("point", "<u8")])
    observations["xy"], observations["point"] = image.xy, image.point + 1
    file.write(np.uint32(number).astype("<u4").tobytes())
    file.write(np.concatenate((image.quaternion_wxyz, image.translation)).astype("<f8").tobytes())
    file.write(np.uint32(image.camera + 1).astype("<u4").tobytes())
    file.write(image.name.encode() + b"\0")
    _count(file, len(observations))
    file.write(observations.tobytes())


def _point_groups(model: ColmapModel):
    """Structured arrays of points3D records, one per track length."""
    point, observation = model.tracks()
    lengths = np.bincount(point, minlength=len(model.xyz))
    starts = np.cumsum(lengths) - lengths
    for length in np.unique(lengths):
        chosen = np.flatnonzero(lengths == length)
        fields = [("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")]
        records = np.empty(len(chosen), [*fields, ("track", "<u4", (length, 2))])
        records["id"], records["length"] = chosen + 1, length
        records["xyz"], records["rgb"], records["error"] = model.xyz[chosen], model.rgb[chosen], model.error[chosen]
        records["track"] = observation[starts[chosen, None] + np.arange(length)]
        yield records


def write_text(model: ColmapModel, folder: Path) -> None:
    """cameras.txt, images.txt and points3D.txt; for reading by eye, ten times larger and slower."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cameras.txt").open("w") as file:
        file.write("# CAMERA_ID, MODEL, WIDTH, HEIGHT, fx, fy, cx, cy\n")
        for number, camera in enumerate(model.cameras, 1):
            file.write(f"{number} PINHOLE {camera.width} {camera.height} {_numbers(camera.params)}\n")
    with (folder / "images.txt").open("w") as file:
        file.write("# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n# (X, Y, POINT3D_ID) ...\n")
        for number, image in enumerate(model.images, 1):
            where = _numbers((*image.quaternion_wxyz, *image.translation))
            file.write(f"{number} {where} {image.camera + 1} {image.name}\n")
            rows = zip(image.xy.tolist(), (image.point + 1).tolist(), strict=True)
            file.write(" ".join(f"{x:.6f} {y:.6f} {point}" for (x, y), point in rows) + "\n")
    with (folder / "points3D.txt").open("w") as file:
        file.write("# POINT3D_ID, X, Y, Z, R, G, B, ERROR, (IMAGE_ID, POINT2D_IDX) ...\n")
        for group in _point_groups(model):
            for record in group:
                track = " ".join(map(str, record["track"].ravel()))
                r, g, b = record["rgb"]
                file.write(f"{record['id']} {_numbers(record['xyz'])} {r} {g} {b} {record['error']:.6f} {track}\n")


def _numbers(values) -> str:
    return " ".join(repr(float(value)) for value in values)
