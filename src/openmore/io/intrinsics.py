"""Intrinsics a user knows: `fx,fy,cx,cy` on the command line, or a text file with that row.

Choices
- A file may name the picture size it is for (`fx fy cx cy width height`); it is then scaled to the video's.
- Nonsense is an InputError before any work; a wrong but possible K is left to refinement, which warns about it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmore.checks import shown
from openmore.errors import InputError, refusal

EXPECTED = "expected fx,fy,cx,cy in pixels, or a text file with the row: fx fy cx cy [width height]"

SHORTEST, LONGEST = 0.05, 100.0  # focal length over the long side: 169 degrees across, and beyond any telephoto


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole of pictures of `size` pixels; without `size`, of the source's own."""

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[float, float] | None = None  # width, height

    def K_for(self, shape: tuple[int, int]) -> np.ndarray:
        """[3, 3] for pictures of `shape` (height, width). Raises InputError when it cannot belong to them."""
        height, width = shape
        ratio = (1.0, 1.0) if self.size is None else (width / self.size[0], height / self.size[1])
        K = np.array([[self.fx * ratio[0], 0, self.cx * ratio[0]], [0, self.fy * ratio[1], self.cy * ratio[1]]])
        if not (0 < K[0, 2] < width and 0 < K[1, 2] < height):
            raise InputError(
                f"intrinsics with the principal point ({K[0, 2]:g}, {K[1, 2]:g}) were given for frames of "
                f"{width}x{height}: it must lie inside; give them for this size, or name theirs in a file"
            )
        reach = np.array([K[0, 0], K[1, 1]]) / max(shape)
        if reach.min() < SHORTEST or reach.max() > LONGEST:
            extreme = "wide" if reach.min() < SHORTEST else "long"
            raise InputError(
                f"intrinsics with the focal lengths ({K[0, 0]:g}, {K[1, 1]:g}) were given for frames of "
                f"{width}x{height}: no pinhole is that {extreme}; give them in pixels of this size"
            )
        return np.vstack((K, [0, 0, 1.0]))


def parse_intrinsics(given: str | Path | np.ndarray | tuple[float, ...] | list[float] | Intrinsics) -> Intrinsics:
    """Read what a user gave: text, a file, four (or six) numbers, or K [3, 3]. Raises InputError."""
    if isinstance(given, Intrinsics):
        return given
    if isinstance(given, str | Path):
        return _checked(_numbers(str(given)), str(given))
    try:
        values = np.asarray(given, float)
    except (TypeError, ValueError):
        raise InputError(f"intrinsics {shown(given)} are no numbers: {EXPECTED}, or K [3, 3]") from None
    if values.shape == (3, 3):
        values = values[[0, 1, 0, 1], [0, 1, 2, 2]]
    return _checked([float(x) for x in values.ravel()], str(given))


def _numbers(given: str) -> list[float]:
    text = given
    if "," not in given:
        path = Path(given)
        try:
            if not path.is_file():
                raise InputError(f"intrinsics {given!r} are neither numbers nor a file: {EXPECTED}")
            read = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(f"intrinsics cannot be read: {refusal(error) or error}") from error
        lines = [line.split("#")[0] for line in read.splitlines()]
        text = next((line for line in lines if line.strip()), "")
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(f"intrinsics {given!r} hold something that is no number: {EXPECTED}") from None


def _checked(values: list[float], given: str) -> Intrinsics:
    if len(values) not in (4, 6):
        raise InputError(f"intrinsics {given!r} hold {len(values)} numbers: {EXPECTED}")
    if not all(math.isfinite(x) for x in values) or min(values[:2] + values[4:]) <= 0:
        raise InputError(f"intrinsics {given!r}: focal lengths and sizes must be positive and finite, in pixels")
    fx, fy, cx, cy = values[:4]
    if not 0.2 < fx / fy < 5:
        raise InputError(f"intrinsics {given!r}: fx and fy differ {max(fx / fy, fy / fx):.1f} times; {EXPECTED}")
    return Intrinsics(fx, fy, cx, cy, (values[4], values[5]) if len(values) == 6 else None)
