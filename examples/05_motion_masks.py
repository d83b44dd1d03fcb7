"""Motion masks from optical flow and geometry on a clip whose truth is known: how good is each ingredient?

    python examples/05_motion_masks.py [--seed 21] [--out out/05_masks]

The pipeline subtracts the flow that the camera's motion explains from the flow that is observed; regions with a large
rest move. Three runs, from perfect to realistic: exact flow and exact regions, exact flow and superpixels, estimated
flow and superpixels. Geometry is the clip's own; `openmore.masks.clip.clip_from_reconstruction` takes a scene's.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from openmore.data.synthetic import Recipe, make_clip
from openmore.evaluation.motion import mask_errors
from openmore.flow.exact import ExactFlow
from openmore.io.preview import motion_overlay
from openmore.masks.clip import clip_from_sample
from openmore.masks.pipeline import MaskOptions, extract_masks
from openmore.masks.segments import InstanceIds


def main(seed: int, out: Path) -> None:
    """Extract three times, compare each with the truth, draw one frame."""
    truth = make_clip(seed, frames=5, shape=(168, 224), recipe=Recipe(movers=(3, 6)))
    assert truth.motion is not None and truth.instances is not None
    assert truth.flow_forward is not None and truth.flow_backward is not None
    clip = clip_from_sample(truth)

    flow = ExactFlow(truth.images, truth.flow_forward, truth.flow_backward)
    regions = InstanceIds(truth.instances)
    # Exact flow exists for neighbouring frames of this very clip: no wider offsets, no warped pictures.
    exact = replace(MaskOptions(), offsets=(-1, 1), stabilise=False)
    results = {
        "exact flow, exact regions": extract_masks(clip, exact, flow=flow, segmenter=regions),
        "exact flow, superpixels": extract_masks(clip, exact, flow=flow),
        "DIS flow, superpixels (the default)": extract_masks(clip),
    }

    moving = truth.motion == 1
    print(f"{truth.name}: {moving.mean():.1%} of the pixels move")
    for name, result in results.items():
        errors = mask_errors(np.stack(result.masks) == 1, moving)
        print(f"{name:<36} IoU {errors.j_mean:.3f}   boundary F {errors.f_mean:.3f}")

    frame = next(iter(results.values())).report.frames[2]
    print(f"\nwhy, in frame 2: regions above {frame.threshold:.2f} px of residual flow move")
    for segment in sorted(frame.segments, key=lambda s: s.median or 0, reverse=True)[:5]:
        print(f"  region {segment.id:>2}: {segment.area:>5} px, {segment.reason}")

    out.mkdir(parents=True, exist_ok=True)
    tiles = [
        motion_overlay(truth.images[2], mask == 1)
        for mask in (truth.motion[2], *(r.masks[2] for r in results.values()))
    ]
    Image.fromarray(np.concatenate(tiles, axis=1)).save(out / "masks.png")
    print(f"\ntruth, then the three runs: {out / 'masks.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--out", type=Path, default=Path("out/05_masks"))
    given = parser.parse_args()
    main(given.seed, given.out)
