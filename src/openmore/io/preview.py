"""`preview.png`: a contact sheet of a few frames, one row each: picture | depth | motion.

Choices
- Depth is shown as 1/z, near bright, on one range for the whole sheet (2nd to 98th percentile of what is shown).
- Motion tints the grey picture in vermilion by its probability, so that a mask can be judged against what it covers.
- No text: the sheet must read the same at every size. Rows run from the first frame to the last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from openmore.io.colours import MOVING, ramp
from openmore.types import FramePrediction

ROWS, TILE_WIDTH, GAP = 6, 320, 4


def preview_sheet(frames: Sequence[FramePrediction], rows: int = ROWS) -> np.ndarray:
    """[H, W, 3] uint8 sheet of at most `rows` frames, evenly chosen. A column without data is left out."""
    places = np.unique(np.linspace(0, len(frames) - 1, min(rows, len(frames))).round().astype(int))
    chosen = [frames[int(place)] for place in places]
    inverse = [inverse_depth(frame.depth) for frame in chosen]
    low, high = np.percentile(np.concatenate([i[i > 0] for i in inverse] or [np.zeros(1)]), (2, 98))
    tiles = [_row(frame, (i - low) / max(high - low, 1e-12)) for frame, i in zip(chosen, inverse)]
    return _stack([_stack([_tile(t) for t in row], axis=1) for row in tiles], axis=0)


def inverse_depth(depth: np.ndarray) -> np.ndarray:
    """[h, w] 1/z; 0 where there is no depth."""
    known = np.isfinite(depth) & (depth > 0)
    return np.where(known, 1 / np.where(known, depth, 1), 0)


def motion_overlay(rgb: np.ndarray | None, motion: np.ndarray) -> np.ndarray:
    """[h, w, 3] uint8: the picture in grey, movers tinted by their probability [h, w]."""
    grey = np.full(motion.shape, 128.0) if rgb is None else rgb @ np.array((0.299, 0.587, 0.114))
    share = np.clip(motion, 0, 1)[..., None] * 0.85
    return ((1 - share) * (grey * 0.8)[..., None] + share * MOVING).round().astype(np.uint8)


def _row(frame: FramePrediction, near: np.ndarray) -> list[np.ndarray]:
    row = [] if frame.rgb is None else [frame.rgb]
    row.append(ramp(near))
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
