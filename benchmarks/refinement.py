"""Cameras of geometric refinement against the network's own and against SIFT + essential-matrix odometry.

    python benchmarks/refinement.py clips [--clips DIR]      -> results/refinement_clips.json
    python benchmarks/refinement.py synthetic [--count 64]   -> results/refinement_synthetic.json

Every method gets the pictures; those named "+K" and the plain "two-view SIFT" get the true intrinsics as well. Time is
processor seconds per frame of everything a method does, the network included.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
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
    "cpu_seconds_per_frame"
).split()


def cases(dataset: Any) -> Iterator[Case]:
    """Every clip that has true cameras."""
    for name in dataset.names():
        if "cameras" in dataset.truth(name):
            frames = tuple(dataset.frame_ids(name))
            yield Case(Job(name, frames), dataset.load(name, frames), dataset.truth(name))


def measure(method: Any, case: Case) -> dict[str, Any]:
    """One method on one clip."""
    begun = time.process_time()
    prediction = method.predict(case.clip)
    spent = time.process_time() - begun
    row = camera_metrics(prediction.world_from_cam, prediction, case)
    row["cpu_seconds_per_frame"] = spent / len(case.sample)
    path = np.linalg.norm(np.diff(case.sample.world_from_cam[:, :3, 3], axis=0), axis=1).sum()
    if "ate" in row:
        row["ate_path"] = row["ate"] / path
    return {key: round(float(row[key]), 6) for key in KEEP if key in row}


def run(dataset: Any, methods: list[Any]) -> dict[str, Any]:
    """Rows per clip and method, printed as they come."""
    rows: dict[str, Any] = {}
    begun = time.perf_counter()
    for case in cases(dataset):
        row = {method.name: measure(method, case) for method in methods}
        moving = None if case.sample.motion is None else float((case.sample.motion == 1).mean())
        rows[case.job.sequence] = {"frames": len(case.sample), "moving_share": moving, "methods": row}
        for name, values in row.items():
            print(f"{case.job.sequence:30} {name:28}", " ".join(f"{k}={v:.4g}" for k, v in values.items()), flush=True)
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
    parser.add_argument("--dry", action="store_true", help="print only")
    args = parser.parse_args()
    methods = [
        TwoView(),
        TwoView(known_K=False),
        Network("small"),
        Network("small", refine="geometry"),
        Network("small", refine="geometry", known_K=True),
        Network("small", "stream-window16", refine="geometry", known_K=True),
    ]
    dataset = PosedFolder(args.clips, fill_missing=True) if args.suite == "clips" else None
    results = run(dataset or SyntheticClips(args.count, args.frames), methods)
    results["summary"] = summary(results["clips"])
    if not args.dry:
        record(f"refinement_{args.suite}", results)


if __name__ == "__main__":
    main()
