"""What the viewers cost: opening a long scene, holding it, and drawing beside a stream.

    python benchmarks/viewer.py [--frames 1000]

`open_s` is until the page can be visited and the first frame is drawn; the background then loads in a thread.
`live` offers frames to a LiveView from a busy thread (matrix products, which hold the processor as a network would).
It reports processor seconds, because wall time on a shared machine says more about the neighbours: `stream_cpu_s` is
what a frame costs the stream's own thread, `view_cpu_s` what the rest of the process adds, drawing included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._record import record
from benchmarks._scenes import peak_bytes, write_long_scene
from openmore.types import FramePrediction, Reconstruction
from openmore.viewer.live import LiveView
from openmore.viewer.page import write_page
from openmore.viewer.scene_view import SceneView
from openmore.viewer.server import open_server

SHAPE = (294, 518)
LIVE_FRAMES = 60


def opening(scene: Path) -> dict[str, float]:
    """Open, scrub through everything, and measure."""
    begun = time.perf_counter()
    view = SceneView(open_server(), {"scene": Reconstruction.load(scene)})
    while view.stages[0].drawn < 0:
        time.sleep(0.005)
    opened = time.perf_counter() - begun
    view.wait_until_loaded()
    loaded = time.perf_counter() - begun
    for frame in range(0, view.frame_count, 10):
        view.show(frame)
        while view.stages[0].drawn != frame:
            time.sleep(0.002)
    scrubbed = (time.perf_counter() - begun - loaded) / len(range(0, view.frame_count, 10))
    view.close()
    seconds = {"open_s": opened, "background_s": loaded, "seconds_per_new_frame": scrubbed}
    return {name: round(value, 3) for name, value in seconds.items()} | {"peak_gb": round(peak_bytes() / 1e9, 2)}


def page(scene: Path) -> dict[str, float]:
    """The self-contained page."""
    begun = time.perf_counter()
    path = write_page(Reconstruction.load(scene), scene.with_suffix(".html"))
    seconds = time.perf_counter() - begun
    size = path.stat().st_size / 1e6
    return {"seconds": round(seconds, 1), "page_mb": round(size, 1), "peak_gb": round(peak_bytes() / 1e9, 2)}


def live(scene: Path) -> dict[str, float]:
    """Processor seconds per frame of a stream's thread, alone and watched, and of the watching."""
    recon = Reconstruction.load(scene)
    frames = [recon.frames[i] for i in range(LIVE_FRAMES)]
    alone, _ = busy(frames, None)
    with LiveView(open_server()) as view:
        stream, others = busy(frames, view)
        view.finish()
        drawn = view.drawn
    return {
        "stream_alone_cpu_s": round(alone, 4),
        "stream_cpu_s": round(stream, 4),
        "view_cpu_s": round(others, 4),
        "cost_percent": round(100 * others / stream, 1),
        "frames_drawn": drawn,
        "frames_offered": len(frames),
    }


def busy(frames: list[FramePrediction], view: LiveView | None) -> tuple[float, float]:
    """(this thread's, the other threads') processor seconds per frame of about 0.15 s of work each."""
    a = torch.randn(1024, 1024)
    mine, everyone = time.thread_time(), time.process_time()
    for frame in frames:
        for _ in range(6):
            a = torch.tanh(a @ a)
        if view is not None:
            view.add_frame(frame)
    mine, everyone = time.thread_time() - mine, time.process_time() - everyone
    return mine / len(frames), (everyone - mine) / len(frames)


CASES = {"opening": opening, "page": page, "live": live}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--child", nargs=2, metavar=("CASE", "SCENE"))
    args = parser.parse_args()
    if args.child:
        torch.set_num_threads(1)
        print(json.dumps(CASES[args.child[0]](Path(args.child[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        scene = write_long_scene(Path(folder) / "scene", args.frames, SHAPE, SHAPE)
        results = {}
        for case in CASES:
            child = [sys.executable, __file__, "--child", case, str(scene)]
            run = subprocess.run(child, capture_output=True, text=True, check=True)
            results[case] = json.loads(run.stdout.splitlines()[-1])
            print(case, results[case])
    record("viewer", {"frames": args.frames, "model_shape": SHAPE, **results})


if __name__ == "__main__":
    main()
