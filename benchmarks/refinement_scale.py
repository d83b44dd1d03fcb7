"""How geometric refinement grows with the length of a clip, what it keeps, and whether a stream's window stays flat.

    python benchmarks/refinement_scale.py [--frames 125 250 500 1000] [--window 400]   -> results/refinement_scale.json

A camera slides along a wall with posters in front of it, 512x384 pixels, drawn as it is asked for. Time is processor
seconds; memory is the growth of the process's peak, pictures excluded because none is kept.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._record import record
from openmore.refinement.refine import refine
from openmore.refinement.stream.window import SlidingWindow
from openmore.types import Camera, FramePrediction

SHAPE = (384, 512)
K = np.array([[450.0, 0, 255.5], [0, 450.0, 191.5], [0, 0, 1]])
STEP = {"wall": 4, "posters": 8}  # pixels a frame


class Street:
    """Two layers that go by at different speeds."""

    def __init__(self, frames: int):
        width = SHAPE[1] + 8 * frames + 64
        self.wall, self.posters = texture(0, width), texture(1, width)
        rng = np.random.default_rng(2)
        self.near = np.zeros((SHAPE[0], width), bool)
        for left in range(0, width, 320):
            top = int(rng.integers(10, 60))
            self.near[top : top + 310, left : left + 200] = True

    def __call__(self, s: int) -> np.ndarray:
        far, near = (slice(STEP[k] * s, STEP[k] * s + SHAPE[1]) for k in ("wall", "posters"))
        return np.where(self.near[:, near, None], self.posters[:, near], self.wall[:, far])


def texture(seed: int, width: int) -> np.ndarray:
    """Blobs of all sizes [384, width, 3] uint8."""
    rng, out = np.random.default_rng(seed), np.zeros((SHAPE[0], width, 3), np.float32)
    for cell in (64, 24, 9):
        small = rng.normal(size=(SHAPE[0] // cell + 1, width // cell + 1, 3)).astype(np.float32)
        out += cv2.resize(small, (width, SHAPE[0]), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 40 * out, 0, 255).astype(np.uint8)


def peak_mb() -> float:
    """Largest memory this process has had, megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def clip(frames: int) -> dict[str, Any]:
    """One clip of some length."""
    street, before, begun = Street(frames), peak_mb(), time.process_time()
    result = refine(street, np.tile(np.eye(4), (frames, 1, 1)), K, K=K)
    spent = time.process_time() - begun
    path = result.world_from_cam[:, :3, 3]
    straight = np.outer(np.arange(frames) / max(frames - 1, 1), path[-1])
    return {
        "frames": frames,
        "cpu_seconds": round(spent, 2),
        "cpu_seconds_per_frame": round(spent / frames, 4),
        "peak_memory_growth_mb": round(peak_mb() - before, 1),
        "seconds": result.report.seconds,
        "frames_solved": result.report.count("geometry"),
        "bend_share_of_path": round(float(np.abs(path - straight).max() / np.linalg.norm(path[-1])), 5),
    }


def window(frames: int) -> dict[str, Any]:
    """A stream: processor seconds per frame in each quarter."""
    street, stream, spent = Street(frames), SlidingWindow(), []
    depth = np.ones((48, 64), np.float32)
    for s in range(frames):
        picture = street(s)
        given = FramePrediction(s, s / 30, Camera(np.eye(4), K, SHAPE[1], SHAPE[0]), depth, depth)
        begun = time.process_time()
        stream.push(picture, given)
        spent.append(time.process_time() - begun)
    quarters = [round(float(np.median(part)), 4) for part in np.array_split(spent, 4)]
    return {"frames": frames, "median_cpu_seconds_per_quarter": quarters, "sources": dict(stream.sources)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="*", default=[125, 250, 500, 1000])
    parser.add_argument("--window", type=int, default=400)
    args = parser.parse_args()
    clip(8)  # what is imported and allocated once does not count
    rows = []
    for frames in sorted(args.frames):
        rows.append(clip(frames))
        print(rows[-1], flush=True)
    stream = window(args.window)
    print(stream, flush=True)
    record("refinement_scale", {"clips": rows, "window": stream})


if __name__ == "__main__":
    main()
