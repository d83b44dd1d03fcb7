"""Pictures and masks beside exported cameras.

Choices
- Pictures come from the source at ORIGINAL resolution when it is a file or folder that still exists; otherwise from
  the scene at model resolution. Giant ones come as the reader gives them, reduced. The caller gets the shape that was
  written and makes matching intrinsics.
- A source that no longer yields the scene's frames is an error, not a quiet change of resolution.
- Masks follow COLMAP and nerfstudio: black pixels (movers) are ignored, white ones are used.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmore.errors import DataError, InputError
from openmore.export.cameras import frame_indices
from openmore.io.images import MAX_SIDE, write_png
from openmore.progress import ProgressCallback, silent
from openmore.types import Reconstruction

log = logging.getLogger(__name__)

CHOICES = ("auto", "source", "model")
_QUALITY = 95


@dataclass(frozen=True)
class ImageSet:
    """The pictures written: one name per frame, all of one shape (height, width)."""

    names: list[str]
    shape: tuple[int, int]


def write_images(
    recon: Reconstruction, folder: Path, choice: str = "auto", progress: ProgressCallback = silent
) -> ImageSet:
    """Write one JPEG per frame into `folder`.

    `choice`: "auto" (source if it exists, else model resolution), "source" or "model". Raises InputError when the
    asked-for pictures do not exist and DataError when the source no longer matches the scene.
    """
    from PIL import Image

    folder.mkdir(parents=True)
    names = [f"{index:06d}.jpg" for index in frame_indices(recon)]
    from_source = _use_source(recon, choice)
    shape = full = recon.info.original_shape if from_source else recon.info.model_shape
    for number, picture in enumerate(_source_pictures(recon) if from_source else _model_pictures(recon)):
        height, width = picture.shape[:2]
        if number and (height, width) != shape:
            raise DataError(f"{names[number]} is {width}x{height}, the first {shape[1]}x{shape[0]}: use images='model'")
        shape = height, width
        Image.fromarray(picture).save(folder / names[number], quality=_QUALITY, subsampling=0)
        progress("images", number + 1, len(names))
    if shape != tuple(full):
        log.warning("pictures longer than %d pixels are exported reduced, %dx%d", MAX_SIDE, shape[1], shape[0])
    return ImageSet(names, shape)


def write_masks(recon: Reconstruction, folder: Path, images: ImageSet, threshold: float, margin: int) -> list[str]:
    """Write `folder/<image name>.png` per frame, 255 = static, 0 = mover grown by `margin` model pixels.

    Returns the names, or an empty list (and writes nothing) when the scene has no motion masks.
    """
    import cv2

    height, width = images.shape
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    names = []
    for frame, image in zip(recon.frames, images.names, strict=True):
        if frame.motion is None:
            log.warning("the scene has no motion masks: none are exported and movers stay in the pictures")
            return []
        folder.mkdir(parents=True, exist_ok=True)
        moving = cv2.dilate((frame.motion >= threshold).astype(np.uint8), kernel)
        mask = cv2.resize((1 - moving) * 255, (width, height), interpolation=cv2.INTER_NEAREST)
        names.append(f"{image}.png")
        write_png(folder / names[-1], mask)
    return names


def _use_source(recon: Reconstruction, choice: str) -> bool:
    if choice not in CHOICES:
        raise InputError(f"images={choice!r} is not a choice: expected one of {', '.join(CHOICES)}")
    source = recon.info.source
    exists = Path(source).exists() or bool(glob.glob(source))
    if choice == "source" and not exists:
        raise InputError(f"the scene's source {source!r} is not a file or folder here: use images='model'")
    if choice == "auto" and not exists:
        log.warning(
            "source %r is not here: pictures are exported at model resolution %s", source, recon.info.model_shape
        )
    return exists and choice != "model"


def _source_pictures(recon: Reconstruction) -> Iterator[np.ndarray]:
    """The frames of the scene, decoded again; never more than one in memory."""
    from openmore.io.frames import frames

    wanted = frame_indices(recon)
    found = 0
    for frame in frames(recon.info.source, start=wanted[0]):
        if frame.index != wanted[found]:
            continue
        if frame.original_shape != tuple(recon.info.original_shape):
            raise _changed(recon, f"frame {frame.index} is {frame.original_shape} now")
        yield frame.image
        found += 1
        if found == len(wanted):
            return
    raise _changed(recon, f"frame {wanted[found]} is missing now")


def _changed(recon: Reconstruction, what: str) -> DataError:
    return DataError(
        f"source {recon.info.source!r} no longer matches the scene ({what}, scene {recon.info.original_shape}): "
        "restore it or use images='model'"
    )


def _model_pictures(recon: Reconstruction) -> Iterator[np.ndarray]:
    for frame in recon.frames:
        if frame.rgb is None:
            raise InputError(
                "the scene holds no pictures (rgb) and its source is not here: nothing to export as images"
            )
        yield frame.rgb
