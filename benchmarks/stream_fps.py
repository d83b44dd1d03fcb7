"""Frames per second end to end: a video file decoded, sized, reconstructed and handed over.

    python benchmarks/stream_fps.py [--preset small] [--long-side 224] [--window 16] [--frames 120]

The video is made here: 640x480 H.264. `live` also counts what a camera at 30 frames per second would lose. Random
weights: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._models import random_model
from benchmarks._record import record
from openmore.io.video import write_video
from openmore.streaming.live import Meter, run
from openmore.streaming.session import StreamingSession
from openmore.streaming.sinks import Callback
from openmore.streaming.streamers import InputStreamer, OutputStreamer


def make_video(path: Path, frames: int) -> Path:
    """A textured world that pans."""
    world = np.random.default_rng(0).integers(0, 256, (75, 160, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    write_video(path, (world[i : i + 480, 4 * i : 4 * i + 640] for i in range(frames)), fps=30)
    return path


def one_run(preset: str, dtype: str, long_side: int, window: int, video: Path) -> dict[str, Any]:
    """One pass over the video, model already loaded."""
    model, meter = random_model(preset, dtype).pack(), Meter()
    outputs = {"camera", "depth", "motion"} & set(model.config.heads)
    with (
        StreamingSession(model, window=window, outputs=outputs, long_side=long_side) as session,
        InputStreamer(video) as frames,
        OutputStreamer([Callback(lambda prediction: None)]) as output,
    ):
        begun = time.perf_counter()
        count = run(session, frames, output, meter=meter)
        seconds = time.perf_counter() - begun
        shape = session.sizing.model_shape if session.sizing else None
    return {
        "dtype": dtype,
        "window": window,
        "model_shape": shape,
        "frames": count,
        "fps": round(count / seconds, 2),
        "fps_recent": round(meter.fps, 2),
        "latency_p50_ms": round(meter.latency_ms(50), 1),
        "latency_p95_ms": round(meter.latency_ms(95), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--long-side", type=int, default=224)
    parser.add_argument("--window", type=int, nargs="+", default=[16, 5])
    parser.add_argument("--frames", type=int, default=120)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        video = make_video(Path(folder) / "clip.mp4", args.frames)
        for window in args.window:
            for dtype in ("fp32", "bf16"):
                rows.append(one_run(args.preset, dtype, args.long_side, window, video))
                print(rows[-1], flush=True)
    print(record("stream_fps", {"preset": args.preset, "source": "640x480 H.264", "rows": rows}))


if __name__ == "__main__":
    main()
