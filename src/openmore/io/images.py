"""Pictures from files: upright, 8-bit RGB, in natural order; the reader for folders, globs and lists of them; PNGs.

Choices
- EXIF orientation is applied, once: Pillow turns TIFFs itself. Transparency is laid on white; 16 bits become 8 by
  rounding x / 257.
- A picture longer than `MAX_SIDE` is reduced by a whole factor while it is read (JPEG: inside the decoder), so that
  a 20,000-pixel panorama never exists in memory at full size; `Frame.original_shape` keeps the truth.
- Headers of all files are read first: mixed sizes are told before any work is done, not after an hour.
- Pictures are written by Pillow: OpenCV's writer returns False on a full disk, and nobody hears of it.
- When pictures were taken is asked of `clock`: 30 frames per second unless their names or a file say otherwise.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from openmore.errors import InputError
from openmore.io.atomic import atomic_file
from openmore.io.clock import picture_times, rate
from openmore.io.source import DamagedFrame, Frame, LazyFrame, SourceInfo, check_usable, missing_path

IMAGE_SUFFIXES = frozenset(".jpg .jpeg .png .bmp .tif .tiff .webp .ppm .pgm .avif".split())
MAX_SIDE = 8192  # pixels; a model never sees more than about a thousand
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error)  # what Pillow's decoders raise on damaged files


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts if part]


def list_images(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order, hidden files left out.

    Raises InputError when there is none, telling what the folder holds instead.
    """
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    images = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    if not images:
        raise InputError(
            f"{folder} has no pictures ({_contents(entries)}): give a folder of jpg, png, tif, webp ... files"
        )
    return sorted(images, key=lambda path: natural_key(path.name))


def _contents(entries: list[Path]) -> str:
    if not entries:
        return "it is empty"
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    suffixes = sorted({entry.suffix.lower() or entry.name for entry in entries if entry.is_file()})
    return f"it holds {', '.join((folders + suffixes)[:5])}"


def image_shape(path: Path) -> tuple[int, int]:
    """(height, width) of the upright picture, from the header. Raises DamagedFrame, or InputError if it is giant."""
    with _open(path) as image:
        width, height = _stored_size(image)
        sideways = _orientation(image) in _SIDEWAYS
    return (width, height) if sideways else (height, width)


def require_still(path: Path) -> None:
    """Raise InputError for an animation given as the source: its first picture alone would not be what was meant."""
    with suppress(DamagedFrame, *_BROKEN), _open(path) as image:  # what is damaged is said by the reader
        count = getattr(image, "n_frames", 1)
        if count > 1 and image.format != "MPO":  # a phone's JPEG with its preview or other eye is one photograph
            raise InputError(f"{path} holds {count} pictures: give a video or a folder of them, one file each")


def read_image(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode one picture to ([H, W, 3] uint8 RGB, (height, width) in the file). Raises DamagedFrame."""
    shape = image_shape(path)
    with _open(path) as image:
        orientation, factor = _orientation(image), -(-max(image.size) // MAX_SIDE)
        if factor > 1:
            image.draft("RGB", (image.width // factor, image.height // factor))
        if isinstance(image, TiffImageFile):  # Pillow turns it itself while it decodes,
            orientation = 1
            image.filename = ""  # and takes height for width when it may map the file into memory
        try:
            rgb = to_rgb(image)
        except _BROKEN as error:
            raise DamagedFrame(f"{path.name} cannot be decoded: {error}") from error
    if max(rgb.size) > MAX_SIDE:
        rgb = rgb.reduce(-(-max(rgb.size) // MAX_SIDE))
    rgb.getexif()[_ORIENTATION] = orientation
    return np.array(ImageOps.exif_transpose(rgb)), shape


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) in the file, whatever its orientation; Pillow 11 on gives a TIFF's size turned already."""
    return (image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH]) if isinstance(image, TiffImageFile) else image.size


def _orientation(image: Image.Image) -> int:
    # Asking a PNG without the tag for its EXIF would decode the whole picture in search of a late one.
    late = image.format == "PNG" and "exif" not in image.info
    return 1 if late else image.getexif().get(_ORIENTATION, 1)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow picture -> 8-bit RGB: transparency on white, 16 bits rounded to 8."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        sixteen = np.asarray(image).astype(np.uint32).clip(0, 65535)
        return Image.fromarray(((sixteen + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pictures have no agreed range, convert it to 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write [H, W] or [H, W, 3] uint8, or [H, W] uint16, whole or not at all. Raises InputError on a full disk."""
    with atomic_file(path) as handle:
        Image.fromarray(pixels).save(handle, "PNG", compress_level=1)  # as fast as it gets, some bytes larger


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large pictures are reduced while read
            return Image.open(path)
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} is too large to decode safely ({error}): make it smaller first") from error
    except _BROKEN as error:
        raise DamagedFrame(f"{path.name} is not a picture that can be read: {error}") from error


class ImageReader:
    """Reads a list of pictures of one size."""

    def __init__(self, paths: Sequence[Path], kind: str, label: str):
        self.paths, self.kind, self.label = list(paths), kind, label
        for path in self.paths:
            if not path.exists():
                raise missing_path(path)
        self.shape = _common_shape(self.paths, label)
        self.times_s = picture_times(self.paths)

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(self.kind, len(self.paths), self.shape, rate(self.times_s))

    def read(self) -> Iterator[LazyFrame]:
        for index, (path, time_s) in enumerate(zip(self.paths, self.times_s)):
            yield LazyFrame(index, time_s, path.name, partial(_load, path, index, time_s))

    def close(self) -> None:
        """Nothing is held open between pictures."""


def _load(path: Path, index: int, time_s: float) -> Frame:
    image, shape = read_image(path)
    return Frame(index, time_s, image, path.name, shape)


def _common_shape(paths: list[Path], label: str) -> tuple[int, int]:
    """The one size of all readable pictures. Raises InputError for mixed or tiny sizes, or when none is readable."""
    first: dict[tuple[int, int], Path] = {}
    reason = "there is none"
    for path in paths:
        try:
            first.setdefault(image_shape(path), path)
        except DamagedFrame as error:
            reason = str(error)
    if not first:
        raise InputError(f"no picture of {label} can be read: {reason}")
    if len(first) > 1:
        examples = ", ".join(f"{path.name} is {w}x{h}" for (h, w), path in list(first.items())[:3])
        raise InputError(f"the pictures of {label} differ in size ({examples}): give frames of one camera and one size")
    shape = next(iter(first))
    check_usable(shape, str(first[shape]))
    return shape
