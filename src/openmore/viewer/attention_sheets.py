"""Attention figures: overlays on frames, per head, per layer, before and after.

Choices
- Colour is attention relative to uniform attention over the patches, on a log scale from 1/8 to 8: the same colour
  means the same in every frame, head, layer and set of weights, so that sheets can be compared.
- Movers are outlined in vermilion where masks are given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from openmore.io.colours import MOVING, ramp

STRONGEST = 8.0  # times uniform attention that reach the ends of the map
_OPACITY = 0.7
_GAP, _TITLE = 4, 18  # pixels


def relative_share(weights: np.ndarray) -> np.ndarray:
    """Patch attention [..., h, w] -> 0..1; 0.5 is uniform attention, 0 an eighth of it, 1 eight times it."""
    total = weights.sum((-2, -1), keepdims=True)
    uniform = np.maximum(total, 1e-30) / (weights.shape[-2] * weights.shape[-1])
    return np.clip(0.5 + np.log(np.maximum(weights / uniform, 1e-9)) / (2 * np.log(STRONGEST)), 0, 1)


def overlay(picture: np.ndarray, weights: np.ndarray, moving: np.ndarray | None = None) -> np.ndarray:
    """[H, W, 3] uint8: the grey picture under the attention map [h, w]; movers [H, W] bool outlined."""
    grey = (picture @ np.array((0.299, 0.587, 0.114)))[..., None]
    heat = ramp(np.kron(relative_share(weights), np.ones(_patch(picture, weights))))
    image = ((1 - _OPACITY) * grey + _OPACITY * heat).round().astype(np.uint8)
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
    image = Image.new("RGB", (width, _TITLE + len(rows) * (height + _GAP) + _legend_height()), "white")
    draw = ImageDraw.Draw(image)
    for column, title in enumerate(titles):
        draw.text((column * (tile_width + _GAP) + tile_width // 2, 3), title, fill="black", anchor="mt")
    for r, row in enumerate(rows):
        for c, tile in enumerate(row):
            resized = Image.fromarray(tile).resize((tile_width, height), Image.Resampling.NEAREST)
            image.paste(resized, (c * (tile_width + _GAP), _TITLE + r * (height + _GAP)))
    image.paste(Image.fromarray(_legend(width)), (0, image.height - _legend_height()))
    return np.asarray(image)


def _patch(picture: np.ndarray, weights: np.ndarray) -> tuple[int, int]:
    return picture.shape[0] // weights.shape[0], picture.shape[1] // weights.shape[1]


def _legend_height() -> int:
    return 36


def _legend(width: int) -> np.ndarray:
    image = Image.new("RGB", (width, _legend_height()), "white")
    bar = np.broadcast_to(ramp(np.linspace(0, 1, width)), (14, width, 3))
    image.paste(Image.fromarray(np.ascontiguousarray(bar)), (0, 2))
    draw = ImageDraw.Draw(image)
    for x, text, anchor in (
        (2, "1/8 of uniform attention", "lt"),
        (width // 2, "uniform", "mt"),
        (width - 2, "8 times", "rt"),
    ):
        draw.text((x, 20), text, fill="black", anchor=anchor)
    return np.asarray(image)
