"""Point clouds as binary little-endian PLY, written in one piece from structured arrays.

Choices
- Vertices are `x y z` float and `red green blue` uchar, as every viewer expects; more columns may follow.
- The reader understands what the writer writes (one vertex element of scalars): it is for tests and round trips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from openmore.errors import DataError
from openmore.io.atomic import atomic_file

_PLY_TYPES = {"f4": "float", "f8": "double", "u1": "uchar", "i4": "int", "u2": "ushort"}
_NUMPY_TYPES = {name: f"<{code}" for code, name in _PLY_TYPES.items()}
_VERTEX = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]


def write_ply(
    path: Path,
    xyz: np.ndarray,
    rgb: np.ndarray,
    columns: Mapping[str, np.ndarray] | None = None,
    comments: Sequence[str] = (),
) -> None:
    """Write points [N, 3] with colours [N, 3] uint8, and per-point `columns` [N] by name, atomically.

    Raises InputError when the file cannot be written.
    """
    extra = {name: np.asarray(values) for name, values in (columns or {}).items()}
    vertices = np.empty(len(xyz), [*_VERTEX, *((name, a.dtype.newbyteorder("<")) for name, a in extra.items())])
    for i, name in enumerate("xyz"):
        vertices[name] = xyz[:, i]
    for i, name in enumerate(("red", "green", "blue")):
        vertices[name] = rgb[:, i]
    for name, values in extra.items():
        vertices[name] = values
    with atomic_file(Path(path)) as handle:
        handle.write(_header(vertices, comments).encode("ascii", "replace"))
        handle.write(vertices.tobytes())


def read_ply(path: Path) -> np.ndarray:
    """The vertices of a file written by `write_ply` as a structured array [N]. Raises DataError."""
    data = Path(path).read_bytes()
    head, end, body = data.partition(b"end_header\n")
    lines = head.decode("ascii", "replace").splitlines()
    if not end or lines[:2] != ["ply", "format binary_little_endian 1.0"]:
        raise DataError(f"{path} is not a binary little-endian PLY file")
    words = [line.split() for line in lines]
    count = next((int(w[2]) for w in words if w[:2] == ["element", "vertex"]), 0)
    dtype = np.dtype([(w[2], _NUMPY_TYPES[w[1]]) for w in words if w[:1] == ["property"]])
    if len(body) != count * dtype.itemsize:
        raise DataError(f"{path} is damaged: {len(body)} bytes of vertices, expected {count * dtype.itemsize}")
    return np.frombuffer(body, dtype)


def _header(vertices: np.ndarray, comments: Sequence[str]) -> str:
    types = {name: dtype.str[1:] for name, (dtype, *_) in (vertices.dtype.fields or {}).items()}
    return "\n".join(
        (
            "ply",
            "format binary_little_endian 1.0",
            *(f"comment {comment}" for comment in comments),
            f"element vertex {len(vertices)}",
            *(f"property {_PLY_TYPES[types[name]]} {name}" for name in vertices.dtype.names or ()),
            "end_header\n",
        )
    )
