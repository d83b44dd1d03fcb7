"""Many clips: clips per minute of the local and the Ray executor, and what each adds to a clip.

    python -m benchmarks.scale            # results/scale.json; needs pip install 'openmore[scale]' for the Ray rows

Choices
- Work: motion masks of synthetic clips (8 frames of 168 x 224) with the default backends; wall seconds with the start
  of workers and interpreters, as a user waits for them.
- Overhead: a task that only writes a file, on few and on many clips; the slope is what a clip costs beside its work,
  the intercept is the start.
- One thread per worker everywhere, so that executors do not differ in threads.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._record import record
from openmore.scale import Item, Task, run_job
from openmore.scale.work import Runner

ROOT = Path(__file__).parents[1]
NOTHING = Task("benchmarks.scale:nothing")
MASKS = Task("masks", {})


def nothing() -> Runner:
    """A task without work."""

    def run(item: Item, folder: Path) -> None:
        (folder / "done.txt").write_text(item.id)

    return run


def write_clips(folder: Path, count: int) -> list[Item]:
    """Synthetic clips as folders of pictures."""
    from PIL import Image

    from openmore.data.synthetic import Recipe, make_clip

    items = []
    for seed in range(count):
        clip = folder / f"clip{seed:03d}"
        clip.mkdir()
        for t, image in enumerate(make_clip(3000 + seed, 8, recipe=Recipe(movers=(1, 6))).images):
            Image.fromarray(image).save(clip / f"{t:03d}.png")
        items.append(Item(clip.name, str(clip)))
    return items


def timed(items: Sequence[Item], task: Task, executor: str, workers: int) -> dict[str, float]:
    """Wall seconds of a job from nothing, and until its first clip."""
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        begun = time.perf_counter()
        watch = lambda *_: marks.append(time.perf_counter() - begun)  # noqa: E731
        summary = run_job(items, out, task, executor=executor, workers=workers, progress=watch)  # type: ignore[arg-type]
        seconds = time.perf_counter() - begun
    stop_ray()
    if summary.done != len(items):
        raise SystemExit(f"{executor}: {summary.failed} failed")
    return {"seconds": round(seconds, 2), "first_clip_after": round(marks[0], 2)}


def stop_ray() -> None:
    """Every measurement starts its own cluster."""
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def throughput(items: list[Item], executor: str, workers: int) -> dict[str, Any]:
    """Clips per minute of real work."""
    row = timed(items, MASKS, executor, workers)
    print(executor, workers, row, flush=True)
    return {
        "executor": executor, "workers": workers, "clips": len(items), **row,
        "clips_per_minute": round(60 * len(items) / row["seconds"], 2),
    }  # fmt: skip


def overhead(executor: str, workers: int, few: int, many: int) -> dict[str, Any]:
    """Milliseconds that the executor adds to a clip, and seconds it takes to start."""
    seconds = [
        timed([Item(f"i{n}", "none") for n in range(count)], NOTHING, executor, workers)["seconds"]
        for count in (few, many)
    ]
    slope = (seconds[1] - seconds[0]) / (many - few)
    row = {"executor": executor, "workers": workers, "ms_per_clip": round(1000 * slope, 2)}
    row |= {"start_seconds": round(seconds[0] - slope * few, 2), "clips": [few, many]}
    print(row, flush=True)
    return row


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--many", type=int, default=200)
    given = parser.parse_args()
    sys.argv[0] = "-m benchmarks.scale"  # what the record says, wherever it ran
    # Worker processes, Ray's too, must find this module and use one thread each.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    os.environ["OMP_NUM_THREADS"] = "1"
    executors = (("local", 0), ("local", 1), ("local", 2), ("ray", 2))
    with tempfile.TemporaryDirectory() as folder:
        items = write_clips(Path(folder), given.clips)
        rows = [throughput(items, *executor) for executor in executors]
    costs = [overhead(*executor, few=20, many=given.many) for executor in executors[1:]]
    print(record("scale", {"throughput": rows, "overhead": costs}))


if __name__ == "__main__":
    main()
