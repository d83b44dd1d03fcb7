"""A clip of the synthetic 4D world, written to a folder and read back, with a picture of its truth.

    python examples/04_synthetic_world.py [--seed 24] [--out out/04_world]

A seed fixes every byte of a clip. The folder keeps everything the world knows without losing a bit; it is at the same
time a plain posed folder (`rgb/`, `poses.txt`, `intrinsics.txt`, `depth/`), the simplest layout for footage of your own
(docs/data.md). `openmore synth` writes such folders by the hundred.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from openmore.data.datasets.registry import open_dataset
from openmore.data.sample import Sample
from openmore.data.sample_folder import read_sample, write_sample
from openmore.data.synthetic import Recipe, make_clip
from openmore.io.colours import ramp
from openmore.io.preview import inverse_depth, motion_overlay


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

    folder = write_sample(clip, out / "clip", overwrite=True)
    back = read_sample(folder)
    equal = {key: np.array_equal(value, vars(back)[key], equal_nan=True) for key, value in clip.arrays().items()}
    print(f"\nread back bit for bit: {', '.join(equal) if all(equal.values()) else 'NO'}")

    dataset = open_dataset("posed_folder", folder)
    (name,) = dataset.names()
    posed = dataset.load(name, dataset.frame_ids(name))
    error = np.abs(posed.world_from_cam - clip.world_from_cam).max()
    print(f"as a plain posed folder it knows {', '.join(dataset.truth(name))}; cameras differ by {error:.0e} at most")

    Image.fromarray(picture(clip, (0, 2, 5))).save(out / "truth.png")
    print(f"\npicture | depth | movers: {out / 'truth.png'}")


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
