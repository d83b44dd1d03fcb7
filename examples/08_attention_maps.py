"""Where does the camera token look? Maps of every layer, and how much attention moving things get.

    python examples/08_attention_maps.py [--weights small] [--seed 24] [--out out/08_attention]

MoRe's attention forcing teaches camera tokens to look at what does not move. The number for it: the share of the
token's attention that falls on moving patches, over the share of the picture they cover. 1 is indifference, below 1 the
movers are ignored. The clip is synthetic, so the masks are exact; `openmore attention clip.mp4` does it for your video.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import openmore
from openmore.data.synthetic import Recipe, make_clip
from openmore.model.output import to_images
from openmore.viewer.attention import camera_attention_maps, moving_share
from openmore.viewer.attention_sheets import overlay, sheet


def main(weights: str, seed: int, out: Path) -> None:
    """Read the maps out of the network, measure, draw."""
    model = openmore.MoRe.from_pretrained(weights)
    side = model.config.image_size
    shape = (round(side * 0.75 / model.config.patch_size) * model.config.patch_size, side)
    clip = make_clip(seed, frames=4, shape=shape, recipe=Recipe(movers=(3, 6)))
    assert clip.motion is not None
    moving = (clip.motion == 1).astype(np.float32)

    # Frame blocks look within a frame, global blocks across the clip; one map per frame and head.
    blocks = [(kind, layer) for kind in ("frame", "global") for layer in range(model.config.depth)]
    maps = camera_attention_maps(model, to_images(list(clip.images)), blocks)
    for block in blocks:
        share = moving_share(maps[block].mean, moving)
        numbers = f"{share.attention:6.1%} of the attention on {share.area:.1%} of the picture, ratio {share.ratio:.2f}"
        print(f"{block[0]:<6} {block[1]:>2}: {numbers}")

    last = maps["frame", model.config.depth - 1].mean  # the rows attention forcing acts on
    rows = [[clip.images[s], overlay(clip.images[s], last[s], moving[s] > 0)] for s in range(len(clip))]
    out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet(rows, ["frame", f"{weights}, last frame block"])).save(out / "attention.png")
    print(f"\nmovers outlined: {out / 'attention.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="small", help="name, file, or untrained:tiny to try without weights")
    parser.add_argument("--seed", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("out/08_attention"))
    given = parser.parse_args()
    main(given.weights, given.seed, given.out)
