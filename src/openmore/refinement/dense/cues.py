"""Everything that was measured of one frame, as a picture of many channels for the network that settles it.

Choices
- Depth is in the logarithm of inverse depth less the completed map's median: no scale, no units.
- What is missing is 0 with a channel of its own to say so. Nothing is larger than a few units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from openmore.refinement.dense import appearance, sweep
from openmore.refinement.dense.depth import DenseDepth, noise_of
from openmore.refinement.dense.residual_motion import Found
from openmore.refinement.dense.triangulated import Sight, Triangulation

MOST = 3.0  # log units that a channel may differ from the completed map
MOST_OFF = 50.0
CHANNELS = (
    "red",
    "green",
    "blue",
    "ray_x",  # the direction a pixel looks in: ground lies low, and a lens has its width
    "ray_y",
    "completed",  # log inverse depth, classically filled, or the network's where the frame has no parallax
    "completed_trust",
    "measured",  # log inverse depth as triangulated, less the completed one
    "measured_trust",
    "residual",  # off the epipolar lines, in units of the frame's noise
    "seen",
    "predicted",  # log inverse depth as the network has it, less the completed one
    "has_depth",
    "noise",
    "parallax",  # pixels to the nearest neighbour
    "grip",  # what the picture changes along the epipolar line
    "moving",  # classical probability
    "odds",
    "odds_known",
    "off",  # how far flow ends from where a standing pixel must, in units of what is not known
    "wide",  # the same over more frames
    "wide_known",
    *appearance.CHANNELS,  # what neighbours show where a standing pixel must be
    *sweep.CHANNELS,  # at which depth they show the same
)


@dataclass(frozen=True)
class Cues:
    """What the settling network sees of a frame, and the level its depth is relative to."""

    values: np.ndarray  # [len(CHANNELS), H, W] float32
    level: float  # log inverse depth of channel values 0

    @property
    def completed(self) -> np.ndarray:
        """Log inverse depth [H, W] before settling."""
        return self.values[CHANNELS.index("completed")] + self.level


def cues_of(
    image: np.ndarray,
    rays: np.ndarray,
    sights: Sequence[Sight],
    found: Triangulation,
    dense: DenseDepth | None,
    predicted: np.ndarray,
    moving: Found | None,
    beside: np.ndarray,
) -> Cues:
    """Cues of a frame.

    `image` [H, W, 3] uint8, `rays` [2, H, W] x / z and y / z of its pixels, `sights` from near to far, `predicted`
    depth [H, W], what residual motion found, None where there was no neighbour, and the last channels, `looked_up`.
    """
    shape = predicted.shape
    nothing = np.zeros(shape, np.float32)
    own = -np.log(np.maximum(predicted, 1e-9)).astype(np.float32)
    full = own if dense is None else np.log(dense.inverse)
    level = float(np.median(full))
    noise = noise_of(found)
    told = (found.information > 0) & np.isfinite(found.residual)
    measured = np.log(np.maximum(found.inverse, 1e-3 * np.exp(level))) - full
    sigma = noise / np.sqrt(np.maximum(found.information, 1e-12))
    trust = np.log1p(np.maximum(found.inverse, 0) / np.maximum(sigma, 1e-12)) / 3
    near = sights[0].linear(np.exp(full))[1] * np.exp(full) if sights else np.zeros((2, *shape), np.float32)
    length = np.sqrt(np.square(near).sum(0))
    if dense is None:
        predicted_off = nothing
    else:
        predicted_off = own - full
        predicted_off -= np.median(predicted_off)
    channels = {
        "red": image[..., 0] / 127.5 - 1,
        "green": image[..., 1] / 127.5 - 1,
        "blue": image[..., 2] / 127.5 - 1,
        "ray_x": rays[0],
        "ray_y": rays[1],
        "completed": full - level,
        "completed_trust": nothing if dense is None else np.log(dense.inverse / dense.sigma) / 3,
        "measured": np.where(told, measured, 0),
        "measured_trust": np.where(told, trust, 0),
        "residual": np.where(told, np.log1p(found.residual / noise), 0),
        "seen": told,
        "predicted": predicted_off,
        "has_depth": np.full(shape, dense is not None),
        "noise": np.full(shape, np.log(noise) + 1),
        "parallax": np.log1p(length),
        "grip": _grip(image, near / np.maximum(length, 1e-6)),
        "moving": nothing if moving is None else 2 * moving.probability - 1,
        "odds": nothing if moving is None else np.nan_to_num(moving.odds, nan=0) / 2,
        "odds_known": nothing if moving is None else np.isfinite(moving.odds),
        "off": nothing if moving is None else _squeezed(moving.off),
        "wide": nothing if moving is None else _squeezed(moving.wide),
        "wide_known": nothing if moving is None else np.isfinite(moving.wide),
    }
    values = np.stack([np.clip(channels[name], -MOST, MOST) for name in CHANNELS[: len(channels)]]).astype(np.float32)
    return Cues(np.concatenate((values, beside)), level)


def looked_up(
    image: np.ndarray, other: Callable[[int], sweep.Neighbour | None], K: np.ndarray, inverse: np.ndarray,
    upright: bool = True,
) -> np.ndarray:  # fmt: skip
    """The channels that come from pictures and cameras without flow, last of all; arguments as of `sweep`.

    Not `upright`: the shutter rolls, pixels are not where the cameras say, and no depth is tried.
    """
    swept = sweep.sweep(image, other if upright else lambda _: None, K, inverse)
    return np.concatenate((appearance.appearance(image, other, K, inverse), swept))


def _squeezed(off: np.ndarray) -> np.ndarray:
    return np.log1p(np.nan_to_num(np.minimum(off, MOST_OFF), nan=0))


def _grip(image: np.ndarray, along: np.ndarray) -> np.ndarray:
    """What the picture changes per pixel along directions [2, H, W], grey levels, over its neighbourhood; log units."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    change = cv2.Scharr(grey, cv2.CV_32F, 1, 0) * along[0] + cv2.Scharr(grey, cv2.CV_32F, 0, 1) * along[1]
    around = cv2.GaussianBlur(np.square(change / 32), (0, 0), 1.5)
    return np.log1p(np.sqrt(around)) / 3
