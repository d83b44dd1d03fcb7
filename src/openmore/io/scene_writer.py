"""Writes a scene folder frame by frame, in constant memory, so that a stream can be saved while it runs.

Choices
- Each finished frame adds a line to `frames.jsonl`; after a crash the same writer continues behind the last whole line,
  and `io.scene` reads what is there.
- Frames go to their place at once, so that a killed stream leaves them where they are looked for. An old scene is
  therefore deleted before the first of them: kept aside it would need room for both, however long the stream.
- `finish` turns the lines into cameras.json and writes scene.json last: a folder with scene.json is complete.
- All frames of a scene have one shape and the same arrays, so that a reader never has to guess what a gap means.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from openmore.errors import DataError, InputError
from openmore.io import exports
from openmore.io.atomic import atomic_file, write_text
from openmore.io.output import Kind, numbered, require_replaceable
from openmore.io.ply import write_ply
from openmore.io.scene_arrays import ARRAYS, SceneFrames, arrays_of, camera_entry, write_arrays
from openmore.io.trajectories import Trajectory, write_tum
from openmore.types import FramePrediction, SceneInfo

FORMAT, VERSION = "openmore scene", 1
JOURNAL = "frames.jsonl"
SCENE = Kind(
    "a scene folder",
    marks=("scene.json", JOURNAL),
    parts=(
        *(pattern for name, kind in ARRAYS.items() for pattern in numbered(f"{name}/{{}}.{kind.suffix}")),
        *"cameras.json trajectory.txt refined_trajectory.txt points.ply tracks.npz".split(),
        *"preview.png preview.mp4".split(),
        *exports.parts("exports"),
    ),
)
CONVENTIONS = {
    "camera_axes": "x right, y down, z forward",
    "world": "the first frame's camera",
    "depth": "z in the frame's camera, scene units, model resolution",
    "K": "pixels of the original frame, integer pixel centres",
    "motion": "probability x 255, 255 = moving",
    "trajectory": "TUM: time tx ty tz qx qy qz qw of world_from_cam",
}


class SceneWriter:
    """Writes a scene folder frame by frame in constant memory.

    `resume` continues an unfinished folder (`count` says how many frames it holds, `last_index` which source frame
    came last); `overwrite` deletes a scene that is there, at once. Raises InputError when `path` holds something else.
    """

    def __init__(self, path: Path, resume: bool = False, overwrite: bool = False):
        self.path = Path(path)
        self._journal = self.path / JOURNAL
        self._shape: tuple[int, int] | None = None
        self._arrays: list[str] = []
        self._seconds = 0.0
        self.count, self.last_index = 0, -1
        if resume and self._journal.exists():
            self._continue()
        else:
            self._begin(overwrite)

    def write(self, frame: FramePrediction) -> None:
        """Add a frame. Raises InputError when the disk is full, DataError when its shape or arrays differ."""
        with self._timed():
            self._check_uniform(frame)
            line = json.dumps(camera_entry(frame)) + "\n"
            write_arrays(self.path, self.count, frame)
            self._append(line)
            self.count, self.last_index = self.count + 1, frame.index

    def finish(self, info: SceneInfo) -> Path:
        """Write cameras, trajectory, cloud, preview and scene.json; returns the folder.

        Raises InputError when no frame was written or the disk is full.
        """
        if not self.count or self._shape is None:
            raise InputError(f"{self.path} would be a scene without a frame: nothing was reconstructed")
        with self._timed():
            entries = journal_entries(self._journal)
            _write_cameras(self.path, entries)
            self._write_extras(SceneFrames(self.path, entries, self._shape, self._arrays))
        write_text(self.path / "scene.json", json.dumps(self._document(info), indent=1, default=_plain) + "\n")
        self._journal.unlink()
        return self.path

    def _begin(self, overwrite: bool) -> None:
        require_replaceable(self.path, SCENE, overwrite)
        with _one_line(self.path):
            if self.path.exists():
                shutil.rmtree(self.path)
            self.path.mkdir(parents=True)
            self._journal.touch()

    def _continue(self) -> None:
        entries = journal_entries(self._journal)
        # A last line that was cut by a crash is dropped, and its frame is written again.
        with atomic_file(self._journal) as handle:
            handle.write("".join(json.dumps(entry) + "\n" for entry in entries).encode())
        if not entries:
            return
        self.count, self.last_index = len(entries), entries[-1]["index"]
        self._arrays, self._shape = written_arrays(self.path)

    def _check_uniform(self, frame: FramePrediction) -> None:
        arrays = arrays_of(frame)
        if self._shape is None:
            self._shape, self._arrays = frame.shape, arrays
            with _one_line(self.path):
                for name in arrays:
                    (self.path / name).mkdir(exist_ok=True)
        if frame.shape != self._shape or arrays != self._arrays:
            raise DataError(
                f"frame {frame.index} holds {', '.join(arrays)} of {frame.shape}: "
                f"the scene's frames hold {', '.join(self._arrays)} of {self._shape}"
            )

    def _append(self, line: str) -> None:
        with _one_line(self._journal), open(self._journal, "a", encoding="utf-8") as journal:
            journal.write(line)

    def _write_extras(self, frames: SceneFrames) -> None:
        from PIL import Image

        from openmore.io.preview import preview_sheet
        from openmore.io.scene_cloud import scene_cloud

        times_s = np.array([entry["time_s"] for entry in frames.entries])
        write_tum(
            self.path / "trajectory.txt", Trajectory(times_s, np.stack([c.world_from_cam for c in frames.cameras]))
        )
        write_ply(self.path / "points.ply", *scene_cloud(frames), comments=["world: the first frame's camera"])
        with atomic_file(self.path / "preview.png") as handle:
            Image.fromarray(preview_sheet(frames)).save(handle, "PNG")

    def _document(self, info: SceneInfo) -> dict[str, Any]:
        assert self._shape is not None, "finish checks that a frame was written"
        (h, w), (height, width) = self._shape, info.original_shape
        return {
            "format": FORMAT,
            "version": VERSION,
            "frames": self.count,
            "arrays": self._arrays,
            **asdict(info),
            "model_shape": [h, w],
            "original_pixels_per_model_pixel": {"x": width / w, "y": height / h},
            "timings_s": {**info.timings_s, "write": round(self._seconds, 4)},
            "conventions": CONVENTIONS,
        }

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - begun


def journal_entries(journal: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal; a last line that was cut off is left out."""
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def written_arrays(path: Path) -> tuple[list[str], tuple[int, int]]:
    """Names of the arrays in an unfinished folder, and (h, w). Raises OSError or ValueError for a damaged one."""
    height, width = np.load(path / "depth" / "000000.npy", mmap_mode="r").shape
    return [name for name in ARRAYS if (path / name).is_dir()], (height, width)


def _write_cameras(path: Path, entries: list[dict[str, Any]]) -> None:
    # One camera per line: readable, and a diff shows which frame moved.
    write_text(path / "cameras.json", "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """A full or read-only disk is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def _plain(value: Any) -> Any:
    """JSON for numpy scalars and arrays and for paths in the info's free fields."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)
