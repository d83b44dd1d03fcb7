"""Speed of the synthetic world: frames per second at 224x168 with all truth, described and rendered from scratch.

    python -m benchmarks.render                  CPU: one process, then as many as there are cores
    python -m benchmarks.render --device cuda    GPU: large batches

Wall-clock figures suffer when other work shares the machine (see load_average); `per_core` divides by processor time
instead and does not.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from benchmarks._record import record
from openmore.data.synthetic import describe, render_batch, texture_bank
from openmore.data.synthetic.layout import Recipe

SHAPE = (168, 224)
FRAMES = 8


def measure(clips: int, batch: int, device: str, threads: int, flow: bool, first: int = 0) -> dict[str, float]:
    """Best of two passes over `clips` clips."""
    torch.set_num_threads(threads)
    texture_bank(device=device)
    _pass(first, batch, batch, device, flow)
    best: dict[str, float] = {}
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        described = _pass(first, clips, batch, device, flow)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if not best or wall < best["seconds"]:
            best = {"seconds": wall, "cpu_seconds": cpu, "describe_cpu_seconds": described}
    frames = clips * FRAMES
    return {
        "frames": frames,
        "fps": round(frames / best["seconds"], 1),
        "per_core": round(frames / best["cpu_seconds"], 1),
        "describe_ms_per_clip": round(best["describe_cpu_seconds"] / clips * 1e3, 2),
    }


def _pass(first: int, clips: int, batch: int, device: str, flow: bool) -> float:
    """Describe and render; returns the processor time of describing."""
    described = 0.0
    for start in range(first, first + clips, batch):
        begin = time.process_time()
        scenes = [describe(seed, Recipe(frames=FRAMES, shape=SHAPE)) for seed in range(start, start + batch)]
        described += time.process_time() - begin
        render_batch(scenes, device, flow=flow)
    if device != "cpu":
        torch.cuda.synchronize()
    return described


def _process(number: int) -> tuple[float, float]:
    """One of several processes; returns when its work began and ended."""
    torch.set_num_threads(1)
    texture_bank()
    _pass(number * 1000, 4, 4, "cpu", True)
    begin = time.time()
    _pass(number * 1000, 24, 8, "cpu", True)
    return begin, time.time()


def measure_processes(count: int) -> dict[str, float]:
    """Frames per second of `count` single-threaded processes together, as a loader's workers run."""
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        spans = list(pool.map(_process, range(count)))
    seconds = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return {"processes": count, "fps": round(count * 24 * FRAMES / seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.device == "cpu":
        cores = os.cpu_count() or 1
        results = {
            "one_thread": measure(16, 8, "cpu", 1, True),
            "one_thread_without_flow": measure(16, 8, "cpu", 1, False),
            f"{cores}_threads": measure(16, 8, "cpu", cores, True),
            "workers": measure_processes(cores),
        }
        name = "render_cpu"
    else:
        results = {f"batch_{b}": measure(4 * b, b, args.device, 1, True) for b in (32, 128, 512)}
        name = "render_gpu"
    note = f"{SHAPE[1]}x{SHAPE[0]}, clips of {FRAMES} frames, default recipe, described and rendered with all truth"
    print(record(name, results, note), results)


if __name__ == "__main__":
    main()
