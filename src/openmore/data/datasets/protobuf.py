"""Just enough of two formats to read Waymo without TensorFlow: TFRecord files and protobuf's wire encoding.

Choices
- Files are memory-mapped and messages are views: a field that is not asked for is skipped, never copied or decoded.
- Checksums of TFRecord are not verified; a cut-off file is noticed by its lengths.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from openmore.errors import DataError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def records(path: Path) -> Iterator[memoryview]:
    """The records of a TFRecord file, as views that stay valid while they are held."""
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    at = 0
    while at < len(data):
        if at + 12 > len(data):
            raise DataError(f"{path} ends inside a record header: download it again")
        (size,) = struct.unpack_from("<Q", data, at)
        if at + 16 + size > len(data):
            raise DataError(f"{path} ends inside a record: download it again")
        yield data[at + 12 : at + 12 + size]
        at += 16 + size


class Message:
    """A protobuf message: field number -> values, decoded on demand."""

    def __init__(self, data: memoryview | bytes):
        self.fields: dict[int, list[int | memoryview]] = {}
        view, at = memoryview(data), 0
        while at < len(view):
            key, at = _varint(view, at)
            value, at = _value(view, at, key & 7)
            self.fields.setdefault(key >> 3, []).append(value)

    def message(self, number: int) -> Message:
        """One nested message; empty when absent."""
        found = self.fields.get(number)
        return Message(_view(found[-1])) if found else Message(b"")

    def messages(self, number: int) -> list[Message]:
        """A repeated nested message."""
        return [Message(_view(value)) for value in self.fields.get(number, [])]

    def integer(self, number: int, default: int = 0) -> int:
        """A varint field: integers, enumerations, booleans."""
        found = self.fields.get(number)
        return default if not found else int(found[-1])  # type: ignore[arg-type]

    def double(self, number: int, default: float = 0.0) -> float:
        """One double field."""
        found = self.fields.get(number)
        return default if not found else struct.unpack("<d", _view(found[-1]))[0]

    def doubles(self, number: int) -> np.ndarray:
        """A repeated double field, packed or not."""
        return np.frombuffer(b"".join(_view(value) for value in self.fields.get(number, [])), "<f8")

    def raw(self, number: int) -> bytes:
        """A bytes or string field; empty when absent."""
        found = self.fields.get(number)
        return bytes(_view(found[-1])) if found else b""


def packed_varints(data: bytes) -> np.ndarray:
    """A packed repeated int32 field -> int64 array, vectorised."""
    raw = np.frombuffer(data, np.uint8)
    if not len(raw):
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(raw < 128)
    starts = np.append(0, ends[:-1] + 1)
    position = np.arange(len(raw)) - np.repeat(starts, ends - starts + 1)
    # Bits beyond 64 do not exist; a negative int32 takes ten bytes whose shifts wrap as they should.
    parts = (raw & 127).astype(np.uint64) << (7 * position).astype(np.uint64)
    return np.add.reduceat(parts, starts).astype(np.int64)


def _view(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise DataError("a protobuf field has another type than expected: the file is of another version")
    return value


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view):
            raise DataError("a protobuf message ends inside a number: the file is damaged")
        byte = view[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _value(view: memoryview, at: int, kind: int) -> tuple[int | memoryview, int]:
    if kind == _VARINT:
        return _varint(view, at)
    if kind == _BYTES:
        size, at = _varint(view, at)
    elif kind in (_FIXED64, _FIXED32):
        size = 8 if kind == _FIXED64 else 4
    else:
        raise DataError(f"a protobuf field has wire type {kind}: the file is damaged or of another format")
    if at + size > len(view):
        raise DataError("a protobuf message ends inside a field: the file is damaged")
    return view[at : at + size], at + size
