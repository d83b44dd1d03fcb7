"""Trajectory files: TUM text, KITTI rows, EuRoC csv in; TUM out.

Choices
- All three store world_from_cam (EuRoC: world from body); quaternion order is converted here (EuRoC writes w first).
- The format is recognised from the first row: 12 numbers KITTI, 8 TUM, more or nanoseconds EuRoC.
- Blanks, commas, semicolons, tabs and any `#` comment are accepted; the first line may be a header in words.
- A row that cannot be right (NaN, wrong count, no rotation, time running back) is a DataError with its line number:
  half a trajectory scores well for the wrong reason. Equal times are allowed: TUM's own ground truth has some. Rows out
  of order are refused too, or sorted with a warning where the caller says so.
- KITTI files carry no time: `times` names the file that does, otherwise the row number stands for seconds and `clock`
  is False.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from openmore.errors import DataError
from openmore.io.atomic import write_text
from openmore.io.source import missing_path

log = logging.getLogger(__name__)

Format = Literal["tum", "kitti", "euroc"]
_COLUMNS = {"tum": 8, "kitti": 12}
_EUROC_COLUMNS = 8  # at least: time, position, quaternion; velocities and biases may follow
TUM_HEADER = "# time tx ty tz qx qy qz qw (world_from_cam)"
_NANOSECONDS = 1e14  # a time above this many "seconds" (3 million years) is in nanoseconds
_EXAMPLES = {
    "tum": "time tx ty tz qx qy qz qw",
    "kitti": "the 12 numbers of a 3x4 matrix",
    "euroc": "time_ns, px, py, pz, qw, qx, qy, qz, ...",
}


@dataclass(frozen=True)
class Trajectory:
    """Where a camera was, and when."""

    times_s: np.ndarray  # [N] float64, seconds, never decreasing
    world_from_cam: np.ndarray  # [N, 4, 4] float64, rigid
    clock: bool = True  # False: the file has no times, row numbers stand for them

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def centers(self) -> np.ndarray:
        """[N, 3] camera centres in world coordinates."""
        return self.world_from_cam[:, :3, 3]


@dataclass(frozen=True)
class _Rows:
    path: Path
    values: np.ndarray  # [N, columns] float64
    lines: np.ndarray  # [N] line number of each row, from 1

    def fail(self, row: int, what: str) -> NoReturn:
        raise DataError(f"{self.path}, line {self.lines[row]}: {what}")


def read_trajectory(
    path: str | Path, format: Format | None = None, times: str | Path | None = None, *, sort: bool = False
) -> Trajectory:
    """Read a trajectory file; `format` None recognises it; `times` is KITTI's file of seconds, one per row.

    `sort` puts rows that are out of order into the order of their times, with a warning, instead of refusing them.
    Raises InputError when the file is missing and DataError naming the line that is wrong.
    """
    rows = _read_rows(Path(path))
    found = format or _recognise(rows)
    _check_columns(rows, found)
    if found == "kitti":
        return Trajectory(_kitti_times(rows, times), _matrices(rows), times is not None)
    rows = _in_order(rows) if sort else rows
    seconds = rows.values[:, 0] * (1e-9 if found == "euroc" else 1.0)
    _check_order(rows, seconds)
    xyzw = rows.values[:, [5, 6, 7, 4]] if found == "euroc" else rows.values[:, 4:8]
    return Trajectory(seconds, _from_quaternions(rows, rows.values[:, 1:4], xyzw))


def write_tum(path: str | Path, trajectory: Trajectory) -> None:
    """Write `time tx ty tz qx qy qz qw` of world_from_cam, atomically. Raises InputError when it cannot be written."""
    write_text(Path(path), "\n".join((TUM_HEADER, *tum_lines(trajectory), "")))


def tum_lines(trajectory: Trajectory) -> list[str]:
    """One line `time tx ty tz qx qy qz qw` per pose."""
    import torch

    from openmore.geometry.rotation import matrix_to_quaternion

    xyzw = matrix_to_quaternion(torch.from_numpy(np.ascontiguousarray(trajectory.world_from_cam[:, :3, :3]))).numpy()
    rows = zip(trajectory.times_s, trajectory.centers, xyzw)
    return [" ".join((f"{t:.9f}", *(f"{x:.10g}" for x in (*center, *q)))) for t, center, q in rows]


def _read_rows(path: Path) -> _Rows:
    if not path.is_file():
        raise missing_path(path) if not path.exists() else DataError(f"{path} is a folder: give a trajectory file")
    rows: list[list[float]] = []
    lines: list[int] = []
    for number, words in _words(path):
        try:
            row = [float(word) for word in words]
        except ValueError:
            if number == 1:  # a header without the comment sign
                continue
            raise DataError(
                f"{path}, line {number}: {' '.join(words)[:60]!r} holds something else than numbers"
            ) from None
        if rows and len(row) != len(rows[0]):
            raise DataError(f"{path}, line {number}: {len(row)} numbers where the lines before have {len(rows[0])}")
        rows.append(row)
        lines.append(number)
    if not rows:
        raise DataError(f"{path} holds no rows of numbers: expected one pose per line, for example {_EXAMPLES['tum']}")
    table = _Rows(path, np.array(rows), np.array(lines))
    bad = ~np.isfinite(table.values).all(1)
    if bad.any():
        table.fail(int(bad.argmax()), "a number is NaN or infinite: remove the row or repair it")
    return table


def _words(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, words) of every line that is not blank or a comment."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text ({error.reason}): give a TUM, KITTI or EuRoC trajectory") from error
    for number, line in enumerate(text.splitlines(), 1):
        words = re.split(r"[\s,;]+", line.split("#")[0].strip(" \t,;"))
        if words != [""]:
            yield number, words


def _recognise(rows: _Rows) -> Format:
    columns = rows.values.shape[1]
    if columns == _COLUMNS["kitti"]:
        return "kitti"
    if columns >= _EUROC_COLUMNS and (columns > _EUROC_COLUMNS or rows.values[0, 0] > _NANOSECONDS):
        return "euroc"
    return "tum"


def _check_columns(rows: _Rows, format: Format) -> None:
    columns = rows.values.shape[1]
    if format not in _EXAMPLES:
        raise DataError(f"trajectory format {format!r} is unknown: choose tum, kitti or euroc")
    if columns != _COLUMNS.get(format, max(columns, _EUROC_COLUMNS)):
        rows.fail(0, f"{columns} numbers per line are no {format} trajectory: expected {_EXAMPLES[format]}")


def _in_order(rows: _Rows) -> _Rows:
    if (np.diff(rows.values[:, 0]) >= 0).all():
        return rows
    log.warning("%s: rows are not in the order of their times: sorted", rows.path)
    order = np.argsort(rows.values[:, 0], kind="stable")
    return _Rows(rows.path, rows.values[order], rows.lines[order])


def _check_order(rows: _Rows, seconds: np.ndarray) -> None:
    back = np.diff(seconds) < 0
    if back.any():
        row = int(back.argmax()) + 1
        rows.fail(
            row, f"time {seconds[row]:.6f} comes before the {seconds[row - 1]:.6f} above it: sort the file by time"
        )


def _from_quaternions(rows: _Rows, position: np.ndarray, xyzw: np.ndarray) -> np.ndarray:
    import torch

    from openmore.geometry.rigid import rigid
    from openmore.geometry.rotation import quaternion_to_matrix

    norm = np.linalg.norm(xyzw, axis=1)
    off = np.abs(norm - 1) > 0.1
    if off.any():
        row = int(off.argmax())
        rows.fail(row, f"the quaternion's length is {norm[row]:.3g}, not 1: is the column order {_EXAMPLES['tum']}?")
    return rigid(quaternion_to_matrix(torch.from_numpy(np.ascontiguousarray(xyzw))), torch.from_numpy(position)).numpy()


def _matrices(rows: _Rows) -> np.ndarray:
    world_from_cam = np.tile(np.eye(4), (len(rows.values), 1, 1))
    world_from_cam[:, :3] = rows.values.reshape(-1, 3, 4)
    R = world_from_cam[:, :3, :3]
    off = (np.abs(R @ R.swapaxes(1, 2) - np.eye(3)).max((1, 2)) > 0.01) | (np.linalg.det(R) < 0)
    if off.any():
        rows.fail(int(off.argmax()), f"its left 3x3 block is no rotation: expected {_EXAMPLES['kitti']} [R | t]")
    return world_from_cam


def _kitti_times(rows: _Rows, times: str | Path | None) -> np.ndarray:
    count = len(rows.values)
    if times is None:
        return np.arange(count, dtype=np.float64)
    clock = _read_rows(Path(times))
    if clock.values.shape != (count, 1):
        given = " x ".join(map(str, clock.values.shape))
        raise DataError(f"{times} holds {given} numbers: expected one time for each of the {count} rows of {rows.path}")
    _check_order(clock, clock.values[:, 0])
    return clock.values[:, 0]
