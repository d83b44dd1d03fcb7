"""Cameras of this machine by number, through OpenCV, which knows the cameras of every operating system."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from openmore.errors import InputError
from openmore.io.source import Frame, LazyFrame, SourceInfo

CAMERAS = 100  # OpenCV takes the hundreds of a number for a driver, and some drivers crash on what they do not know


class CameraReader:
    """A camera of this machine by number (0 is the first)."""

    def __init__(self, number: int):
        import cv2

        if not 0 <= number < CAMERAS:
            raise InputError(f"there is no camera {number}: give a number from 0 to {CAMERAS - 1}, a file or a URL")
        self.label = f"camera {number}"
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a missing camera is one line, ours
        self._capture = cv2.VideoCapture(number)
        cv2.utils.logging.setLogLevel(level)
        if not self._capture.isOpened():
            raise InputError(f"camera {number} cannot be opened: connect one, or give another number, a file or a URL")

    def __enter__(self) -> CameraReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._capture.release()

    @property
    def info(self) -> SourceInfo:
        import cv2

        width, height, fps = (
            self._capture.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
        )
        return SourceInfo("camera", None, (int(height), int(width)), fps or None)

    def read(self) -> Iterator[LazyFrame]:
        """Frames as the camera gives them, stamped on arrival; ends when the camera is unplugged."""
        started, index = time.monotonic(), 0
        while True:
            good, bgr = self._capture.read()
            if not good:
                return
            time_s, name = time.monotonic() - started, f"{self.label}#{index}"
            frame = Frame(index, time_s, np.ascontiguousarray(bgr[..., ::-1]), name)
            yield LazyFrame(index, time_s, name, lambda frame=frame: frame)
            index += 1
