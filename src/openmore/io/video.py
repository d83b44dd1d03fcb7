"""Writes an H.264 mp4 that plays everywhere: yuv420p, even sides, index in front.

Choices
- Frames are encoded as they come; nothing but the encoder's own look-ahead is held.
- An odd side is completed by repeating its last row or column: cropping would lose a pixel of the picture.
- The file appears under its name only when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from openmore.errors import InputError
from openmore.io.atomic import atomic_file

_QUALITY = {"crf": "18", "preset": "medium"}  # visually lossless for previews


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float = 30.0) -> Path:
    """Encode [H, W, 3] uint8 RGB frames of one size; returns the path.

    Raises InputError for a rate that is none, no frames, frames of different sizes, or a place that cannot be written.
    """
    if not 0 < fps < 1000:
        raise InputError(f"fps {fps} is not a frame rate: give a number between 0 and 1000")
    path = Path(path)
    import av

    with atomic_file(path) as handle:
        try:
            count = _encode(handle.name, frames, Fraction(fps).limit_denominator(1001))
        except av.FFmpegError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error
        if not count:
            raise InputError(f"{path} would be a video without frames: give at least one")
    return path


def _encode(name: str, frames: Iterable[np.ndarray], rate: Fraction) -> int:
    """Encode into the file called `name` and return the number of frames."""
    import av

    count, shape = 0, (0, 0)
    # By name: FFmpeg's own writing reports a full disk once, PyAV's Python file protocol prints tracebacks.
    with av.open(name, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = None
        for image in frames:
            if stream is None:
                shape = image.shape[:2]
                stream = container.add_stream("h264", rate=rate, options=_QUALITY)
                stream.height, stream.width = (side + side % 2 for side in shape)
                stream.pix_fmt = "yuv420p"
            if image.shape[:2] != shape:
                raise InputError(f"frame {count} is {image.shape[:2]}, the first was {shape}: a video has one size")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_even(image), format="rgb24")))
            count += 1
        if stream is not None:
            container.mux(stream.encode(None))
    return count


def _even(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(image)
