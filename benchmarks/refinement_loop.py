"""Does matching frames that look alike far apart help a clip that comes back to where it was?

    python benchmarks/refinement_loop.py [--frames 60]   -> results/refinement_loop.json

The street of refinement_scale.py, walked forth and back with other noise in every picture; solved with and without the
look back. Errors are after the best similarity, as a share of the largest distance from the start.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._record import record
from benchmarks.refinement_scale import K, Street
from openmore.evaluation.trajectory import trajectory_errors
from openmore.refinement import survey
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--step", type=int, default=3, help="street frames between two pictures")
    args = parser.parse_args()
    half = args.frames // 2
    out = np.arange(half) * args.step
    places = np.concatenate((out, out[::-1]))
    street = Street(int(places.max()) + 1)
    results = {"frames": len(places)}
    for name, look_back in (("without", False), ("with", True)):
        results[name] = solve(street, places, look_back)
        print(name, results[name], flush=True)
    record("refinement_loop", results)


if __name__ == "__main__":
    main()
