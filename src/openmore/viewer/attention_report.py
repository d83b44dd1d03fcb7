"""One look at the camera tokens: frames in, maps, sheets and the share of attention on movers out.

Choices
- The headline number is that of the last frame block, head-averaged: the row the attention-forcing loss acts on.
- Movers come from masks when given; otherwise from the network's own motion output, and the report says so. A
  comparison takes one set of movers for all weights: shares of different areas would say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openmore.errors import InputError
from openmore.io.frames import Frame, describe, frames
from openmore.io.sizing import Sizing
from openmore.model.aggregator import Where
from openmore.model.more import MoRe
from openmore.model.output import to_images
from openmore.viewer.attention import AttentionMaps, MovingShare, camera_attention_maps, moving_share
from openmore.viewer.attention_sheets import overlay, sheet
from openmore.viewer.mask_files import read_masks

_MOVING = 0.5  # probability outlined as moving
_MOST_COLUMNS = 12  # layers or heads side by side


@dataclass(frozen=True)
class Study:
    """What one set of weights did on the chosen frames."""

    weights: str
    names: list[str]  # of the frames
    pictures: np.ndarray  # [S, H, W, 3] uint8, as the network saw them
    maps: dict[Where, AttentionMaps]
    headline: Where
    motion: np.ndarray | None  # [S, H, W] 0..1; NaN = unknown, left out
    motion_from: str  # "masks", "network" or "none"

    def share(self, block: Where) -> MovingShare | None:
        """Attention on movers against their area in a block, head-averaged; None when nothing says what moves."""
        return None if self.motion is None else moving_share(self.maps[block].mean, self.motion)


def study(
    source: str,
    model: MoRe,
    *,
    name: str,
    count: int = 6,
    long_side: int | None = None,
    blocks: str | None = None,
    masks: Path | None = None,
    movers_of: Study | None = None,
) -> Study:
    """Take `count` frames evenly from `source` and read the camera rows of `blocks` (see `parse_blocks`).

    `movers_of`: take the movers of an earlier study of the same frames, if it has any.
    """
    chosen = sample_frames(source, count)
    sizing = Sizing.fit(chosen[0].image.shape[:2], long_side or model.config.image_size, model.config.patch_size)
    given = None  # masks are read before anything slow
    if masks is not None and movers_of is None:
        given = read_masks(masks, chosen, sizing.model_shape)
    pictures = np.stack([sizing.apply(frame.image) for frame in chosen])
    images = to_images(list(pictures)).to(model.device)
    headline: Where = ("frame", model.config.depth - 1)
    maps = camera_attention_maps(model, images, [headline, *parse_blocks(blocks, model.config.depth)])
    if given is not None:
        motion, motion_from = given, "masks"
    elif movers_of is None or movers_of.motion is None:
        motion, motion_from = _predicted(model, images)
    else:
        motion, motion_from = _resized(movers_of.motion, sizing.model_shape), movers_of.motion_from
    return Study(name, [frame.name for frame in chosen], pictures, maps, headline, motion, motion_from)


def sample_frames(source: str, count: int) -> list[Frame]:
    """At most `count` frames, evenly spread when the source says how long it is."""
    total = describe(source).frame_count or count
    return list(frames(source, stride=max(1, total // count), max_frames=count))


def parse_blocks(text: str | None, depth: int) -> list[Where]:
    """ "frame:23,global:0" -> blocks; None: every global block. Raises InputError for anything else."""
    if text is None:
        return [("global", layer) for layer in range(depth)]
    blocks: list[Where] = []
    for part in text.split(","):
        kind, _, layer = part.strip().partition(":")
        if kind not in ("frame", "global") or not layer.isdigit():
            raise InputError(f"{part.strip()!r} is not a block: expected frame:N or global:N, comma-separated")
        blocks.append((kind, int(layer)))
    return blocks


def draw_sheets(studies: Sequence[Study]) -> dict[str, np.ndarray]:
    """File name -> picture: attention.png (before and after), heads.png and layers.png of each set of weights."""
    first = studies[0]
    rows = []
    for i, picture in enumerate(first.pictures):
        maps = [overlay(s.pictures[i], s.maps[s.headline].mean[i], _outlined(s, i)) for s in studies]
        rows.append([picture, *maps])
    sheets = {"attention.png": sheet(rows, ["frame", *(_title(s) for s in studies)])}
    for number, s in enumerate(studies):
        suffix = "" if len(studies) == 1 else f"_{number + 1}"
        sheets[f"heads{suffix}.png"] = _heads(s)
        sheets[f"layers{suffix}.png"] = _layers(s)
    return sheets


def numbers(s: Study) -> dict[str, Any]:
    """What attention.json holds for one set of weights."""
    return {
        "weights": s.weights,
        "frames": s.names,
        "movers_from": s.motion_from,
        "headline": _label(s.headline),
        "blocks": {_label(block): _block_numbers(s, block) for block in s.maps},
    }


def _block_numbers(s: Study, block: Where) -> dict[str, Any]:
    maps = s.maps[block]
    result: dict[str, Any] = {
        "own_frame_share": float(maps.own_frame.mean()),
        "patch_share": float(maps.weights.sum((-2, -1)).mean()),
    }
    if s.motion is not None:
        shares = [moving_share(maps.weights[:, head], s.motion) for head in range(maps.weights.shape[1])]
        mean = moving_share(maps.mean, s.motion)
        result |= {"moving_area": mean.area, "moving_attention": mean.attention}
        result["moving_attention_per_head"] = [share.attention for share in shares]
    return result


def _heads(s: Study) -> np.ndarray:
    """Rows: frames; columns: heads of the headline block."""
    weights = s.maps[s.headline].weights
    heads = range(min(weights.shape[1], _MOST_COLUMNS))
    rows = [[overlay(p, weights[i, h], _outlined(s, i)) for h in heads] for i, p in enumerate(s.pictures)]
    return sheet(rows, [f"head {h}" for h in heads], tile_width=160)


def _layers(s: Study) -> np.ndarray:
    """Rows: frames; columns: blocks, evenly chosen when there are many."""
    blocks = sorted(s.maps)
    chosen = [blocks[i] for i in np.unique(np.linspace(0, len(blocks) - 1, _MOST_COLUMNS).round().astype(int))]
    rows = [[overlay(p, s.maps[b].mean[i], _outlined(s, i)) for b in chosen] for i, p in enumerate(s.pictures)]
    return sheet(rows, [_label(block) for block in chosen], tile_width=160)


def _title(s: Study) -> str:
    share = s.share(s.headline)
    return f"{s.weights}: {share.attention:.0%} on {share.area:.0%}" if share and share.area else s.weights


def _label(block: Where) -> str:
    return f"{block[0]} {block[1]}"


def _outlined(s: Study, i: int) -> np.ndarray | None:
    return None if s.motion is None else s.motion[i] >= _MOVING


def _predicted(model: MoRe, images: torch.Tensor) -> tuple[np.ndarray | None, str]:
    """[S, H, W] from the network, None where it has no such head; and which."""
    if "motion" not in model.config.heads:
        return None, "none"
    with torch.inference_mode():
        logits = model(images, outputs={"motion"}, duplicates=False).motion_logits
    assert logits is not None, "asked for above"
    return logits[0].float().sigmoid().cpu().numpy(), "network"


def _resized(motion: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """[S, h, w] -> [S, H, W], nearest: networks may see a frame at different sizes."""
    rows, columns = (np.arange(n) * size // n for n, size in zip(shape, motion.shape[1:], strict=True))
    return motion[:, rows[:, None], columns]
