"""Seconds per frame and peak memory of one full-attention pass at published size, random weights.

    python benchmarks/full_attention.py [--preset vggt-1b] [--frames 1 2 4 8] [--sizes 518x140 518x378]

Each case runs in its own process, so that peak memory is its own. Random weights: this measures speed only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._meters import forget_peak, peak_bytes
from benchmarks._models import random_model
from benchmarks._record import record
from openmore.model.config import preset
from openmore.model.estimate import estimate_full, matmul_gflops

ENOUGH_S = 45.0  # a case that took this long is not repeated


def one_case(name: str, size: str, frames: int, dtype: str, repeats: int) -> dict[str, object]:
    """Time one pass in this process."""
    width, height = map(int, size.split("x"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    model = random_model(name, dtype, device).pack()
    before = forget_peak()  # bf16 weights were float32 once: that is no part of the pass
    images = torch.rand(1, frames, 3, height, width, device=device)
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        with torch.inference_mode():
            model(images, outputs={"camera", "depth", "points"})
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
        if sum(seconds) > ENOUGH_S:
            break
    peak = peak_bytes()
    estimate = estimate_full(preset(name), frames, (height, width), kind)
    return {
        "preset": name,
        "size": size,
        "frames": frames,
        "dtype": dtype,
        "device": str(device),
        "seconds_per_frame": round(min(seconds) / frames, 3),
        "runs": [round(s, 3) for s in seconds],
        "gflop_per_frame": round(estimate.gflop / frames, 1),
        "matmul_gflops_now": round(matmul_gflops(device, kind)),
        "peak_gb": round(peak / 1e9, 2),
        "peak_above_weights_gb": round((peak - before) / 1e9, 2),
        "estimated_activations_gb": round(estimate.activation_bytes / 1e9, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="vggt-1b")
    parser.add_argument("--sizes", nargs="+", default=["518x140", "518x378"])
    parser.add_argument("--frames", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--dtypes", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one_case(**json.loads(args.one))))
        return
    results = []
    for size in args.sizes:
        for frames in args.frames:
            for dtype in args.dtypes:  # in turn, so that a slow minute hits both precisions
                case = {"name": args.preset, "size": size, "frames": frames, "dtype": dtype, "repeats": args.repeats}
                child = [sys.executable, __file__, "--one", json.dumps(case)]
                done = subprocess.run(child, capture_output=True, text=True, check=True)
                results.append(json.loads(done.stdout.splitlines()[-1]))
                print(results[-1], flush=True)
    print(record("full_attention", results, "random weights; shared machine: compare ratios within this run"))


if __name__ == "__main__":
    main()
