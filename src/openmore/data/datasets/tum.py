"""TUM RGB-D sequences (TUM-dynamics among them) and Bonn RGB-D Dynamic, which shares the format.

Layout: `<seq>/{rgb.txt, depth.txt, groundtruth.txt, rgb/<time>.png, depth/<time>.png}`; depth 16 bit, 5000 per metre.
Choices
- A picture takes the nearest true pose and the nearest depth within 0.02 s; pictures without a pose are dropped and
  counted, a missing depth is simply no depth.
- freiburg1/2 lenses are undistorted with the calibration of the TUM site; freiburg3 pictures are already pinhole.
  [recalled: the calibration numbers; `openmore data check` shows a reprojection error of a pixel or less if right]
- Bonn's true poses are of the motion-capture marker, not the camera, as every published number uses them. The
  benchmark also feeds and scores pictures with their lens distortion: `by_position` leaves it in.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels
from openmore.data.datasets.lens import undistort
from openmore.errors import DataError
from openmore.io.trajectories import read_trajectory

DEPTH_PER_METRE = 5000.0
TOLERANCE_S = 0.02
# (fx fy cx cy), (k1 k2 p1 p2 k3) by what the sequence name contains
CALIBRATIONS = {
    "freiburg1": ((517.3064, 516.4692, 318.6430, 255.3140), (0.262383, -0.953104, -0.005358, 0.002628, 1.163314)),
    "freiburg2": ((520.9086, 521.0073, 325.1414, 249.7018), (0.231222, -0.784899, -0.003257, -0.000105, 0.917205)),
    "freiburg3": ((535.4, 539.2, 320.1, 247.6), (0.0,) * 5),
    "bonn": ((542.8228, 542.5769, 315.5935, 237.7561), (0.039903, -0.099343, -0.000730, -0.000144, 0.0)),
}


class TUM(FrameDataset):
    """TUM RGB-D sequences under a root (or one sequence)."""

    name = "tum"
    is_metric = True
    recalled: ClassVar[dict[str, str]] = {
        "lenses of freiburg1, freiburg2 and freiburg3": "reprojection and sampson stay above a pixel",
    }
    picture_shape = (480, 640)

    def names(self) -> list[str]:
        if (self.root / "rgb.txt").is_file():
            return [self.root.resolve().name]
        found = [n for n in decode.subfolders(self.root) if (self.root / n / "rgb.txt").is_file()]
        if not found:
            raise DataError(f"{self.root} has no sequence with rgb.txt: unpack the archives there")
        return found

    def folder(self, sequence: str) -> Path:
        """Where a sequence lies."""
        return self.root if (self.root / "rgb.txt").is_file() else self.root / sequence

    def read_index(self, sequence: str) -> Index:
        folder = self.folder(sequence)
        times, files = read_list(folder / "rgb.txt")
        truth = read_trajectory(folder / "groundtruth.txt", "tum")
        place, difference = nearest(times, truth.times_s)
        K, _ = self.calibration(sequence)
        index = Index(
            list(range(len(times))), times, truth.world_from_cam[place], np.tile(K, (len(times), 1, 1)), files
        )
        return index.without(difference > TOLERANCE_S, "no true pose within 0.02 s")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        path = self.depth_file(sequence, index, i)
        depth = None if path is None else decode.read_depth16(path, DEPTH_PER_METRE)
        K, distortion = self.calibration(sequence)
        return undistort(Pixels(decode.read_rgb(index.files[i]), depth), K, distortion)

    def depth_file(self, sequence: str, index: Index, i: int) -> Path | None:
        """The depth nearest in time to a picture; None when there is none within 0.02 s."""
        times, files = read_list(self.folder(sequence) / "depth.txt")
        place, difference = nearest(index.times_s[i : i + 1], times)
        return files[place[0]] if difference[0] <= TOLERANCE_S else None

    def calibration(self, sequence: str) -> tuple[np.ndarray, tuple[float, ...]]:
        """K [3, 3] and lens coefficients. Raises DataError for a sequence of no known camera."""
        for key, (pinhole, distortion) in CALIBRATIONS.items():
            if key in sequence:
                return axes.intrinsics(*pinhole), distortion
        raise DataError(f"{sequence}: no known camera in the name: expected one of {', '.join(CALIBRATIONS)} in it")


class Bonn(TUM):
    """Bonn RGB-D Dynamic.

    `by_position` is the benchmark's way: the n-th picture with the n-th depth and pose, none of it undistorted.
    """

    name = "bonn"
    recalled: ClassVar[dict[str, str]] = {
        "the lens": "sampson of slow pairs stays above a pixel",
        "poses are of the marker, some centimetres off the camera": "reprojection grows with turning (known)",
    }

    def __init__(self, root: str | Path, *, by_position: bool = False, threads: int = 1):
        super().__init__(root, threads=threads)
        self.by_position = by_position

    def read_index(self, sequence: str) -> Index:
        if not self.by_position:
            return super().read_index(sequence)
        folder = self.folder(sequence)
        times, files = read_list(folder / "rgb.txt")
        truth = read_trajectory(folder / "groundtruth.txt", "tum")
        count = min(len(files), len(truth))
        K = np.tile(self.calibration(sequence)[0], (count, 1, 1))
        return Index(list(range(count)), times[:count], truth.world_from_cam[:count], K, files[:count])

    def calibration(self, sequence: str) -> tuple[np.ndarray, tuple[float, ...]]:
        K, distortion = super().calibration(sequence)
        return K, () if self.by_position else distortion

    def depth_file(self, sequence: str, index: Index, i: int) -> Path | None:
        if not self.by_position:
            return super().depth_file(sequence, index, i)
        files = read_list(self.folder(sequence) / "depth.txt")[1]
        return files[index.ids[i]] if index.ids[i] < len(files) else None


@lru_cache(maxsize=64)
def read_list(path: Path) -> tuple[np.ndarray, list[Path]]:
    """`time file` lines -> times [N] and paths, sorted by time."""
    rows = [line.split() for line in decode.require(path).read_text().splitlines() if line.strip() and line[0] != "#"]
    try:
        pairs = sorted((float(row[0]), row[1]) for row in rows)
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is no list of 'time file' lines ({error})") from error
    if not pairs:
        raise DataError(f"{path} lists no files: the download is incomplete")
    return np.array([time for time, _ in pairs]), [path.parent / name for _, name in pairs]


def nearest(times: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of `times` [N] the place of the nearest of the sorted `among`, and the distance in seconds."""
    right = np.searchsorted(among, times).clip(0, len(among) - 1)
    left = (right - 1).clip(0)
    place = np.where(np.abs(among[left] - times) <= np.abs(among[right] - times), left, right)
    return place, np.abs(among[place] - times)
