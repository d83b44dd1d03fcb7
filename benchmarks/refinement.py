"""Cameras of geometric refinement against the network's own and against SIFT + essential-matrix odometry.

    python benchmarks/refinement.py clips [--clips DIR]      -> results/refinement_clips.json
    python benchmarks/refinement.py synthetic [--count 64]   -> results/refinement_synthetic.json

Every method gets the pictures; those named "+K" and the plain "two-view SIFT" get the true intrinsics as well. Time is
seconds per frame of everything a method does, the network and dense depth included: of the processor, and on the
wall with the threads there are (worth reading with `--jobs 1` on a machine with nothing else to do).
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._record import record
from openmore.data.datasets.posed_folder import PosedFolder
from openmore.data.datasets.synthetic import SyntheticClips
from openmore.evaluation.baselines import TwoView
from openmore.evaluation.network import Network
from openmore.evaluation.protocols.base import Case, Job
from openmore.evaluation.protocols.clips import camera_metrics

KEEP = (
    "rotation_step_deg rotation_deg ate ate_share ate_path drift drift_deg sampson_px sampson_true_px focal_relative "
    "cpu_seconds_per_frame wall_seconds_per_frame"
).split()


METHODS = {
    "clips": ("sift", "sift-no-K", "network", "geometry", "geometry+K", "stream+K"),
    "synthetic": ("sift", "sift-no-K", "geometry"),
}


def method(name: str) -> Any:
    """One method under test."""
    if name.startswith("sift"):
        return TwoView(known_K=name == "sift")
    if name == "network":
        return Network("small")
    mode = "stream-window16" if name.startswith("stream") else "full"
    return Network("small", mode, refine="geometry", known_K=name.endswith("+K"))


def dataset_of(args: argparse.Namespace) -> Any:
    if args.suite == "clips":
        return PosedFolder(args.clips, fill_missing=True)
    return SyntheticClips(args.count, args.frames)


def case_of(dataset: Any, name: str) -> Case:
    """A clip with its truth."""
    frames = tuple(dataset.frame_ids(name))
    return Case(Job(name, frames), dataset.load(name, frames), dataset.truth(name))


def measure(method: Any, case: Case) -> dict[str, Any]:
    """One method on one clip."""
    begun, begun_cpu = time.perf_counter(), time.process_time()
    prediction = method.predict(case.clip)
    wall, spent = time.perf_counter() - begun, time.process_time() - begun_cpu
    row = camera_metrics(prediction.world_from_cam, prediction, case)
    row["cpu_seconds_per_frame"], row["wall_seconds_per_frame"] = spent / len(case.sample), wall / len(case.sample)
    path = np.linalg.norm(np.diff(case.sample.world_from_cam[:, :3, 3], axis=0), axis=1).sum()
    if "ate" in row:
        row["ate_path"] = row["ate"] / path
    return {key: round(float(row[key]), 6) for key in KEEP if key in row}


def one_clip(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """All methods on one clip, printed as they come."""
    case = case_of(dataset_of(args), name)
    rows = {}
    for under_test in map(method, METHODS[args.suite]):
        row = rows[under_test.name] = measure(under_test, case)
        print(f"{name:30} {under_test.name:28}", " ".join(f"{k}={v:.4g}" for k, v in row.items()), flush=True)
    moving = None if case.sample.motion is None else float((case.sample.motion == 1).mean())
    return {"frames": len(case.sample), "moving_share": moving, "methods": rows}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Rows per clip that has true cameras, and method."""
    dataset, begun = dataset_of(args), time.perf_counter()
    names = [name for name in dataset.names() if "cameras" in dataset.truth(name)]
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        rows = dict(zip(names, pool.map(one_clip, [args] * len(names), names)))
    return {"wall_seconds": round(time.perf_counter() - begun, 1), "clips": rows}


def summary(rows: dict[str, Any]) -> dict[str, Any]:
    """Medians over clips."""
    out: dict[str, Any] = {}
    for name in next(iter(rows.values()))["methods"]:
        values = [row["methods"][name] for row in rows.values()]
        out[name] = {k: round(float(np.median([v[k] for v in values if k in v])), 6) for k in KEEP if k in values[0]}
        out[name] |= {
            f"{k}_90th": round(float(np.quantile([v[k] for v in values if k in v], 0.9)), 6)
            for k in ("rotation_step_deg", "rotation_deg", "ate_path")
            if k in values[0]
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=("clips", "synthetic"))
    parser.add_argument("--clips", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=1, help="clips at a time")
    parser.add_argument("--dry", action="store_true", help="print only")
    args = parser.parse_args()
    results = run(args)
    results["summary"] = summary(results["clips"])
    if not args.dry:
        record(f"refinement_{args.suite}", results)


if __name__ == "__main__":
    main()
