"""When pictures were taken: the clock of a folder of frames, where it has one.

Choices
- A clock is read from names that are times (TUM RGB-D: 1305031102.175304.png, seconds; EuRoC: 19-digit nanoseconds), or
  from `timestamps.txt` / `times.txt` (one time in seconds a line; KITTI, DAVIS) in the folder or one folder up.
- Stamps are kept as they stand, so that a trajectory can be compared with a truth on the same clock.
- What is no clock (another count, times that do not rise) is said and left alone: 30 frames a second are assumed then.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

IMAGE_FPS = 30.0  # assumed where nothing says when pictures were taken
CLOCK_FILES = ("timestamps.txt", "times.txt")
_SECONDS = re.compile(r"\d{9,10}\.\d{1,9}")  # since 1970, as robots write it; "000012.5" is a frame number
_NANOSECONDS = re.compile(r"\d{19}")

log = logging.getLogger(__name__)


def picture_times(paths: Sequence[Path]) -> list[float]:
    """Seconds per picture: from their names, a file of times, or index / 30."""
    times = _from_names(paths) or _from_file(paths)
    return times or [index / IMAGE_FPS for index in range(len(paths))]


def rate(times: Sequence[float]) -> float:
    """Average frames per second."""
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else IMAGE_FPS


def _from_names(paths: Sequence[Path]) -> list[float] | None:
    stems = [path.stem for path in paths]
    if all(_SECONDS.fullmatch(stem) for stem in stems):
        times = [float(stem) for stem in stems]
    elif all(_NANOSECONDS.fullmatch(stem) for stem in stems):
        times = [int(stem) * 1e-9 for stem in stems]
    else:
        return None
    return times if _rises(times) else None


def _from_file(paths: Sequence[Path]) -> list[float] | None:
    """Times from the first clock file beside the pictures, or one folder up."""
    folder = paths[0].parent
    if any(path.parent != folder for path in paths):
        return None
    for file in (parent / name for parent in (folder, folder.parent) for name in CLOCK_FILES):
        if file.is_file():
            return _read(file, len(paths))
    return None


def _read(file: Path, count: int) -> list[float] | None:
    try:
        lines = [line.split()[0] for line in file.read_text().splitlines() if line.strip() and line[0] != "#"]
        times = [float(line) for line in lines]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        log.warning("%s is not a list of times (%s): %g frames a second are assumed", file, error, IMAGE_FPS)
        return None
    if len(times) != count or not _rises(times):
        reason = f"{len(times)} times for {count} pictures" if len(times) != count else "the times do not rise"
        log.warning(
            "%s is not the clock of these pictures (%s): %g frames a second are assumed", file, reason, IMAGE_FPS
        )
        return None
    return times


def _rises(times: Sequence[float]) -> bool:
    return all(earlier < later for earlier, later in pairwise(times))
