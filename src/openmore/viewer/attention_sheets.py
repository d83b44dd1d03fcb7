"""Attention figures: overlays on frames, per head, per layer, before and after.

Choices
- Colours are those of io.preview: relative to uniform attention, the same scale everywhere, so that sheets compare.
- Movers are outlined in vermilion where masks are given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from openmore.io.colours import LEGEND_HEIGHT, MOVING
from openmore.io.output import Kind
from openmore.io.preview import attention_legend, attention_overlay

ATTENTION = Kind(
    "a folder of attention sheets",
    marks=("attention.json",),
    parts=("attention.png", "heads*.png", "layers*.png"),
)

_GAP, _TITLE = 4, 18  # pixels


def overlay(picture: np.ndarray, weights: np.ndarray, moving: np.ndarray | None = None) -> np.ndarray:
    """[H, W, 3] uint8: the grey picture under the attention map [h, w]; movers [H, W] bool outlined."""
    image = attention_overlay(picture, weights)
    if moving is not None:
        image[outline(moving)] = MOVING
    return image


def outline(mask: np.ndarray) -> np.ndarray:
    """[H, W] bool: mask pixels with a neighbour (up, down, left, right) outside the mask."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def sheet(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], tile_width: int = 280) -> np.ndarray:
    """[H, W, 3] uint8: rows of pictures of one shape under column titles, a legend at the foot."""
    shape = rows[0][0].shape[:2]
    height = round(shape[0] * tile_width / shape[1])
    width = len(titles) * (tile_width + _GAP) - _GAP
    image = Image.new("RGB", (width, _TITLE + len(rows) * (height + _GAP) + LEGEND_HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for column, title in enumerate(titles):
        draw.text((column * (tile_width + _GAP) + tile_width // 2, 3), title, fill="black", anchor="mt")
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            resized = Image.fromarray(tile).resize((tile_width, height), Image.Resampling.NEAREST)
            image.paste(resized, (c * (tile_width + _GAP), _TITLE + r * (height + _GAP)))
    image.paste(Image.fromarray(attention_legend(width)), (0, image.height - LEGEND_HEIGHT))
    return np.asarray(image)
