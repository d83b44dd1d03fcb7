"""Decoders of the file formats the data sets use. Each raises a DataError that names the file.

Choices
- OpenCV decodes pictures (twice as fast as Pillow, releases the GIL); orientation tags are ignored because the data
  sets' cameras are given for the stored pixels.
- Decoders return what the file holds; units and invalid values are the reader's business.
"""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from openmore.errors import DataError, MissingExtra

SINTEL_TAG = 202021.25


def require(path: Path) -> Path:
    """The path, or a DataError when no such file exists."""
    if not path.is_file():
        raise DataError(f"{path} is missing: the download is incomplete or the root folder is another one")
    return path


def read_rgb(path: Path) -> np.ndarray:
    """[H, W, 3] uint8 RGB."""
    import cv2

    image = _imread(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_raw(path: Path) -> np.ndarray:
    """A PNG (or EXR) as stored: [H, W] or [H, W, C] with OpenCV's BGR channel order, any depth."""
    import cv2

    return _imread(path, cv2.IMREAD_UNCHANGED)


def read_labels(path: Path) -> np.ndarray:
    """[H, W] label picture: palette indices stay indices, grey stays grey, colour keeps its red channel."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(require(path)) as image:
            labels = np.array(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"{path} cannot be decoded ({error}): download it again") from error
    return labels[..., 0] if labels.ndim == 3 else labels


def _imread(path: Path, flags: int) -> np.ndarray:
    import cv2

    data = np.frombuffer(require(path).read_bytes(), np.uint8)
    image = cv2.imdecode(data, flags) if len(data) else None
    if image is None:
        raise DataError(f"{path} cannot be decoded ({len(data)} bytes): download it again")
    return image


def read_depth16(path: Path, per_unit: float) -> np.ndarray:
    """16-bit PNG depth [H, W] float32: value / per_unit; 0 stays 0."""
    raw = read_raw(path)
    if raw.ndim != 2 or raw.dtype != np.uint16:
        raise DataError(f"{path} is {raw.dtype} {list(raw.shape)}, expected 16-bit grey depth: is it another file?")
    return np.divide(raw, np.float32(per_unit), dtype=np.float32)


def read_float16_bits(path: Path) -> np.ndarray:
    """16-bit PNG whose bits are float16 (Co3D, Dynamic Replica) -> float32 [H, W]."""
    raw = read_raw(path)
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise DataError(f"{path} is {raw.dtype} {list(raw.shape)}, expected 16-bit grey depth: is it another file?")
    return raw.view(np.float16).astype(np.float32)


def read_float16_flow(path: Path) -> np.ndarray:
    """16-bit PNG with float16 bits, red u and green v (Dynamic Replica, recalled) -> float32 [2, H, W]."""
    raw = read_raw(path)
    if raw.dtype != np.uint16 or raw.ndim != 3 or raw.shape[2] < 3:
        raise DataError(f"{path} is {raw.dtype} {list(raw.shape)}, expected 16-bit colour flow: is it another file?")
    return np.ascontiguousarray(raw[..., 2:0:-1]).view(np.float16).astype(np.float32).transpose(2, 0, 1).copy()


def read_pfm(path: Path) -> np.ndarray:
    """Grey PFM -> float32 [H, W], rows from the top."""
    data = require(path).read_bytes()
    header = re.match(rb"Pf\s+(\d+)\s+(\d+)\s+(-?[\d.eE+-]+)\s", data)
    if header is None:
        raise DataError(f"{path} is no grey PFM (header {data[:16]!r}): is it another file?")
    width, height = int(header[1]), int(header[2])
    dtype = np.dtype("<f4" if float(header[3]) < 0 else ">f4")
    values = _exactly(path, data[header.end() :], dtype, width * height)
    return values.reshape(height, width)[::-1].astype(np.float32)


def read_sintel_depth(path: Path) -> np.ndarray:
    """Sintel .dpt -> float32 [H, W]."""
    shape, data = _sintel_header(path)
    return _exactly(path, data, np.dtype("<f4"), shape[0] * shape[1]).reshape(shape).copy()


def read_flo(path: Path) -> np.ndarray:
    """Middlebury / Sintel .flo -> float32 [2, H, W]; the format's huge "unknown" values become NaN."""
    shape, data = _sintel_header(path)
    flow = _exactly(path, data, np.dtype("<f4"), shape[0] * shape[1] * 2).reshape(*shape, 2)
    flow = flow.transpose(2, 0, 1).astype(np.float32)
    return np.where(np.abs(flow).max(0) > 1e9, np.nan, flow).astype(np.float32)


def read_sintel_camera(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Sintel .cam -> K [3, 3] and cam_from_world [3, 4]."""
    data = require(path).read_bytes()
    _check_tag(path, data)
    values = _exactly(path, data[4:], np.dtype("<f8"), 21)
    return values[:9].reshape(3, 3).copy(), values[9:].reshape(3, 4).copy()


def _sintel_header(path: Path) -> tuple[tuple[int, int], bytes]:
    data = require(path).read_bytes()
    _check_tag(path, data)
    width, height = (int(n) for n in np.frombuffer(data[4:12], "<i4"))
    return (height, width), data[12:]


def _check_tag(path: Path, data: bytes) -> None:
    if len(data) < 12 or np.frombuffer(data[:4], "<f4")[0] != np.float32(SINTEL_TAG):
        raise DataError(f"{path} does not begin with the tag {SINTEL_TAG}: damaged, or another format")


def _exactly(path: Path, data: bytes, dtype: np.dtype, count: int) -> np.ndarray:
    if len(data) != count * dtype.itemsize:
        raise DataError(
            f"{path} holds {len(data)} bytes of values, expected {count * dtype.itemsize}: download it again"
        )
    return np.frombuffer(data, dtype)


def read_hdf5(path: Path, key: str) -> np.ndarray:
    """One array of an HDF5 file."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("h5py", "eval", f"reading {path.suffix} files") from error
    try:
        with h5py.File(require(path)) as file:
            if key not in file:
                raise DataError(f"{path} has no array {key!r}: it holds {', '.join(file)}")
            return np.asarray(file[key])
    except OSError as error:
        raise DataError(f"{path} is no HDF5 file ({error}): download it again") from error


def read_npy(path: Path) -> np.ndarray:
    """One .npy array; never unpickles."""
    try:
        return np.load(require(path), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is no .npy array ({error}): download it again") from error


def read_npz(path: Path, keys: list[str]) -> dict[str, np.ndarray]:
    """Named arrays of an .npz; never unpickles."""
    try:
        with np.load(require(path), allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive]
            if missing:
                raise DataError(f"{path} has no {', '.join(missing)}: another version of the data set?")
            return {key: archive[key] for key in keys}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read ({error}): download it again") from error


def read_npz_rows(path: Path, key: str, start: int, stop: int) -> np.ndarray:
    """Rows start:stop of one array of an .npz without reading the rest of it into memory."""
    format = np.lib.format
    try:
        with zipfile.ZipFile(require(path)) as archive, archive.open(f"{key}.npy") as file:
            version = format.read_magic(file)
            read_header = format.read_array_header_1_0 if version == (1, 0) else format.read_array_header_2_0
            shape, fortran, dtype = read_header(file)
            if fortran or dtype.hasobject:
                raise DataError(
                    f"{path}: {key} is stored column by column or pickled: another version of the data set?"
                )
            stop, size = min(stop, shape[0]), int(np.prod(shape[1:])) * dtype.itemsize
            count = max(stop - start, 0)
            info, at = archive.getinfo(f"{key}.npy"), file.tell() + start * size
            if info.compress_type == zipfile.ZIP_STORED:  # jump there; the archive would read its way
                data = _stored_bytes(path, info, at, count * size)
            else:
                file.seek(at)
                data = file.read(count * size)
            return np.frombuffer(data, dtype).reshape(count, *shape[1:])
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} has no readable array {key!r} ({error}): download it again") from error


def _stored_bytes(path: Path, info: zipfile.ZipInfo, at: int, count: int) -> bytes:
    """`count` bytes from place `at` of a member that is not compressed."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)  # lengths of the local name and extra field
        name, extra = (int(n) for n in np.frombuffer(file.read(4), "<u2"))
        file.seek(info.header_offset + 30 + name + extra + at)
        return file.read(count)


def read_rows(path: Path, columns: int | None = None, skip: int = 0, delimiter: str | None = None) -> np.ndarray:
    """Numbers of a text file [N, columns]; `#` comments are ignored, -inf and nan are kept."""
    try:
        rows = np.loadtxt(require(path), skiprows=skip, ndmin=2, delimiter=delimiter)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a table of numbers ({error})") from error
    if columns is not None and rows.shape[1:] != (columns,):
        raise DataError(f"{path} has {rows.shape[1]} numbers per line, expected {columns}: another version?")
    return rows


def read_json(path: Path) -> Any:
    """JSON, gzipped when the name ends in .jgz or .gz."""
    try:
        data = require(path).read_bytes()
        return json.loads(gzip.decompress(data) if path.suffix in (".jgz", ".gz") else data)
    except (ValueError, OSError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not valid JSON ({error}): download it again") from error


def number_in(name: str) -> int:
    """The last run of digits in a file name: its frame number."""
    digits = re.findall(r"\d+", name)
    if not digits:
        raise DataError(f"{name!r} has no frame number in its name: is it part of the data set?")
    return int(digits[-1])


def numbered(folder: Path, pattern: str = "*") -> dict[int, Path]:
    """Files of a folder by frame number, in numeric order. Raises DataError when there is none."""
    files = {number_in(p.stem): p for p in folder.glob(pattern) if not p.name.startswith(".")}
    if not files:
        raise DataError(f"{folder} has no {pattern} files: the download is incomplete or the root is another one")
    return dict(sorted(files.items()))


def subfolders(folder: Path) -> list[str]:
    """Names of the visible folders inside, sorted. Empty when `folder` is missing."""
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
