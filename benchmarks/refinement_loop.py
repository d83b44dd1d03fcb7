"""Does matching frames that look alike far apart help a clip that comes back to where it was?

    python benchmarks/refinement_loop.py [--frames 60] [--ring 300]   -> results/refinement_loop.json

The street of refinement_scale.py, walked forth and back with other noise in every picture; solved with and without the
look back. Errors are after the best similarity, as a share of the largest distance from the start.

With `--ring` also corridors round a block (_ring.py) in so many frames, where tracks are cut: with and without the
graph that closes loops. The gap is that of the last frame's place as seen from the frame of the first round nearest to
it. Seeds 0 to 12 were used to tune.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._record import record
from benchmarks._ring import K as RING_K
from benchmarks._ring import Ring
from benchmarks.refinement_scale import K, Street
from openmore.evaluation.trajectory import trajectory_errors
from openmore.refinement.matching import survey
from openmore.refinement.options import RefineOptions
from openmore.refinement.refine import refine

NOISE = 12.0  # grey values


def solve(street: Street, places: np.ndarray, look_back: bool) -> dict[str, Any]:
    """One solve of the walk through `places` (frame numbers of the street)."""

    def picture(s: int) -> np.ndarray:
        noise = np.random.default_rng(s).normal(0, NOISE, (*street(0).shape[:2], 1))
        return np.clip(street(int(places[s])) + noise, 0, 255).astype(np.uint8)

    cv2.setRNGSeed(0)
    kept = survey._look_back
    survey._look_back = kept if look_back else lambda seen: None
    begun = time.process_time()
    try:
        found = refine(picture, np.tile(np.eye(4), (len(places), 1, 1)), K, K=K)
    finally:
        survey._look_back = kept
    truth = np.tile(np.eye(4), (len(places), 1, 1))
    truth[:, 0, 3] = places
    errors = trajectory_errors(found.world_from_cam, truth).as_dict()
    far = float(places.max())
    end = np.linalg.norm(found.world_from_cam[-1, :3, 3] - found.world_from_cam[0, :3, 3])
    reach = np.linalg.norm(found.world_from_cam[:, :3, 3], axis=1).max()
    turned = np.degrees(np.arccos(np.clip((np.trace(found.world_from_cam[-1, :3, :3]) - 1) / 2, -1, 1)))
    return {
        "ate_share": round(errors["ate"] / far, 6),
        "end_gap_share": round(float(end / reach), 6),
        "end_turn_deg": round(float(turned), 4),
        "solved": found.report.count("geometry"),
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def solve_ring(ring: Ring, close_loops: bool) -> dict[str, Any]:
    """One solve of a ring."""
    cv2.setRNGSeed(0)
    begun = time.process_time()
    options = RefineOptions(close_loops=close_loops)
    found = refine(ring, np.tile(np.eye(4), (len(ring), 1, 1)), RING_K, K=RING_K, options=options)
    spent = time.process_time() - begun
    errors = trajectory_errors(found.world_from_cam, ring.world_from_cam)
    centers = ring.world_from_cam[:, :3, 3]
    again = int(np.linalg.norm(centers[: len(ring) // 2] - centers[-1], axis=1).argmin())
    truth, seen = (
        np.linalg.inv(cameras[again]) @ cameras[-1] for cameras in (ring.world_from_cam, found.world_from_cam)
    )
    gap = np.linalg.norm(errors.scale * seen[:3, 3] - truth[:3, 3]) / np.linalg.norm(centers, axis=1).max()
    turn = np.degrees(np.arccos(np.clip((np.trace(seen[:3, :3].T @ truth[:3, :3]) - 1) / 2, -1, 1)))
    return {
        "ate_share": round(errors.ate / errors.truth_rms, 5),
        "rotation_step_deg": round(errors.rpe_rotation_deg, 4),
        "end_gap_share": round(float(gap), 5),
        "end_turn_deg": round(float(turn), 4),
        "solved": found.report.count("geometry"),
        "cpu_seconds": round(spent, 1),
        "loops": [asdict(loops) for loops in found.report.loops],
    }


def solve_rings(frames: int, seeds: list[int]) -> dict[str, Any]:
    """All seeds, with and without closing."""
    rows = []
    for seed in seeds:
        ring = Ring(frames, seed=seed)
        rows.append({"seed": seed, "without": solve_ring(ring, False), "with": solve_ring(ring, True)})
        print(rows[-1], flush=True)
    return {"frames": frames, "rings": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--step", type=int, default=3, help="street frames between two pictures")
    parser.add_argument("--ring", type=int, default=0, help="frames of a long clip that comes back; 0: none")
    parser.add_argument("--seeds", type=int, nargs="*", default=[20, 21, 22], help="of the long clips")
    args = parser.parse_args()
    half = args.frames // 2
    out = np.arange(half) * args.step
    places = np.concatenate((out, out[::-1]))
    street = Street(int(places.max()) + 1)
    results: dict[str, Any] = {"frames": len(places)}
    for name, look_back in (("without", False), ("with", True)):
        results[name] = solve(street, places, look_back)
        print(name, results[name], flush=True)
    if args.ring:
        results["long"] = solve_rings(args.ring, args.seeds)
    record("refinement_loop", results)


if __name__ == "__main__":
    main()
