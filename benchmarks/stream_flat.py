"""10,000 frames through a session: memory of the whole process and time per frame, from the first to the last.

    python benchmarks/stream_flat.py [--preset small] [--long-side 112] [--frames 10000]

Everything of a live run takes part: sizing, session, predictions as numpy, the output thread. Each policy has a
process of its own. Random weights. Times are processor time, which other users of the machine disturb least: set
OMP_NUM_THREADS=1, because waiting threads burn it too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._models import random_model
from benchmarks._record import record
from openmore.io.frames import Frame
from openmore.streaming.live import run
from openmore.streaming.policy import Budget, Policy, Specials, Window
from openmore.streaming.session import StreamingSession
from openmore.streaming.sinks import Callback
from openmore.streaming.speed import resident_bytes
from openmore.streaming.streamers import OutputStreamer
from openmore.types import FramePrediction

POLICIES: dict[str, Policy | Budget] = {
    "window": Window(16),
    "budget": Budget(10),
    "specials": Specials(8, 1, 256),
}
SETTLED = 500  # by then every buffer has its size, and the oldest special token has been evicted


def pictures(count: int) -> Iterator[Frame]:
    clip = np.random.default_rng(0).integers(0, 256, (32, 120, 160, 3), dtype=np.uint8)
    for i in range(count):
        yield Frame(i, i / 30, clip[i % 32], "random")


def one_policy(name: str, preset: str, long_side: int, frames: int) -> dict[str, Any]:
    """Resident memory and median time around a few points of the run."""
    model = random_model(preset).pack()
    times_s, memory_mb = [], []
    begun = time.process_time()

    def step(_: FramePrediction) -> None:
        nonlocal begun
        now = time.process_time()
        times_s.append(now - begun)
        memory_mb.append(resident_bytes() / 1e6)
        begun = now

    with (
        StreamingSession(model, policy=POLICIES[name], long_side=long_side) as session,
        OutputStreamer([Callback(lambda prediction: None)]) as output,
    ):
        run(session, pictures(frames), output, on_step=step)
        cache_mb = session.memory_mb
    settled = memory_mb[SETTLED:]
    around = {
        str(n): round(1e3 * median(times_s[n - 50 : n + 50]), 2) for n in (100, SETTLED, frames // 2, frames - 50)
    }
    return {
        "policy": repr(POLICIES[name]),
        "frames": frames,
        "cache_mb": round(cache_mb, 2),
        "resident_mb": {str(n): round(memory_mb[n - 1], 1) for n in (100, SETTLED, frames // 2, frames)},
        "spread_after_500_percent": round(100 * (max(settled) - min(settled)) / min(settled), 2),
        "median_processor_ms_around": around,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--long-side", type=int, default=112)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--policy", choices=POLICIES)
    args = parser.parse_args()
    if args.policy:
        print(json.dumps(one_policy(args.policy, args.preset, args.long_side, args.frames)))
        return
    rows = []
    for name in POLICIES:
        command = [sys.executable, __file__, "--policy", name, "--preset", args.preset]
        command += ["--long-side", str(args.long_side), "--frames", str(args.frames)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    print(record("stream_flat", {"preset": args.preset, "long_side": args.long_side, "rows": rows}))


if __name__ == "__main__":
    main()
