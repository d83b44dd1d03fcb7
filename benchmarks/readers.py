"""How fast the readers deliver frames at 518 px: loaded whole, and sampled for training (clip sampler, resize, crop).

    python benchmarks/readers.py [--frames 100] [--threads 2]

Clips of 100 JPEGs of 518x392, without and with 16-bit PNG depth (which costs more than the picture), are written to a
temporary folder. results/readers.json holds images per second of wall clock and of processor time (the latter
is what a quiet machine would show per core), and the peak memory that loading 8 of 2,000 frames adds. The section
"Readers" of docs/performance.md is made from that file: `--page` alone makes it again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._record import record
from openmore.data.augment import draw_shape, resize_and_crop
from openmore.data.clips import ClipSampler, Share
from openmore.data.datasets.posed_folder import PosedFolder

SHAPE = (392, 518)


def write_clip(folder: Path, frames: int, distinct: int = 20, with_depth: bool = True) -> None:
    """A posed clip of pictures with photographic amounts of detail; later frames are copies of the first ones."""
    generator = np.random.default_rng(0)
    (folder / "rgb").mkdir(parents=True)
    if with_depth:
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
        if with_depth:
            (folder / f"depth/{i:06d}.png").write_bytes(png)
    rows = [f"{i / 30} {i / 100} 0 0 0 0 0 1" for i in range(frames)]
    (folder / "poses.txt").write_text("\n".join(rows) + "\n")
    (folder / "intrinsics.txt").write_text(f"400 400 {SHAPE[1] / 2} {SHAPE[0] / 2} {SHAPE[1]} {SHAPE[0]}\n")


def rate(task: Callable[[], int]) -> dict[str, float]:
    """Images per second, best of three; `task` returns how many it made."""
    wall, cpu, frames = [], [], 0
    for _ in range(3):
        begun, spent = time.perf_counter(), time.process_time()
        frames = task()
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - spent)
    return {"images_per_s": round(frames / min(wall), 1), "images_per_cpu_s": round(frames / min(cpu), 1)}


def whole(root: Path, threads: int) -> Callable[[], int]:
    """Load the clip."""
    dataset = PosedFolder(root, depth_scale=1000, threads=threads)
    ids = dataset.frame_ids(root.name)
    return lambda: len(dataset.load(root.name, ids))


def sampled(root: Path, threads: int) -> Callable[[], int]:
    """Draw clips of 20 frames as training does, resized and cropped to the patch grid at 518 px."""
    dataset = PosedFolder(root, depth_scale=1000, threads=threads)
    sampler = ClipSampler([Share(dataset)], images_per_batch=20, frames=(20, 20), intervals=(1, 3))

    def task() -> int:
        made = 0
        for number in range(5):
            shape = draw_shape(np.random.default_rng(number), SHAPE)
            made += sum(len(resize_and_crop(clip, shape)) for clip in sampler.load(sampler.batch(number)))
        return made

    return task


def added_memory(root: Path) -> float:
    """Peak megabytes of loading 8 frames of a long clip."""
    dataset = PosedFolder(root, depth_scale=1000)
    dataset.frame_ids(root.name)
    tracemalloc.start()
    dataset.load(root.name, list(range(0, 2000, 250)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 1e6, 1)


NAMES = {
    "jpeg": "JPEG alone",
    "jpeg_and_depth": "JPEG and depth",
    "jpeg_and_depth_sampled": "both, drawn as training clips, resized and cropped",
}
ROOT = Path(__file__).parents[1]


def write_page() -> None:
    """The section of docs/performance.md from the recorded results."""
    recorded = json.loads((ROOT / "benchmarks/results/readers.json").read_text())
    results, load = recorded["results"], recorded["machine"]["load_average"][0]
    busy = f"The load average was {load:.0f}: the last column is what a quiet core does." if load > 2 else ""
    lines = [
        "## Readers",
        "`benchmarks/readers.py`: clips of 100 JPEGs of 518x392, without and with 16-bit PNG depth (`readers.json`).",
        busy,
        "",
        "| what | threads | pictures per second | pictures per processor second |",
        "|---|---|---|---|",
    ]
    for key, name in NAMES.items():
        for full in (k for k in results if k.startswith(f"{key}_threads_")):
            found = results[full]
            lines.append(f"| {name} | {full[-1]} | {found['images_per_s']} | {found['images_per_cpu_s']} |")
    lines += [
        "",
        f"Loading 8 of 2,000 frames adds {results['peak_mb_of_8_in_2000']} MB: nothing else is decoded.",
        "",
        "",
    ]
    page = ROOT / "docs/performance.md"
    before, _, after = page.read_text().partition("## Readers\n")
    page.write_text(before + "\n".join(lines) + after[after.index("## ") :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="only make the section of docs/performance.md")
    args = parser.parse_args()
    if args.page:
        write_page()
        return
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_clip(Path(folder) / "pictures", args.frames, with_depth=False)
        write_clip(Path(folder) / "clip", args.frames)
        write_clip(Path(folder) / "long", 2000)
        results: dict[str, Any] = {}
        for name, clip, task in (
            ("jpeg", "pictures", whole),
            ("jpeg_and_depth", "clip", whole),
            ("jpeg_and_depth_sampled", "clip", sampled),
        ):
            for threads in (1, args.threads):
                results[f"{name}_threads_{threads}"] = rate(task(Path(folder) / clip, threads))
        results["peak_mb_of_8_in_2000"] = added_memory(Path(folder) / "long")
    record("readers", {"shape": SHAPE, "frames": args.frames, **results})
    write_page()


if __name__ == "__main__":
    main()
