"""Latency and memory of the published size on a CUDA GPU: windows, dtypes, with and without CUDA graphs.

    python benchmarks/stream_gpu.py [--sizes 518x140 518x378] [--windows 5 16 64] [--frames 100]

Random weights, cameras and depth (no point head), one synchronisation per frame.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._models import random_model
from benchmarks._record import record
from openmore.cli.bench import parse_size, time_window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="vggt-1b")
    parser.add_argument("--sizes", nargs="+", default=["518x140", "518x378"])
    parser.add_argument("--windows", type=int, nargs="+", default=[5, 8, 16, 64])
    parser.add_argument("--frames", type=int, default=100)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a CUDA GPU")
    rows = []
    for dtype in ("bf16", "fp32"):
        model = random_model(args.preset, dtype, "cuda")
        for size, window, graphs in itertools.product(args.sizes, args.windows, (False, True)):
            heads = frozenset({"camera", "depth"})
            speed = time_window(model, parse_size(size), window, args.frames, heads, None, graphs)
            rows.append({"dtype": dtype, "size": size, "window": window, "graphs": graphs, **speed.to_dict()})
            print(rows[-1], flush=True)
    print(record("stream_gpu", {"preset": args.preset, "rows": rows}))


if __name__ == "__main__":
    main()
