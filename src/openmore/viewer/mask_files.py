"""Mask files that people bring: which file belongs to which frame, and what its numbers mean.

Choices
- `openmore masks` numbers its files by place in the clip; its report.json says which frame of the source that is, and
  is asked first. Other folders have files named like the frames, or by the frames' numbers.
- A palette PNG holds labels as DAVIS writes them: 255 is unknown, every other label but 0 moves.
- Grey PNGs are labels where they hold 0, 1 and perhaps 255 and nothing else, over all frames asked for; else they are
  probability x 255, which black-and-white masks are too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openmore.errors import DataError
from openmore.io.frames import Frame
from openmore.types import UNKNOWN

_LIKELY = 128  # of 255: probability from which a pixel moves
_GREY = {"L": "L", "1": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB"}  # Pillow's kinds, and what they are read as


def read_masks(folder: Path, frames: Sequence[Frame], shape: tuple[int, int]) -> np.ndarray:
    """[S, H, W] float32 at `shape`: 1 moves, 0 stands still, NaN unknown.

    `folder`: mask files, or the output of `openmore masks`. Raises DataError for a frame without a mask, and for a file
    that is none.
    """
    if (folder / "report.json").is_file() and (folder / "masks").is_dir():
        folder = folder / "masks"
    reported = _reported(folder)
    found = [_read(_find(folder, frame, reported), shape) for frame in frames]
    grey = np.concatenate([values.ravel() for is_labels, values in found if not is_labels] or [np.zeros(0, np.uint8)])
    grey_labels = bool((grey == 1).any() and np.isin(grey, (0, 1, UNKNOWN)).all())
    return np.stack([_moving(values, is_labels or grey_labels) for is_labels, values in found])


def _moving(values: np.ndarray, is_labels: bool) -> np.ndarray:
    if not is_labels:
        return (values >= _LIKELY).astype(np.float32)
    return np.where(values == UNKNOWN, np.nan, values > 0).astype(np.float32)


def _reported(folder: Path) -> dict[int, Path]:
    """Number in the source -> file, as `openmore masks` wrote it beside `folder`; empty for other folders."""
    try:
        rows = json.loads((folder.parent / "report.json").read_text(encoding="utf-8"))["frames"]
        return {int(row["index"]): folder / f"{row['frame']:05d}.png" for row in rows}
    except (OSError, ValueError, KeyError, TypeError):  # no report, or somebody else's
        return {}


def _find(folder: Path, frame: Frame, reported: dict[int, Path]) -> Path:
    if frame.index in reported:
        return reported[frame.index]
    if reported:
        raise DataError(
            f"{folder} has no mask for frame {frame.index}: {folder.parent / 'report.json'} lists {len(reported)} "
            "other frames, make masks of every frame"
        )
    names = [f"{Path(frame.name).stem}.png", f"{frame.index:06d}.png", f"{frame.index:05d}.png"]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no mask for frame {frame.index}: expected {' or '.join(dict.fromkeys(names))}")


def _read(path: Path, shape: tuple[int, int]) -> tuple[bool, np.ndarray]:
    """Whether the file holds labels for certain, and its numbers [H, W] uint8 at `shape`; of colours the brightest."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode != "P" and image.mode not in _GREY:
                raise DataError(
                    f"{path} is a picture of kind {image.mode}: expected a palette PNG or an 8-bit grey one"
                )
            picture = image if image.mode == "P" else image.convert(_GREY[image.mode])
            values = np.array(picture.resize((shape[1], shape[0]), Image.Resampling.NEAREST))
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read as a mask: {error}") from error
    return picture.mode == "P", values.reshape(*shape, -1).max(-1)
