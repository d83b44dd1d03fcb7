"""One colour map for amounts, without matplotlib, and the legend that says what its ends mean.

Viridis: ordered in brightness, safe for colour-blind readers and in a black-and-white print.
"""

from __future__ import annotations

import numpy as np

# Samples of viridis (matplotlib, CC0) that linear interpolation reproduces to within 2 of 255.
_VIRIDIS = np.array(
    [(68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142),
     (31, 158, 137), (53, 183, 121), (109, 205, 89), (180, 222, 44), (253, 231, 37)]
)  # fmt: skip
MOVING = np.array((213, 94, 0))  # vermilion: told apart from grey and from the map by every kind of sight
LEGEND_HEIGHT = 36  # pixels: a bar over one line of text
_BAR = 14


def ramp(share: np.ndarray) -> np.ndarray:
    """Values 0..1 [...] -> uint8 [..., 3]; 0 dark violet, 1 yellow."""
    at = np.clip(share, 0, 1) * (len(_VIRIDIS) - 1)
    steps = np.arange(len(_VIRIDIS))
    return np.stack([np.interp(at, steps, channel) for channel in _VIRIDIS.T], -1).round().astype(np.uint8)


def legend(bar: np.ndarray | None, left: str, middle: str, right: str, width: int) -> np.ndarray:
    """[LEGEND_HEIGHT, width, 3] uint8: colours [W, 3] over what the two ends mean and what is shown.

    Text that would run into its neighbour is left out, the middle first. Without a bar only the text is drawn.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, LEGEND_HEIGHT), "white")
    if bar is not None:
        stretched = bar[np.arange(width) * len(bar) // width]
        image.paste(Image.fromarray(np.ascontiguousarray(np.broadcast_to(stretched, (_BAR, width, 3)))), (0, 2))
    draw = ImageDraw.Draw(image)
    sizes = [draw.textlength(text) + 8 for text in (left, middle, right)]
    show_middle = width / 2 >= sizes[1] / 2 + max(sizes[0], sizes[2])
    show_ends = sizes[0] + sizes[2] <= width
    for text, x, anchor, shown in (
        (left, 2, "lt", show_ends), (middle, width // 2, "mt", show_middle), (right, width - 2, "rt", show_ends),
    ):  # fmt: skip
        if shown:
            draw.text((x, _BAR + 6), text, fill="black", anchor=anchor)
    return np.asarray(image)
