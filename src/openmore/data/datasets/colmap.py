"""COLMAP reconstructions, text or binary: cameras, pictures, and sparse depth from the points each picture sees.

Layout: `images/` beside `sparse/0/` (or `sparse/`, or the root) with cameras, images, points3D as .txt or .bin.
Choices
- Pixel centres are at (0.5, 0.5) in COLMAP: the principal point and the key points lose half a pixel here.
- Pinhole models, and the radial and OpenCV lens models (pictures are undistorted when loaded); fisheye is refused.
- Depth is the z of observed points at their key points: sparse, exact where it is. `min_track` drops weak points.
- Pictures are sorted by name and are not called a video; scale is arbitrary.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels
from openmore.data.datasets.lens import undistort
from openmore.errors import DataError
from openmore.io.images import natural_key

# model id: (name, number of parameters)
MODELS = {
    0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5), 4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8), 6: ("FULL_OPENCV", 12), 7: ("FOV", 5), 8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5), 10: ("THIN_PRISM_FISHEYE", 12),
}  # fmt: skip


@dataclass(frozen=True)
class Lens:
    """One camera of cameras.txt."""

    K: np.ndarray  # [3, 3], integer pixel centres
    distortion: tuple[float, ...]  # OpenCV order


@dataclass(frozen=True)
class Picture:
    """One registered image."""

    name: str
    camera_id: int
    wxyz: np.ndarray  # [4] cam_from_world
    t: np.ndarray  # [3] cam_from_world
    uv: np.ndarray  # [P, 2] key points, integer pixel centres
    point_ids: np.ndarray  # [P] int64, -1 = no point


@dataclass(frozen=True)
class Model:
    """One reconstruction."""

    lenses: dict[int, Lens]
    pictures: list[Picture]  # sorted by name
    points: dict[int, np.ndarray]  # id -> [3]


class Colmap(FrameDataset):
    """One COLMAP project."""

    name = "colmap"
    is_video = False
    knows = ("cameras", "intrinsics", "depth")

    def __init__(self, root: str | Path, *, min_track: int = 3, threads: int = 1):
        super().__init__(root, threads=threads)
        self.min_track = min_track
        self._model: Model | None = None

    @property
    def model(self) -> Model:
        """The reconstruction, read once."""
        if self._model is None:
            self._model = read_model(find_model(self.root), self.min_track)
        return self._model

    def names(self) -> list[str]:
        return [self.root.name]

    def read_index(self, sequence: str) -> Index:
        pictures = self.model.pictures
        xyzw = np.stack([p.wxyz for p in pictures])[:, [1, 2, 3, 0]]
        cam_from_world = axes.from_quaternion(xyzw, np.stack([p.t for p in pictures]))
        K = np.stack([self.model.lenses[p.camera_id].K for p in pictures])
        folder = self.root / "images" if (self.root / "images").is_dir() else self.root
        files = [folder / p.name for p in pictures]
        ids = list(range(len(pictures)))
        return Index(ids, np.arange(len(ids), dtype=float), axes.invert(cam_from_world), K, files)

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        picture = self.model.pictures[index.ids[i]]
        lens = self.model.lenses[picture.camera_id]
        image = decode.read_rgb(index.files[i])
        cam_from_world = axes.invert(index.world_from_cam[i])
        pixels = Pixels(image, self._sparse_depth(picture, cam_from_world, image.shape[:2]))
        return undistort(pixels, lens.K, lens.distortion)

    def _sparse_depth(self, picture: Picture, cam_from_world: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        depth = np.zeros(shape, np.float32)
        seen = np.array([k for k, point in enumerate(picture.point_ids.tolist()) if point in self.model.points], int)
        if not len(seen):
            return depth
        world = np.stack([self.model.points[int(picture.point_ids[k])] for k in seen])
        z = world @ cam_from_world[2, :3] + cam_from_world[2, 3]
        u, v = np.round(picture.uv[seen]).astype(int).T
        inside = (u >= 0) & (v >= 0) & (u < shape[1]) & (v < shape[0]) & (z > 0)
        depth[v[inside], u[inside]] = z[inside]
        return depth


def find_model(root: Path) -> Path:
    """The folder holding cameras.txt or cameras.bin. Raises DataError when there is none."""
    for folder in (root / "sparse" / "0", root / "sparse", root / "colmap" / "sparse" / "0", root):
        if any((folder / f"cameras.{suffix}").is_file() for suffix in ("bin", "txt")):
            return folder
    raise DataError(f"{root} holds no COLMAP model: expected sparse/0/cameras.bin or .txt beside images/")


def read_model(folder: Path, min_track: int = 0) -> Model:
    """Read a model in either encoding. Raises DataError naming the damaged file."""
    binary = (folder / "cameras.bin").is_file()
    suffix = "bin" if binary else "txt"
    cameras, images, points = (decode.require(folder / f"{n}.{suffix}") for n in ("cameras", "images", "points3D"))
    try:
        lenses = dict((_binary_cameras if binary else _text_cameras)(cameras))
        pictures = list((_binary_images if binary else _text_images)(images))
        cloud = {i: xyz for i, xyz, track in (_binary_points if binary else _text_points)(points) if track >= min_track}
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise DataError(f"{folder} holds a damaged COLMAP model ({error}): export it again") from error
    if not pictures:
        raise DataError(f"{images} registers no image: the reconstruction failed")
    return Model(lenses, sorted(pictures, key=lambda p: natural_key(p.name)), cloud)


def lens_of(model: str, parameters: list[float], where: Path) -> Lens:
    """K and distortion of a COLMAP camera. Raises DataError for fisheye and unknown models."""
    p = parameters
    if model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
        K, rest = axes.intrinsics(p[0], p[0], p[1] - 0.5, p[2] - 0.5), [*p[3:], 0.0][:2]
        distortion = (rest[0], rest[1] if len(rest) > 1 else 0.0, 0.0, 0.0)
    elif model in ("PINHOLE", "OPENCV", "FULL_OPENCV"):
        K, distortion = axes.intrinsics(p[0], p[1], p[2] - 0.5, p[3] - 0.5), tuple(p[4:])
    else:
        raise DataError(f"{where}: camera model {model} is no pinhole; run `colmap image_undistorter` first")
    return Lens(K, tuple(distortion) or (0.0,) * 4)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def _text_cameras(path: Path) -> Iterator[tuple[int, Lens]]:
    for line in filter(str.strip, _lines(path)):
        words = line.split()
        yield int(words[0]), lens_of(words[1], [float(x) for x in words[4:]], path)


def _text_images(path: Path) -> Iterator[Picture]:
    lines = _lines(path)
    # Two lines per picture; the second may be empty, so blank lines count.
    while lines and not lines[-1].strip() and len(lines) % 2:
        lines.pop()
    for head, tail in zip(lines[::2], [*lines[1::2], ""]):
        words = head.split(maxsplit=9)
        values = np.array([float(x) for x in words[1:8]])
        keys = np.array([float(x) for x in tail.split()]).reshape(-1, 3)
        yield Picture(words[9], int(words[8]), values[:4], values[4:], keys[:, :2] - 0.5, keys[:, 2].astype(np.int64))


def _text_points(path: Path) -> Iterator[tuple[int, np.ndarray, int]]:
    for line in filter(str.strip, _lines(path)):
        words = line.split()
        yield int(words[0]), np.array([float(x) for x in words[1:4]]), (len(words) - 8) // 2


class _Bytes:
    """A cursor over a binary file."""

    def __init__(self, path: Path):
        self.data, self.at = path.read_bytes(), 0

    def take(self, format: str) -> tuple:
        values = struct.unpack_from("<" + format, self.data, self.at)
        self.at += struct.calcsize("<" + format)
        return values

    def array(self, dtype: np.dtype, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return values

    def name(self) -> str:
        end = self.data.index(b"\0", self.at)
        text = self.data[self.at : end].decode()
        self.at = end + 1
        return text


def _binary_cameras(path: Path) -> Iterator[tuple[int, Lens]]:
    file = _Bytes(path)
    for _ in range(file.take("Q")[0]):
        camera_id, model, _, _ = file.take("iiQQ")
        name, count = MODELS[model]
        yield camera_id, lens_of(name, list(file.take(f"{count}d")), path)


def _binary_images(path: Path) -> Iterator[Picture]:
    file, key = _Bytes(path), np.dtype([("uv", "<f8", 2), ("point", "<i8")])
    for _ in range(file.take("Q")[0]):
        values = file.take("I7dI")
        name = file.name()
        keys = file.array(key, file.take("Q")[0])
        yield Picture(
            name, values[8], np.array(values[1:5]), np.array(values[5:8]), keys["uv"] - 0.5, keys["point"].copy()
        )


def _binary_points(path: Path) -> Iterator[tuple[int, np.ndarray, int]]:
    file = _Bytes(path)
    for _ in range(file.take("Q")[0]):
        values = file.take("Q3d3Bd")
        track = file.take("Q")[0]
        file.array(np.dtype("<i4"), 2 * track)
        yield values[0], np.array(values[1:4]), track
