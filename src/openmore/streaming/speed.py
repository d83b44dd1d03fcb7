"""How fast a stream runs on this machine: latency per frame, rate, memory.

Random pictures and, usually, random weights: the arithmetic does not depend on either. One synchronisation per frame,
so the numbers are latencies; a throughput without synchronisation can only be better.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Speed:
    """Steady state of a stream."""

    frames: int  # timed, after the warm-up
    p50_ms: float
    p95_ms: float
    fps: float  # frames / total time
    cache_mb: float
    memory_mb: float  # CUDA: peak allocated; CPU: resident at the end

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, rounded."""
        return {key: round(value, 2) for key, value in asdict(self).items()}


def measure(
    step: Callable[[Tensor], object],
    images: Iterable[Tensor],
    *,
    warmup: int,
    device: torch.device,
    cache_bytes: Callable[[], int],
) -> Speed:
    """Push `images` one by one through `step` and time all but the first `warmup`."""
    latencies_s = []
    for number, image in enumerate(images):
        if number == warmup and device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        begun = time.perf_counter()
        step(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= warmup:
            latencies_s.append(time.perf_counter() - begun)
    p50, p95 = np.percentile(latencies_s, (50, 95)) * 1e3
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident_bytes()
    return Speed(len(latencies_s), p50, p95, len(latencies_s) / sum(latencies_s), cache_bytes() / 1e6, memory / 1e6)


def resident_bytes() -> int:
    """Memory this process holds now; its peak where the system does not tell."""
    path = Path("/proc/self/statm")
    if path.exists():
        return int(path.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
