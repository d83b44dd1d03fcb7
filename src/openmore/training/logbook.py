"""What a run leaves behind to read: one JSON object per line, and TensorBoard when asked for.

Choices
- `log.jsonl` is append-only: a resumed run continues the file, and every line names its step, so plots take the last
  line of a step. It is flushed after every line, so a killed run has its log.
- Only the main process writes.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from openmore.errors import InputError, MissingExtra


class Logbook:
    """Writes events of a run into its folder."""

    def __init__(self, folder: Path, tensorboard: bool = False):
        self._file = self._open(folder / "log.jsonl")
        self._board = _summary_writer(folder / "tensorboard") if tensorboard else None

    @staticmethod
    def _open(path: Path) -> TextIO:
        try:
            return path.open("a")
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error

    def write(self, event: str, step: int, **values: Any) -> None:
        """One line; numbers also become curves of the same name."""
        line = {"event": event, "step": step, "time": round(time.time(), 3), **values}
        self._file.write(json.dumps(line, allow_nan=True) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{event}/{name}", value, step)

    def picture(self, step: int, sheet: np.ndarray) -> None:
        """A picture sheet [H, W, 3] uint8, for TensorBoard only (the file is the caller's)."""
        if self._board is not None:
            self._board.add_image("sheet", sheet, step, dataformats="HWC")

    def close(self) -> None:
        """Finish both."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("tensorboard", "train", "run.tensorboard") from error
    return SummaryWriter(str(folder))


def read_log(path: Path, event: str | None = None) -> list[dict[str, Any]]:
    """The lines of a log, of one event if named; a line cut off by a kill is left out."""
    lines = []
    for text in path.read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if event is None or line["event"] == event:
            lines.append(line)
    return lines
