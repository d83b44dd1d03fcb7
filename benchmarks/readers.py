"""How fast the readers deliver frames: posed folders and a miniature of a JPEG + PNG data set, decoded to full clips.

    python benchmarks/readers.py [--frames 100] [--threads 2]

A clip of 100 JPEGs of 518x392 with 16-bit depth is written to a temporary folder and loaded whole; results/readers.json
holds images per second of wall clock and per second of processor time (the latter is what a quiet machine would show
per core), and the peak memory that loading 8 of 2,000 frames adds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._record import record
from openmore.data.datasets.posed_folder import PosedFolder

SHAPE = (392, 518)


def write_clip(folder: Path, frames: int, distinct: int = 20) -> None:
    """A posed clip of pictures with photographic amounts of detail; later frames are copies of the first ones."""
    generator = np.random.default_rng(0)
    (folder / "rgb").mkdir(parents=True)
    (folder / "depth").mkdir()
    files = []
    for _ in range(min(distinct, frames)):
        noise = cv2.GaussianBlur(generator.uniform(0, 255, (*SHAPE, 3)).astype(np.float32), (0, 0), 1.5)
        image = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
        depth = cv2.GaussianBlur(generator.uniform(0, 9, SHAPE).astype(np.float32), (0, 0), 20)
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        png = cv2.imencode(".png", (depth * 1000).astype(np.uint16))[1].tobytes()
        files.append((jpeg, png))
    for i in range(frames):
        jpeg, png = files[i % len(files)]
        (folder / f"rgb/{i:06d}.jpg").write_bytes(jpeg)
        (folder / f"depth/{i:06d}.png").write_bytes(png)
    rows = [f"{i / 30} {i / 100} 0 0 0 0 0 1" for i in range(frames)]
    (folder / "poses.txt").write_text("\n".join(rows) + "\n")
    (folder / "intrinsics.txt").write_text(f"400 400 {SHAPE[1] / 2} {SHAPE[0] / 2} {SHAPE[1]} {SHAPE[0]}\n")


def rate(root: Path, frames: int, threads: int) -> dict[str, float]:
    """Images per second, best of three."""
    dataset = PosedFolder(root, depth_scale=1000, threads=threads)
    ids = dataset.frame_ids(root.name)[:frames]
    wall, cpu = [], []
    for _ in range(3):
        begun, spent = time.perf_counter(), time.process_time()
        dataset.load(root.name, ids)
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - spent)
    return {"images_per_s": round(frames / min(wall), 1), "images_per_cpu_s": round(frames / min(cpu), 1)}


def added_memory(root: Path) -> float:
    """Peak megabytes of loading 8 frames of a long clip."""
    dataset = PosedFolder(root, depth_scale=1000)
    dataset.frame_ids(root.name)
    tracemalloc.start()
    dataset.load(root.name, list(range(0, 2000, 250)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_clip(Path(folder) / "clip", args.frames)
        write_clip(Path(folder) / "long", 2000)
        results = {f"threads_{n}": rate(Path(folder) / "clip", args.frames, n) for n in (1, args.threads)}
        results["peak_mb_of_8_in_2000"] = added_memory(Path(folder) / "long")
    record("readers", {"shape": SHAPE, "frames": args.frames, **results})


if __name__ == "__main__":
    main()
