"""How far `small` is from the numbers it was asked for: synthetic clips and real clips, network alone and as shipped.

    python -m benchmarks.small_numbers [--rows network default] [--count 64] [--clips DIR] [--weights small]

`network` is the network's own cameras, depth and masks; `default` is what `openmore reconstruct` gives (cameras solved
from matches). Writes results/small_numbers.json: every figure beside its target and beside the guess it must beat.
Predictions are cached in --out: a second run only measures.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks._record import record
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
    cpu = time.process_time()
    if args.count:
        for result in run(Synthetic(count=args.count, frames=FRAMES), methods, Path(), args.out / "synthetic"):
            found[result.method]["synthetic"] = synthetic_checks(result)
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
    print(record(args.name, {"weights": weights, **found}, note))


if __name__ == "__main__":
    main()
