"""ScanNet's .sens container, version 4: all frames of a scan in one file, read without exporting it.

Choices
- The index (poses and where each frame's bytes lie) takes one pass over the headers; pictures are read one by one.
- Colour must be JPEG and depth zlib-packed 16 bit, which is what ScanNet ships; anything else is refused.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from openmore.errors import DataError

_VERSION, _JPEG, _ZLIB_USHORT = 4, 2, 1


@dataclass(frozen=True)
class SensFile:
    """An open index; the file itself is opened per frame, so that it can be shared between threads."""

    path: Path
    K_color: np.ndarray  # [3, 3]
    K_depth: np.ndarray  # [3, 3]
    depth_shape: tuple[int, int]
    world_from_cam: np.ndarray  # [N, 4, 4], not finite where tracking was lost
    spans: np.ndarray  # [N, 4] int64: colour offset, colour bytes, depth offset, depth bytes

    def __len__(self) -> int:
        return len(self.spans)

    @staticmethod
    def open(path: Path) -> SensFile:
        """The index of a file, kept for the last few. Raises DataError when it is no such file or cut off."""
        return _open(path)

    def frame(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture [H, W, 3] uint8 RGB and depth [h, w] uint16 millimetres."""
        import cv2

        with self.path.open("rb") as file:
            at, size, depth_at, depth_size = self.spans[i].tolist()
            file.seek(at)
            picture = cv2.imdecode(np.frombuffer(file.read(size), np.uint8), cv2.IMREAD_COLOR)
            file.seek(depth_at)
            packed = file.read(depth_size)
        if picture is None:
            raise DataError(f"{self.path}, frame {i}: the picture cannot be decoded: download the file again")
        try:
            depth = np.frombuffer(zlib.decompress(packed), "<u2").reshape(self.depth_shape)
        except (zlib.error, ValueError) as error:
            raise DataError(f"{self.path}, frame {i}: the depth cannot be unpacked ({error})") from error
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), depth


@lru_cache(maxsize=8)
def _open(path: Path) -> SensFile:
    try:
        with path.open("rb") as file:

            def take(format: str) -> tuple:
                return struct.unpack("<" + format, file.read(struct.calcsize("<" + format)))

            if take("I")[0] != _VERSION:
                raise DataError(f"{path} is no .sens file of version {_VERSION}: damaged, or another format")
            file.seek(take("Q")[0], 1)  # the sensor's name
            matrices = np.array(take("64f"), dtype=np.float64).reshape(4, 4, 4)
            color, depth = take("ii")
            if (color, depth) != (_JPEG, _ZLIB_USHORT):
                raise DataError(f"{path} is packed as {(color, depth)}, expected JPEG colour and zlib depth")
            _, _, width, height, _, count = take("IIIIfQ")
            poses, spans = np.empty((count, 4, 4)), np.empty((count, 4), np.int64)
            for i in range(count):
                poses[i] = np.array(take("16f")).reshape(4, 4)
                _, _, color_size, depth_size = take("QQQQ")
                at = file.tell()
                spans[i] = at, color_size, at + color_size, depth_size
                file.seek(color_size + depth_size, 1)
    except struct.error as error:
        raise DataError(f"{path} ends early ({error}): download it again") from error
    if count and spans[-1, 2] + spans[-1, 3] > path.stat().st_size:
        raise DataError(f"{path} ends inside its last frame: download it again")
    return SensFile(path, matrices[0, :3, :3], matrices[2, :3, :3], (height, width), poses, spans)
