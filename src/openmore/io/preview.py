"""How depth, movers and attention look in every picture, and `preview.png`: a contact sheet picture | depth | motion.

Choices
- Depth is shown as 1/z, near bright, on one range for the whole sheet (2nd to 98th percentile of what is shown).
- Motion tints the grey picture in vermilion by its probability, so that a mask can be judged against what it covers.
- Attention is relative to uniform on a log scale from 1/8 to 8: a colour means the same in every frame, head, layer
  and set of weights, in training sheets too.
- A foot says what the colours mean. Rows run from the first frame to the last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from openmore.io.colours import MOVING, legend, ramp
from openmore.types import FramePrediction

ROWS, TILE_WIDTH, GAP = 6, 320, 4
STRONGEST = 8.0  # times uniform attention that reach the ends of the map
_GREY = 0.8  # brightness left to pictures under a tint


def preview_sheet(frames: Sequence[FramePrediction], rows: int = ROWS) -> np.ndarray:
    """[H, W, 3] uint8 sheet of at most `rows` frames, evenly chosen. A column without data is left out."""
    places = np.unique(np.linspace(0, len(frames) - 1, min(rows, len(frames))).round().astype(int))
    chosen = [frames[int(place)] for place in places]
    inverse = [inverse_depth(frame.depth) for frame in chosen]
    shown = near_range(inverse)
    tiles = [[_tile(t) for t in _row(frame, near_colours(i, shown))] for frame, i in zip(chosen, inverse)]
    feet = [picture_legend(chosen[0].index, chosen[-1].index, TILE_WIDTH)] if chosen[0].rgb is not None else []
    feet.append(depth_legend(shown, TILE_WIDTH))
    if chosen[0].motion is not None:
        feet.append(motion_legend(TILE_WIDTH))
    return _stack([_stack(row, axis=1) for row in [*tiles, feet]], axis=0)


def inverse_depth(depth: np.ndarray) -> np.ndarray:
    """[...] 1/z; 0 where there is no depth."""
    known = np.isfinite(depth) & (depth > 0)
    return np.where(known, 1 / np.where(known, depth, 1), 0)


def near_range(inverse: Sequence[np.ndarray]) -> tuple[float, float]:
    """The 2nd and 98th percentile of 1/z where there is depth; (0, 1) without any."""
    known = np.concatenate([i[i > 0] for i in inverse] or [np.zeros(0)])
    low, high = np.percentile(known, (2, 98)) if len(known) else (0.0, 1.0)
    return float(low), float(high)


def near_colours(inverse: np.ndarray, shown: tuple[float, float]) -> np.ndarray:
    """1/z [...] -> uint8 [..., 3] on a range from `near_range`; near is bright."""
    low, high = shown
    return ramp((inverse - low) / max(high - low, 1e-12))


def motion_overlay(rgb: np.ndarray | None, motion: np.ndarray) -> np.ndarray:
    """[h, w, 3] uint8: the picture in grey, movers tinted by their probability [h, w]."""
    grey = np.full(motion.shape, 128.0) if rgb is None else rgb @ np.array((0.299, 0.587, 0.114))
    share = np.clip(motion, 0, 1)[..., None] * 0.85
    return ((1 - share) * (grey * _GREY)[..., None] + share * MOVING).round().astype(np.uint8)


def relative_share(weights: np.ndarray) -> np.ndarray:
    """Patch attention [..., h, w] -> 0..1; 0.5 is uniform attention, 0 an eighth of it, 1 eight times it."""
    total = weights.sum((-2, -1), keepdims=True)
    uniform = np.maximum(total, 1e-30) / (weights.shape[-2] * weights.shape[-1])
    return np.clip(0.5 + np.log(np.maximum(weights / uniform, 1e-9)) / (2 * np.log(STRONGEST)), 0, 1)


def attention_overlay(picture: np.ndarray, weights: np.ndarray, opacity: float = 0.7) -> np.ndarray:
    """[H, W, 3] uint8: the grey picture under the attention map [h, w], whose patches divide it."""
    grey = (picture @ np.array((0.299, 0.587, 0.114)))[..., None]
    patch = picture.shape[0] // weights.shape[0], picture.shape[1] // weights.shape[1]
    heat = ramp(np.kron(relative_share(weights), np.ones(patch)))
    return ((1 - opacity) * grey + opacity * heat).round().astype(np.uint8)


def picture_legend(first: int, last: int, width: int) -> np.ndarray:
    """[LEGEND_HEIGHT, width, 3]: which frames of the source are shown."""
    return legend(None, "", f"frames {first} to {last}" if last > first else f"frame {first}", "", width)


def depth_legend(shown: tuple[float, float], width: int) -> np.ndarray:
    """[LEGEND_HEIGHT, width, 3]: the map over the far and the near end of a `near_range`, scene units."""
    far, near = (f"{1 / end:.3g}" if end > 0 else "far" for end in shown)
    return legend(ramp(np.linspace(0, 1, width)), far, "depth, scene units", near, width)


def motion_legend(width: int) -> np.ndarray:
    """[LEGEND_HEIGHT, width, 3]: grey to vermilion."""
    bar = motion_overlay(None, np.linspace(0, 1, width)[None])[0]
    return legend(bar, "static", "moving probability", "moving", width)


def attention_legend(width: int) -> np.ndarray:
    """[LEGEND_HEIGHT, width, 3]: the map from an eighth of uniform attention to eight times it."""
    ends = f"1/{STRONGEST:g} of uniform attention", f"{STRONGEST:g} times"
    return legend(ramp(np.linspace(0, 1, width)), ends[0], "uniform", ends[1], width)


def _row(frame: FramePrediction, near: np.ndarray) -> list[np.ndarray]:
    row = [] if frame.rgb is None else [frame.rgb]
    row.append(near)
    if frame.motion is not None:
        row.append(motion_overlay(frame.rgb, frame.motion))
    return row


def _tile(image: np.ndarray) -> np.ndarray:
    height = max(round(image.shape[0] * TILE_WIDTH / image.shape[1]), 1)
    return np.asarray(Image.fromarray(image).resize((TILE_WIDTH, height), Image.Resampling.BILINEAR))


def _stack(tiles: list[np.ndarray], axis: int) -> np.ndarray:
    """Side by side (axis 1) or one above the other (axis 0) with white gaps."""
    gap_shape = (GAP, tiles[0].shape[1], 3) if axis == 0 else (tiles[0].shape[0], GAP, 3)
    gap = np.full(gap_shape, 255, np.uint8)
    spaced = [piece for tile in tiles for piece in (tile, gap)][:-1]
    return np.concatenate(spaced, axis)
