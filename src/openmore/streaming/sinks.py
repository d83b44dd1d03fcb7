"""Where predictions go: a function, a queue, a scene folder, lines of a trajectory on a text stream.

A sink sees every prediction once, in order, and is finished once with what `scene.json` says about the whole.
A viewer is a function: `Callback(live_view.add_frame)`.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from openmore.errors import InputError
from openmore.io.scene_writer import SceneWriter
from openmore.io.trajectories import TUM_HEADER, Trajectory, tum_lines, write_tum
from openmore.streaming.session import Refined
from openmore.types import FramePrediction, SceneInfo


class Sink(Protocol):
    """Takes predictions as they come."""

    def write(self, prediction: FramePrediction) -> None: ...
    def finish(self, info: SceneInfo) -> None: ...


@dataclass(frozen=True)
class Callback:
    """Calls a function with each prediction."""

    function: Callable[[FramePrediction], Any]

    def write(self, prediction: FramePrediction) -> None:
        self.function(prediction)

    def finish(self, info: SceneInfo) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Queue:
    """Puts predictions into a queue, waiting while it is full; None marks the end."""

    predictions: queue.Queue[FramePrediction | None]

    def write(self, prediction: FramePrediction) -> None:
        self.predictions.put(prediction)

    def finish(self, info: SceneInfo) -> None:
        self.predictions.put(None)


class SceneFolder:
    """Writes a scene folder frame by frame; it is complete once finished. It appears with the first prediction."""

    def __init__(self, path: Path, overwrite: bool = False):
        self._path, self._overwrite = path, overwrite
        self._writer: SceneWriter | None = None

    def write(self, prediction: FramePrediction) -> None:
        """Raises InputError when the folder exists (unless `overwrite`) or cannot be written."""
        self._writer = self._writer or SceneWriter(self._path, overwrite=self._overwrite)
        self._writer.write(prediction)

    def finish(self, info: SceneInfo) -> None:
        """Write what is about the whole. A stream without a prediction leaves no folder."""
        if self._writer is not None:
            self._writer.finish(info)


@dataclass
class TumLines:
    """Writes `time tx ty tz qx qy qz qw` per frame to a text stream, at once."""

    out: TextIO
    _begun: bool = field(default=False, init=False)

    def write(self, prediction: FramePrediction) -> None:
        """Raises BrokenPipeError when nobody reads any more, InputError when the lines cannot be written otherwise."""
        lines = [] if self._begun else [TUM_HEADER]
        pose = Trajectory(np.array([prediction.time_s]), prediction.camera.world_from_cam[None])
        try:
            self.out.write("\n".join((*lines, *tum_lines(pose), "")))
            self.out.flush()
        except BrokenPipeError:
            raise  # no error of the user's: `... --tum | head` has seen enough
        except OSError as error:
            raise InputError(f"the trajectory cannot be written: {error.strerror or error}") from error
        self._begun = True

    def finish(self, info: SceneInfo) -> None:
        """Every line is out already."""


class RefinedPath:
    """The latest refined camera of every frame that was still held when it was refined."""

    def __init__(self) -> None:
        self._poses: dict[int, tuple[float, np.ndarray]] = {}  # position in the stream -> time, world_from_cam

    def add(self, refined: Refined, times_s: Mapping[int, float]) -> None:
        """Replace the cameras of the frames that took part and whose time is known, by position in the stream."""
        for position, camera in zip(refined.frames, refined.cameras):
            if position in times_s:  # a resumed stream holds frames of an earlier run
                self._poses[position] = times_s[position], camera.world_from_cam

    def save(self, path: Path) -> None:
        """Write them in TUM format, atomically; no file when there are none. Raises InputError."""
        if not self._poses:
            return
        times_s, poses = zip(*(self._poses[position] for position in sorted(self._poses)))
        write_tum(path, Trajectory(np.array(times_s), np.stack(poses)))
