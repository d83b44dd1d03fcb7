"""Our weights and the network-free baselines on synthetic clips and on the posed clips beside the checkout.

    python benchmarks/evaluation.py [--weights small ...] [--clips DIR] [--out DIR] [--fresh]

Rows of each weights: full, stream, and full with cameras solved from matches ("+geometry"), beside the baselines.
Writes results/evaluation_clips.json and results/evaluation_synthetic.json and remakes docs/evaluation.md from them.
Predictions are cached in --out: a second run only measures; --fresh forgets them, so that seconds are of one machine.
--collect runs nothing: it records what runs before (this script's, or `openmore evaluate ... -o OUT`) left in --out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._record import record
from benchmarks.evaluation_page import PAGE, page
from openmore.evaluation.baselines import BASELINES
from openmore.evaluation.network import Network
from openmore.evaluation.protocols.base import Benchmark
from openmore.evaluation.protocols.clips import Clips
from openmore.evaluation.protocols.synthetic import Synthetic
from openmore.evaluation.report import write_report
from openmore.evaluation.suite import run, slug

# row -> (mode, refinement)
KEPT = ("method", "description", "summary", "sequences", "failures", "expected", "seconds")
ROWS = {"full": ("full", "none"), "stream": ("stream", "none"), "geometry": ("full", "geometry")}


def measure(bench: Benchmark, methods: list[Any], data: Path, out: Path) -> dict[str, Any]:
    """Run and keep what the page needs."""
    begun, cpu = time.perf_counter(), time.process_time()
    results = run(bench, methods, data, out / bench.name)
    write_report(bench, results, out / bench.name)
    return {
        "suite": bench.name,
        "wall_seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "methods": [{key: result.as_dict()[key] for key in KEPT} for result in results],
    }


def collect(bench: Benchmark, names: list[str], out: Path) -> dict[str, Any] | None:
    """What `measure` returns, from results.json of earlier runs; None when one is missing. Their time is not known."""
    files = [out / bench.name / slug(name) / "results.json" for name in names]
    if not all(file.is_file() for file in files):
        return None
    methods = [{key: found[key] for key in KEPT} for found in (json.loads(file.read_text()) for file in files)]
    return {"suite": bench.name, "wall_seconds": None, "cpu_seconds": None, "methods": methods}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", nargs="*", default=["small"])
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--clips", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "build" / "evaluation")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--frames", type=int, default=16, help="of a synthetic clip")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--collect", action="store_true")
    args = parser.parse_args()
    if args.fresh:
        shutil.rmtree(args.out, ignore_errors=True)
    synthetic = Synthetic(count=args.count, frames=args.frames)
    if args.collect:
        rows = [(w, *ROWS[r]) for w in args.weights for r in args.rows]
        names = [f"{w} {mode}" + (f" +{refine}" if refine != "none" else "") for w, mode, refine in rows]
        names += [make().name for make in BASELINES]
        for bench in (synthetic, Clips()):
            if (found := collect(bench, names, args.out)) is not None:
                record(f"evaluation_{bench.name}", found, "collected from earlier runs on a machine with other work")
        PAGE.write_text(page())
        return
    networks = [Network(w, mode, refine=refine) for w in args.weights for mode, refine in (ROWS[r] for r in args.rows)]
    methods = [*networks, *(make() for make in BASELINES)]
    record("evaluation_synthetic", measure(synthetic, methods, Path(), args.out))
    if args.clips.is_dir():
        note = "clips: " + ", ".join(sorted(p.name for p in args.clips.iterdir() if (p / "rgb").is_dir()))
        record("evaluation_clips", measure(Clips(), methods, args.clips, args.out), note)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
