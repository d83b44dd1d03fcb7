"""How far `small` is from the numbers it was asked for: synthetic clips and real clips, network alone and as shipped.

    python -m benchmarks.small_numbers [--rows network default] [--count 64] [--clips DIR] [--weights small]

`network` is the network's own cameras, depth and masks; `default` is what `openmore reconstruct` gives (cameras solved
from matches). Writes results/small_numbers.json: every figure beside its target and beside the guess it must beat, and
where depth and masks are lost: by how far the camera goes, and by how large the movers are.
Predictions are cached in --out: a second run only measures.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._record import record
from openmore.data.datasets.base import Dataset
from openmore.evaluation.network import Network
from openmore.evaluation.protocols.base import Row
from openmore.evaluation.protocols.clips import Clips
from openmore.evaluation.protocols.synthetic import Synthetic
from openmore.evaluation.suite import Result, run

ROWS = {"network": "none", "default": "auto"}
FRAMES = 8
ROTATION_CLIPS = ("kitti01", "kitti06", "tum_fr1", "hololens")
DEPTH_CLIPS = ("tum_fr1", "hololens")
FIXED_CLIPS = ("static_",)
PARALLAX = (0.0, 1.0, 10.0, float("inf"))  # pixels, first to last frame
MOVING = (0.0, 1e-9, 0.01, 1.0)  # share of the pixels


def check(name: str, value: float | None, target: float, guess: float | None = None, more: bool = False) -> Row:
    """One line: what, how much, what was asked, what a guess gives, whether it is reached."""
    reached = value is not None and (value >= target if more else value <= target)
    return {"what": name, "value": value, "target": target, "guess": guess, "reached": reached}


def synthetic_checks(result: Result) -> list[Row]:
    """The four figures on unseen synthetic clips, medians over clips."""
    s = result.summary
    return [
        check("ATE after Sim(3) / motion", s.get("ate_share"), 0.20, 1.0),
        check("rotation, any pair (deg)", s.get("rotation_deg"), 2.0, s.get("no_rotation_deg")),
        check("depth AbsRel", s.get("abs_rel"), 0.15, s.get("constant_abs_rel")),
        check("motion mask IoU", s.get("j_mean"), 0.6, 0.0, more=True),
    ]


def real_checks(result: Result) -> list[Row]:
    """Clip by clip: rotation against half of "no rotation", drift of fixed cameras, depth against a constant."""
    lines = []
    for clip, row in sorted(result.sequences.items()):
        if clip.startswith(ROTATION_CLIPS) and "rotation_deg" in row:
            still = float(row["no_rotation_deg"])
            lines.append(check(f"{clip}: rotation, any pair (deg)", float(row["rotation_deg"]), still / 2, still))
        if clip.startswith(FIXED_CLIPS) and "drift" in row:
            lines.append(check(f"{clip}: drift / depth", float(row["drift"]), 0.05))
        if clip.startswith(DEPTH_CLIPS) and "abs_rel" in row:
            constant = float(row["constant_abs_rel"])
            lines.append(check(f"{clip}: depth AbsRel", float(row["abs_rel"]), constant, constant))
    return lines


def where(result: Result, truth: dict[str, tuple[float, float]]) -> list[Row]:
    """Medians and means of AbsRel and IoU over the clips of each kind; `truth` is `kinds`."""
    rows: list[Row] = []
    for name, limits, at, keys in (
        ("all", (0.0, float("inf")), 0, ("abs_rel", "constant_abs_rel", "j_mean")),
        ("parallax px", PARALLAX, 0, ("abs_rel", "constant_abs_rel")),
        ("moving share", MOVING, 1, ("j_mean",)),
    ):
        for low, high in pairwise(limits):
            of = [row for clip, row in result.sequences.items() if low <= truth[clip][at] < high]
            values = {key: [float(row[key]) for row in of if key in row] for key in keys}
            medians = {key: float(np.median(found)) for key, found in values.items() if found}
            means = {f"mean {key}": float(np.mean(found)) for key, found in values.items() if found}
            rows.append({"of": name, "from": low, "below": high, "clips": len(of), **medians, **means})
    return rows


def kinds(dataset: Dataset) -> dict[str, tuple[float, float]]:
    """Per clip: median parallax between its first and last frame, pixels; and the share of its pixels that move."""
    found = {}
    for name in dataset.names():
        clip = dataset.load(name, dataset.frame_ids(name))
        way = float(np.linalg.norm(clip.world_from_cam[-1][:3, 3] - clip.world_from_cam[0][:3, 3]))
        depth = np.asarray(clip.depth)[np.asarray(clip.valid)]
        parallax = float(clip.K[0][0, 0]) * way / float(np.median(depth)) if depth.size else 0.0
        found[name] = (parallax, float((np.asarray(clip.motion) == 1).mean()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="small")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--count", type=int, default=64, help="synthetic clips; 0 leaves them out")
    parser.add_argument("--clips", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "build" / "small_numbers")
    parser.add_argument("--name", default="small_numbers", help="of the result file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    methods = [Network(args.weights, "full", refine=ROWS[row], label=row) for row in args.rows]
    found: dict[str, Any] = {row: {} for row in args.rows}
    explained: dict[str, list[Row]] = {}
    cpu = time.process_time()
    if args.count:
        protocol = Synthetic(count=args.count, frames=FRAMES)
        truth = kinds(protocol.dataset(Path()))
        for result in run(protocol, methods, Path(), args.out / "synthetic"):
            found[result.method]["synthetic"] = synthetic_checks(result)
            explained[result.method] = where(result, truth)
    if args.clips.is_dir():
        for result in run(Clips(), methods, args.clips, args.out / "clips"):
            found[result.method]["real"] = real_checks(result)
    for row, parts in found.items():
        for line in (line for part in parts.values() for line in part):
            guess = "" if line["guess"] is None else f"   (guess {line['guess']:.3f})"
            value = "-" if line["value"] is None else f"{line['value']:.3f}"
            mark = "reached" if line["reached"] else "missed"
            print(f"{row:8} {line['what']:45} {value:>8}   target {line['target']:.3f}   {mark}{guess}")
    weights = {key: methods[0].model.provenance.get(key) for key in ("name", "sha256")}
    note = (
        f"{args.count} synthetic clips of {FRAMES} frames; medians over clips; {time.process_time() - cpu:.0f} s of CPU"
    )
    for row, lines in explained.items():
        for line in lines:
            print(
                f"{row:8}", "  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items())
            )
    print(record(args.name, {"weights": weights, **found, "where": explained}, note))


if __name__ == "__main__":
    main()
