"""Reconstruct a clip, keep it as a scene folder, and hand it to other programs: PLY, COLMAP, nerfstudio.

    python examples/02_reconstruct_and_export.py [clip.mp4] [--weights small] [--keep-movers]

Without a clip a synthetic one is made. The COLMAP and nerfstudio projects are opened again with the package's own
readers, so the last lines printed are a check of the conventions, not a promise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import openmore
from openmore.data.datasets.registry import open_dataset
from openmore.data.synthetic import make_clip
from openmore.io.video import write_video


def main(source: Path | None, weights: str, static_only: bool, out: Path) -> None:
    """Reconstruct, save, export, read back."""
    out.mkdir(parents=True, exist_ok=True)
    clip = source or write_video(out / "clip.mp4", make_clip(12, frames=8, shape=(126, 168)).images, fps=10)

    scene = openmore.reconstruct(clip, weights=weights)
    for warning in scene.info.warnings:
        print(f"warning: {warning}")
    print(f"{len(scene)} frames; cameras {scene.world_from_cam.shape}, depth {scene.depth.shape} in scene units")
    scene.save(out / "scene", overwrite=(out / "scene").exists())

    # A loaded scene is lazy: cameras at once, dense arrays when asked for. Everything below works on it.
    scene = openmore.Reconstruction.load(out / "scene")
    scene.export(out / "scene.ply", overwrite=True)  # the suffix names the format
    for name in ("colmap", "nerfstudio"):  # folder formats are named
        scene.export(out / name, format=name, static_only=static_only, overwrite=True)
        dataset = open_dataset(name, out / name)
        (sequence,) = dataset.names()
        back = dataset.load(sequence, dataset.frame_ids(sequence))
        error = np.abs(back.world_from_cam - scene.world_from_cam).max()
        print(f"{name:<11} read back: {len(back)} pictures of {back.shape}, cameras differ by {error:.0e} at most")
    print(f"\nin the browser: openmore view {out / 'scene'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help="video, folder of pictures or glob")
    parser.add_argument("--weights", default="small", help="name, file, or untrained:tiny to try without weights")
    parser.add_argument("--out", type=Path, default=Path("out/02_export"))
    parser.add_argument("--keep-movers", action="store_true", help="leave moving objects in the exported points")
    given = parser.parse_args()
    main(given.source, given.weights, not given.keep_movers, given.out)
