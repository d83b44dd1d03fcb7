"""How much memory and arithmetic a clip needs, before it is tried.

The memory model counts float32 numbers per token that are alive at once; `benchmarks/full_attention.py` measures how
close it is. It errs on the high side by a margin, because running out of memory kills the process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from openmore.model.config import HEADS, ModelConfig

MARGIN = 1.15
# Alive in a global block, in units of C floats per token: residual 1, its copy 1, MLP hidden twice 8.
BLOCK_WIDTHS = 10
SAVED_WIDTHS = 2  # a saved layer keeps frame and global output


@dataclass(frozen=True)
class Estimate:
    """What one pass over a clip takes."""

    weights_bytes: int
    activation_bytes: int
    gflop: float

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.activation_bytes


def estimate_full(
    config: ModelConfig, frames: int, shape: tuple[int, int], dtype: torch.dtype, outputs: Collection[str] = HEADS
) -> Estimate:
    """One pass with full attention over `frames` images of `shape` (H, W)."""
    tokens = frames * config.tokens_per_frame(shape)
    size = torch.empty((), dtype=dtype).element_size()
    C = config.embed_dim
    kept = SAVED_WIDTHS * len(config.saved_layers)
    activations = tokens * C * (4 * (kept + 2) + size * (BLOCK_WIDTHS - 2))
    maps = frames * shape[0] * shape[1] * 4 * 8
    head = 8 * shape[0] * shape[1] * config.dpt_features * 4 * 2  # eight frames of a dense head at a time
    backbone, heads = parameter_counts(config, outputs)
    return Estimate(
        weights_bytes=backbone * size + heads * 4,
        activation_bytes=int(MARGIN * (activations + maps + head)),
        gflop=gflop_of_frame(config, shape, frames) * frames,
    )


def parameter_counts(config: ModelConfig, outputs: Collection[str] = HEADS) -> tuple[int, int]:
    """Parameters of the backbone and of the heads that run."""
    from openmore.model.more import MoRe

    with torch.device("meta"):
        model = MoRe(config)
    backbone = sum(p.numel() for p in model.aggregator.parameters())
    attributes = {"camera": "camera_head", "depth": "depth_head", "points": "point_head", "motion": "motion_head"}
    used = [getattr(model, attributes[name]) for name in outputs if name in config.heads]
    return backbone, sum(p.numel() for head in used for p in head.parameters())


def gflop_of_frame(config: ModelConfig, shape: tuple[int, int], visible_frames: int) -> float:
    """Backbone arithmetic of one frame that attends to `visible_frames` frames, multiply-adds counted twice."""
    P, C = config.tokens_per_frame(shape), config.embed_dim
    linears = 2 * (4 + 2 * config.mlp_ratio) * C * C * P
    inside = 4 * P * P * C
    blocks = (config.vit_depth + config.depth) * (linears + inside)
    across = config.depth * (linears + inside * visible_frames)
    return (blocks + across) / 1e9


def available_bytes(device: torch.device) -> int:
    """Memory that can still be had on a device, container limits included."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # free, but not given back
        return torch.cuda.mem_get_info(device)[0] + kept
    free = _meminfo_available() or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _container_headroom()
    return free if limit is None else min(free, limit)


def _meminfo_available() -> int | None:
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    line = next((x for x in path.read_text().splitlines() if x.startswith("MemAvailable")), None)
    return int(line.split()[1]) * 1024 if line else None


# Limit, use and statistics of control groups of version 2 and 1, and the statistic of pages only cached from files.
GROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def _container_headroom(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes a container may still take, or None without a limit."""
    for limit, used, statistics, cached in GROUPS:
        try:
            text = (root / limit).read_text().strip()
            if text == "max":
                return None
            # The kernel counts cached files as used, but gives them up for anything else.
            return int(text) - int((root / used).read_text()) + _statistic(root / statistics, cached)
        except (OSError, ValueError):
            continue
    return None


def _statistic(path: Path, name: str) -> int:
    """A number of memory.stat; 0 where the kernel tells none: the headroom then errs on the low side."""
    try:
        values = dict(line.split() for line in path.read_text().splitlines())
        return int(values.get(name, 0))
    except (OSError, ValueError):
        return 0


def most_frames(
    config: ModelConfig, shape: tuple[int, int], dtype: torch.dtype, available: int, beside: int = 0
) -> int:
    """Largest clip that fits in `available` bytes with full attention (0 when not even one frame does).

    beside: bytes that each frame takes besides the pass.
    """
    one, two = (estimate_full(config, n, shape, dtype).total_bytes + n * beside for n in (1, 2))
    return max(0, 1 + (available - one) // max(two - one, 1)) if available >= one else 0


def matmul_gflops(device: torch.device, dtype: torch.dtype, size: int = 768) -> float:
    """Measured rate of a square matrix product, GFLOP/s: what a time estimate divides by."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(4):
        begun = time.perf_counter()
        product = a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begun)
    del product
    return 2 * size**3 / best / 1e9
