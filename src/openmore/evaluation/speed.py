"""Frames per second in the supplement's setting: KITTI size, window 5, one frame at a time.

Choices
- The published setting is a 110-frame clip of 1242x375 pictures, "512x144"; on a patch of 14 that is 518x154, which is
  the default here and is stated with the token count, precision and device, because published rows differ in all three.
- Frames are on the device before the clock starts. Warm-up runs, then the median of the timed runs; the device is
  synchronised at both ends of a run (published code does not, and counts host copies differently).
- Latency is measured in a run of its own with a synchronisation per frame, as medians of ten frames along the clip: a
  cache that grows shows there. A method that takes the clip at once has none.
- Pictures are random: speed does not depend on them.
- Another implementation is timed through a Python file that defines `load(device, dtype)` and returns an object with
  `begin()` and `step(image)`; see `Runner`. Ours are in `speed_ours.py`.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from openmore.errors import ConfigError, InputError
from openmore.progress import ProgressCallback, silent

KITTI_SHAPE, CLIP_FRAMES = (154, 518), 110
SETTLED = 10  # frames before which latencies are not counted


class Runner(Protocol):
    """An implementation that reconstructs a video frame by frame."""

    def begin(self) -> None:
        """Forget the last clip."""
        ...

    def step(self, image: Tensor) -> Any:
        """Process one frame [1, 3, H, W], RGB 0..1, already on the device. The result is dropped."""
        ...

    def describe(self) -> dict[str, Any]:
        """Name, precision, anything a table must say. Must be JSON."""
        ...

    # def finish(self) -> Any: optional, after the last frame and inside the clock: a pass over the whole clip.
    # waits = True: optional, `step` only collects and `finish` does the work; no latency per frame is reported.


@dataclass(frozen=True)
class Speed:
    """What was measured."""

    fps: float  # frames / median seconds of a run
    runs: list[float]  # seconds of each timed run
    latency_p50_ms: float | None  # None: the clip is taken at once
    latency_p95_ms: float | None
    latency_by_ten_ms: list[float]  # medians of ten frames each after the warm-up ones, along the clip
    peak_memory_mb: float | None  # device memory; None on the CPU
    frames: int
    shape: tuple[int, int]
    description: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def load_runner(path: Path, device: str, dtype: str) -> Runner:
    """Another implementation from a Python file (which is executed). Raises InputError when it is no adapter."""
    spec = importlib.util.spec_from_file_location("openmore_speed_adapter", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InputError(f"{path} is no Python file: give an adapter that defines load(device, dtype)")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "load"):
        raise InputError(f"{path} defines no load(device, dtype): see openmore.evaluation.speed.Runner")
    return module.load(device, dtype)


def measure(
    runner: Runner,
    device: str,
    *,
    shape: tuple[int, int] = KITTI_SHAPE,
    frames: int = CLIP_FRAMES,
    runs: int = 5,
    warm_up: int = 3,
    progress: ProgressCallback = silent,
) -> Speed:
    """Time whole clips and single frames. Raises ConfigError when there is nothing to time."""
    if frames <= SETTLED or runs < 1:
        raise ConfigError(f"{frames} frames and {runs} runs: expected more than {SETTLED} frames and at least 1 run")
    clip = torch.rand(frames, 1, 3, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    if clip.is_cuda:
        torch.cuda.reset_peak_memory_stats(clip.device)
    seconds = []
    for k in range(warm_up + runs):
        progress("timing", k, warm_up + runs + 1)
        taken = sum(time_clip(runner, clip, every_frame=False))
        if k >= warm_up:
            seconds.append(taken)
    latency = latencies(runner, clip)
    progress("timing", warm_up + runs + 1, warm_up + runs + 1)
    return Speed(
        fps=frames / float(np.median(seconds)),
        runs=[round(s, 4) for s in seconds],
        latency_p50_ms=float(np.percentile(latency, 50)) if len(latency) else None,
        latency_p95_ms=float(np.percentile(latency, 95)) if len(latency) else None,
        latency_by_ten_ms=[round(float(np.median(latency[k : k + 10])), 3) for k in range(0, len(latency), 10)],
        peak_memory_mb=torch.cuda.max_memory_allocated(clip.device) / 1e6 if clip.is_cuda else None,
        frames=frames,
        shape=shape,
        description=runner.describe(),
    )


def latencies(runner: Runner, clip: Tensor) -> np.ndarray:
    """Milliseconds per frame [S - 10], those after the warm-up frames; empty for a runner that waits for the clip."""
    if getattr(runner, "waits", False):
        return np.zeros(0)
    return 1000 * np.array(time_clip(runner, clip, every_frame=True))[SETTLED:]


def time_clip(runner: Runner, clip: Tensor, every_frame: bool) -> list[float]:
    """Seconds per frame [S], or of the whole clip [1]; the device is synchronised around what is timed."""
    with torch.inference_mode():
        runner.begin()
        wait(clip.device)
        begun, taken = time.perf_counter(), []
        for image in clip:
            runner.step(image)
            if every_frame:
                wait(clip.device)
                taken.append(time.perf_counter() - begun)
                begun = time.perf_counter()
        if hasattr(runner, "finish"):
            runner.finish()  # type: ignore[attr-defined]
        wait(clip.device)
    return taken if every_frame else [time.perf_counter() - begun]


def wait(device: torch.device) -> None:
    """Until the device has done everything asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
