"""Reconstruct a clip made by the built-in generator, offline, and compare with its exact truth.

    python examples/01_demo.py [demo_out]

This is `make demo`. Nothing is downloaded: the clip, its truth and the weights come with the package.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import openmore
from openmore.data.sample import Sample
from openmore.data.synthetic import make_clip
from openmore.errors import DataError
from openmore.evaluation.depth import depth_errors
from openmore.evaluation.motion import jaccard
from openmore.evaluation.poses import invert, rotation_angles
from openmore.evaluation.trajectory import trajectory_errors
from openmore.io.video import write_video
from openmore.types import Reconstruction

SEED, FRAMES, SHAPE = 15, 8, (168, 224)  # a turning, shifting camera and something that moves


def main(folder: Path) -> None:
    """Make the clip, reconstruct it, print its accuracy and where to look."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = make_clip(SEED, frames=FRAMES, shape=SHAPE)
    clip = folder / "clip.mp4"
    write_video(clip, truth.images, fps=10)
    scene = openmore.reconstruct(clip)
    scene.save(folder / "scene", overwrite=(folder / "scene").exists())
    for warning in scene.info.warnings:
        print(f"warning: {warning}")
    for line in accuracy(scene, truth):
        print(line)
    print(f"\npictures: {folder / 'scene' / 'preview.png'}   in the browser: openmore view {folder / 'scene'}")


def accuracy(scene: Reconstruction, truth: Sample) -> list[str]:
    """One line per quantity, each beside what a guess without a network would get."""
    depth = depth_errors(scene.depth, nearest(truth.depth, scene.depth.shape[-2:]))
    guess = depth_errors(np.ones_like(scene.depth), nearest(truth.depth, scene.depth.shape[-2:]))
    lines = [f"depth AbsRel    {depth.abs_rel:.3f}   (constant depth {guess.abs_rel:.3f})"]
    estimate = relative(scene.world_from_cam) @ invert(relative(truth.world_from_cam))
    still = np.degrees(np.median(rotation_angles(relative(truth.world_from_cam)[:, :3, :3])))
    rotation = np.degrees(np.median(rotation_angles(estimate[:, :3, :3])))
    lines.append(f"rotation error  {rotation:.2f} deg median against frame 0   (no rotation {still:.2f})")
    try:
        errors = trajectory_errors(scene.world_from_cam, truth.world_from_cam)
        lines.append(f"trajectory ATE  {errors.ate:.3f} m after Sim(3)   (standing still {errors.truth_rms:.3f})")
    except DataError as error:
        lines.append(f"trajectory ATE  not measured: {error}")
    if scene.motion is not None and truth.motion is not None:
        moving = nearest(truth.motion, scene.motion.shape[-2:]) == 1
        lines.append(f"motion mask IoU {jaccard(scene.motion > 0.5, moving).mean():.3f}")
    return lines


def relative(world_from_cam: np.ndarray) -> np.ndarray:
    """Poses of frames 1.. in the first frame's axes."""
    return invert(world_from_cam[:1]) @ world_from_cam[1:]


def nearest(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Nearest-neighbour resize of [S, H, W]."""
    rows = ((np.arange(shape[0]) + 0.5) * maps.shape[1] / shape[0]).astype(int)
    columns = ((np.arange(shape[1]) + 0.5) * maps.shape[2] / shape[1]).astype(int)
    return maps[:, rows[:, None], columns]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo_out"))
