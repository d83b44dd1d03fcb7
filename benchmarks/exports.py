"""Seconds and peak memory of every export of a long scene.

    python benchmarks/exports.py [--frames 300] [--formats glb colmap ...]

Each export runs in its own process, so that peak memory is its own (Python and libraries included). The scene is
518x294 with a 1280x720 source video; COLMAP and nerfstudio decode it again for their pictures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._record import record
from benchmarks._scenes import peak_bytes, write_long_scene
from openmore.cli.export import default_name
from openmore.export import export, formats
from openmore.types import Reconstruction

SHAPE, ORIGINAL = (294, 518), (720, 1280)


def one_export(scene: Path, name: str, out: Path) -> dict[str, float]:
    """Export in this process and measure."""
    begun = time.perf_counter()
    path = export(Reconstruction.load(scene), out, name)
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(time.process_time(), 1),  # imports included; what a quiet machine would need
        "peak_gb": round(peak_bytes() / 1e9, 2),
        "written_mb": round(sum(file.stat().st_size for file in files) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--formats", nargs="+", default=list(formats()))
    parser.add_argument("--child", nargs=3, metavar=("SCENE", "FORMAT", "OUT"))
    args = parser.parse_args()
    if args.child:
        scene, name, out = args.child
        print(json.dumps(one_export(Path(scene), name, Path(out))))
        return
    with tempfile.TemporaryDirectory() as folder:
        scene = write_long_scene(Path(folder) / "scene", args.frames, SHAPE, ORIGINAL)
        results = {}
        for name in args.formats:
            child = [sys.executable, __file__, "--child", str(scene), name, str(Path(folder) / default_name(name))]
            run = subprocess.run(child, capture_output=True, text=True, check=True)
            results[name] = json.loads(run.stdout.splitlines()[-1])
            print(name, results[name])
    record("exports", {"frames": args.frames, "model_shape": SHAPE, "source_shape": ORIGINAL, "formats": results})


if __name__ == "__main__":
    main()
