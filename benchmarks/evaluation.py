"""Our weights and the network-free baselines on synthetic clips and on the posed clips beside the checkout.

    python benchmarks/evaluation.py [--weights small ...] [--modes full stream] [--clips DIR] [--out DIR]

Writes results/evaluation_clips.json and results/evaluation_synthetic.json, from which docs/evaluation.md is made
(benchmarks/evaluation_page.py). Predictions are cached in --out: a second run only measures.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._record import record
from openmore.evaluation.baselines import BASELINES
from openmore.evaluation.network import Network
from openmore.evaluation.protocols.base import Benchmark
from openmore.evaluation.protocols.clips import Clips
from openmore.evaluation.protocols.synthetic import Synthetic
from openmore.evaluation.report import write_report
from openmore.evaluation.suite import run


def measure(bench: Benchmark, methods: list[Any], data: Path, out: Path) -> dict[str, Any]:
    """Run and keep what the page needs."""
    begun, cpu = time.perf_counter(), time.process_time()
    results = run(bench, methods, data, out / bench.name)
    write_report(bench, results, out / bench.name)
    keep = ("method", "description", "summary", "sequences", "failures", "expected", "seconds")
    return {
        "suite": bench.name,
        "wall_seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "methods": [{key: result.as_dict()[key] for key in keep} for result in results],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", nargs="*", default=["small"])
    parser.add_argument("--modes", nargs="*", default=["full", "stream"])
    parser.add_argument("--clips", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "build" / "evaluation")
    parser.add_argument("--count", type=int, default=20)
    args = parser.parse_args()
    networks = [Network(weights, mode) for weights in args.weights for mode in args.modes]
    methods = [*networks, *(make() for make in BASELINES)]
    record("evaluation_synthetic", measure(Synthetic(count=args.count), methods, Path(), args.out))
    if args.clips.is_dir():
        note = "clips: " + ", ".join(sorted(p.name for p in args.clips.iterdir() if (p / "rgb").is_dir()))
        record("evaluation_clips", measure(Clips(), methods, args.clips, args.out), note)


if __name__ == "__main__":
    main()
