"""A clip of the synthetic 4D world, written as a plain posed folder and read back, with a picture of its truth.

    python examples/04_synthetic_world.py [--seed 24] [--out out/04_world]

The folder is the simplest of the layouts the package reads: `rgb/`, `poses.txt`, `intrinsics.txt`, `depth/`, `mask/`.
Footage of your own in it can be trained on, evaluated and masked like every public data set (docs/data.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from openmore.data.datasets.registry import open_dataset
from openmore.data.sample import Sample
from openmore.data.synthetic import Recipe, make_clip
from openmore.io.colours import ramp
from openmore.io.preview import inverse_depth, motion_overlay
from openmore.io.trajectories import Trajectory, write_tum


def main(seed: int, out: Path) -> None:
    """Make, write, read back, draw."""
    clip = make_clip(seed, frames=6, shape=(126, 168), recipe=Recipe(movers=(3, 6)))
    # Readers of real data leave out what they do not know; the synthetic world knows everything.
    assert clip.motion is not None and clip.flow_forward is not None and clip.instances is not None
    flow = np.linalg.norm(clip.flow_forward[:-1], axis=1)  # the last frame has no next one
    print(f"{clip.name}: {len(clip)} frames of {clip.shape}, {clip.times_s[-1]:.2f} s")
    print(
        f"depth {clip.depth[clip.valid_depth].min():.2f}..{clip.depth.max():.2f} m, flow up to {np.nanmax(flow):.1f} px"
    )
    print(f"{(clip.motion == 1).mean():.1%} of the pixels move; {len(np.unique(clip.instances))} instances")

    write_posed_folder(clip, out / "clip")
    dataset = open_dataset("posed_folder", out / "clip")
    (name,) = dataset.names()
    back = dataset.load(name, dataset.frame_ids(name))
    print(f"\nread back, it knows {', '.join(dataset.truth(name))}")
    for kind in ("images", "depth", "motion"):
        print(f"{kind} equal: {np.array_equal(getattr(back, kind), getattr(clip, kind))}")
    print(f"cameras differ by {np.abs(back.world_from_cam - clip.world_from_cam).max():.0e} at most")

    Image.fromarray(picture(clip, (0, 2, 5))).save(out / "truth.png")
    print(f"\npicture | depth | movers: {out / 'truth.png'}")


def write_posed_folder(clip: Sample, folder: Path) -> None:
    """`clip` in the layout of openmore.data.datasets.posed_folder."""
    assert clip.motion is not None
    for name in ("rgb", "depth", "mask"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for s in range(len(clip)):
        Image.fromarray(clip.images[s]).save(folder / "rgb" / f"{s:06d}.png")
        Image.fromarray((clip.motion[s] == 1) * np.uint8(255)).save(folder / "mask" / f"{s:06d}.png")
        np.save(folder / "depth" / f"{s:06d}.npy", clip.depth[s])
    write_tum(folder / "poses.txt", Trajectory(clip.times_s, clip.world_from_cam))
    (fx, _, cx), (_, fy, cy), _ = clip.K[0].tolist()
    height, width = clip.shape
    (folder / "intrinsics.txt").write_text(f"{fx!r} {fy!r} {cx!r} {cy!r} {width} {height}\n")


def picture(clip: Sample, frames: tuple[int, ...]) -> np.ndarray:
    """[H, W, 3] uint8: a row per frame, picture | inverse depth | movers tinted."""
    assert clip.motion is not None
    near = inverse_depth(clip.depth)
    rows = [
        np.concatenate((clip.images[s], ramp(near[s] / near.max()), motion_overlay(clip.images[s], clip.motion[s])), 1)
        for s in frames
    ]
    return np.concatenate(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("out/04_world"))
    given = parser.parse_args()
    main(given.seed, given.out)
