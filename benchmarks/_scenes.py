"""A long scene folder for benchmarks: the tests' ray-cast scene with noise, so that thinning has real work to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tests.scenes import camera, render

from openmore.io.scene import SceneWriter
from openmore.io.video import write_video
from openmore.types import FramePrediction, SceneInfo

PERIOD = 40  # different frames; a longer scene walks them back and forth


def write_long_scene(folder: Path, frames: int, shape: tuple[int, int], original: tuple[int, int]) -> Path:
    """A scene folder of `frames` frames, with its source video of `original` (height, width) beside it."""
    rng = np.random.default_rng(0)
    distinct = [noisy_frame(i, shape, original, rng) for i in range(PERIOD)]
    video = folder.with_suffix(".mp4")
    write_video(video, source_frames(distinct, frames, original), 30.0)
    writer = SceneWriter(folder)
    for number in range(frames):
        writer.write(replace(distinct[place(number)], index=number, time_s=number / 30))
    writer.finish(SceneInfo(str(video), {"name": "exact"}, "full", shape, original))
    return folder


def place(number: int) -> int:
    """Back and forth over the distinct frames."""
    step = number % (2 * PERIOD - 2)
    return step if step < PERIOD else 2 * PERIOD - 2 - step


def noisy_frame(i: int, shape: tuple[int, int], original: tuple[int, int], rng: np.random.Generator) -> FramePrediction:
    """Frame i with 1 % depth noise, independent from pixel to pixel, and varied confidence."""
    cam = camera(i, original)
    rgb, depth, moving = render(cam, cam.K_at(shape), shape, i % 8)
    depth = depth * (1 + 0.01 * rng.normal(size=shape))
    confidence = 1 + rng.gamma(2.0, 2.0, shape)
    return FramePrediction(
        i, i / 30, cam, depth.astype(np.float32), confidence.astype(np.float32), moving.astype(np.float32), rgb
    )


def source_frames(distinct: list[FramePrediction], frames: int, original: tuple[int, int]) -> Iterator[np.ndarray]:
    """Pictures of the source's size."""
    import cv2

    for number in range(frames):
        yield cv2.resize(distinct[place(number)].rgb, original[::-1])  # type: ignore[arg-type]


def peak_bytes() -> int:
    """This process's own peak resident memory. (getrusage would count the parent's before exec, too.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
