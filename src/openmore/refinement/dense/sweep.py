"""At which depth neighbouring frames show what a pixel shows: every depth is tried, along the epipolar line.

Choices
- Flow takes patches along, so what is triangulated from it bleeds over outlines. Here every pixel is compared by
  itself, and costs are averaged within the picture's edges only (cost volume filtering, Rhemann et al., CVPR 2011).
- Depths are even in inverse depth, STEP pixels apart in the neighbour that shows most parallax.
- What is hidden before is mostly shown after: the cheaper side counts (Kang et al., CVPR 2001).
- The cheapest depth is no answer: plain walls match anywhere. Both best depths and what they cost go to the network
  that settles measurements; a pixel that no depth explains moves, or is hidden.
- Cameras and pictures alone, as in `appearance`. Where the shutter rolls nothing is tried: on tum_fr1_rpy_a depths were
  confidently wrong (AbsRel 0.179 with, 0.158 without).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

STEPS = (1, 2, 4)  # frames away, on both sides
NEIGHBOURS = 2  # on each side
MOST_PX, LEAST_PX = 24.0, 2.0  # parallax of the nearest surfaces: frames beyond are left out; below, nothing is tried
STEP, MOST_DEPTHS = 0.7, 48
NEAREST, BEYOND = 99.0, 1.4  # percentile of the given inverse depth, and how much nearer is tried
COLOUR, GRADIENT, COLOUR_SHARE = 0.15, 0.08, 0.2  # differences that count fully, of 0..1; Scharr slopes per pixel
RADIUS, PLAIN = 6, 0.03  # pixels; contrast below which the filter averages
APART = 2  # depths between the best one and the second
CHANNELS = (
    "sweep",  # log of the best inverse depth, less the given one
    "sweep_cost",  # 0..1
    "sweep_here",  # what the given depth costs more
    "sweep_second",  # the best inverse depth apart from the first
    "sweep_second_cost",  # what it costs more
    "sweep_fine",  # log of how many depths lie before the best
    "sweep_known",
)
MOST = 3.0  # log units

Neighbour = tuple[np.ndarray, np.ndarray, np.ndarray]  # picture [H, W, 3] uint8, K [3, 3], other_from_cam [4, 4]


def sweep(
    image: np.ndarray, other: Callable[[int], Neighbour | None], K: np.ndarray, inverse: np.ndarray
) -> np.ndarray:
    """[len(CHANNELS), H, W] float32; zeros for a frame without parallax.

    `image` [H, W, 3] uint8 with `K` [3, 3] and inverse depth [H, W]; `other(offset)` is a neighbour, or None where
    there is no such frame.
    """
    found = np.zeros((len(CHANNELS), *inverse.shape), np.float32)
    top = BEYOND * float(np.percentile(inverse, NEAREST))
    sides = [side for side in (_side(other, sign, K, inverse.shape, top) for sign in (-1, 1)) if side]
    most = max((view.parallax for side in sides for view in side), default=0.0)
    if most < LEAST_PX:
        return found
    tried = np.linspace(0, top, int(np.clip(most / STEP, 8, MOST_DEPTHS)), dtype=np.float32)
    return _told(_volume(image, sides, tried), tried, np.log(inverse))


@dataclass(frozen=True)
class _View:
    """A neighbour: what it shows, and where it shows a pixel of inverse depth w: (at_infinity + w * way), by z."""

    features: np.ndarray  # [H, W, 3] float32
    at_infinity: np.ndarray  # [3, H, W] float32
    way: np.ndarray  # [3] float32
    parallax: float  # pixels between infinity and the nearest surface, median

    def at(self, inverse: float) -> tuple[np.ndarray, np.ndarray]:
        """x and y [H, W] in the neighbour; far outside for what lies behind it."""
        x, y, z = (a + np.float32(inverse) * b for a, b in zip(self.at_infinity, self.way))
        z = np.maximum(z, 1e-6)
        return x / z, y / z


def _side(
    other: Callable[[int], Neighbour | None], sign: int, K: np.ndarray, shape: tuple[int, ...], top: float
) -> list[_View]:
    """The farthest NEIGHBOURS frames before or after that do not show too much parallax; the next one in any case."""
    views: list[_View] = []
    for step in STEPS:
        neighbour = other(sign * step)
        if neighbour is None:
            break
        view = _view(*neighbour, K, shape, top)
        if views and view.parallax > MOST_PX:
            break
        views.append(view)
    return views[-NEIGHBOURS:]


def _view(
    picture: np.ndarray, K_other: np.ndarray, other_from_cam: np.ndarray, K: np.ndarray, shape: tuple[int, ...],
    top: float,
) -> _View:  # fmt: skip
    v, u = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    rays = (K_other @ other_from_cam[:3, :3] @ np.linalg.inv(K)).astype(np.float32)
    at_infinity = np.stack([row[0] * u + row[1] * v + row[2] for row in rays])
    view = _View(_features(picture), at_infinity, (K_other @ other_from_cam[:3, 3]).astype(np.float32), 0.0)
    moved = np.subtract(view.at(top), view.at(0.0))
    return _View(view.features, at_infinity, view.way, float(np.median(np.linalg.norm(moved, axis=0))))


def _features(picture: np.ndarray) -> np.ndarray:
    """Grey level and its slopes along x and y, [H, W, 3] float32, of 0..1."""
    import cv2

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    slopes = [cv2.Scharr(grey, cv2.CV_32F, *axis, scale=1 / 16) for axis in ((1, 0), (0, 1))]
    return np.dstack((grey, *slopes))


def _volume(image: np.ndarray, sides: Sequence[Sequence[_View]], tried: np.ndarray) -> np.ndarray:
    """[D, H, W] float32, 0..1: what each of the inverse depths `tried` [D] costs."""
    import cv2

    own = _features(image)
    within = _guided(own[..., 0])
    volume = np.empty((len(tried), *own.shape[:2]), np.float32)
    for number, inverse in enumerate(tried):
        costs = []
        for side in sides:
            shown = [cv2.remap(x.features, *x.at(inverse), cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT, (9.0,) * 3)
                     for x in side]  # fmt: skip
            costs.append(within(np.mean([_cost(np.abs(features - own)) for features in shown], 0)))
        volume[number] = np.minimum.reduce(costs)
    return volume


def _cost(off: np.ndarray) -> np.ndarray:
    """0..1 of differences [H, W, 3]."""
    slopes = np.minimum((off[..., 1] + off[..., 2]) / GRADIENT, 1)
    return COLOUR_SHARE * np.minimum(off[..., 0] / COLOUR, 1) + (1 - COLOUR_SHARE) * slopes


def _guided(guide: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The filter that averages within the edges of a picture [H, W] (He et al., ECCV 2010)."""
    import cv2

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, (2 * RADIUS + 1,) * 2)

    average = mean(guide)
    contrast = mean(guide * guide) - average**2 + PLAIN**2

    def filtered(x: np.ndarray) -> np.ndarray:
        level = mean(x)
        slope = (mean(guide * x) - average * level) / contrast
        return mean(slope) * guide + mean(level - slope * average)

    return filtered


def _told(volume: np.ndarray, tried: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The channels, of costs [D, H, W] of inverse depths [D] and the given log inverse depth [H, W]."""
    number = np.arange(len(tried))
    best = volume.argmin(0)
    cost = _taken(volume, best)
    apart = np.abs(number[:, None, None] - best) > APART
    second = np.where(apart, volume, np.inf).argmin(0)
    place = np.exp(given) / tried[1]
    low = np.clip(place.astype(int), 0, len(tried) - 2)
    part = np.clip(place - low, 0, 1)
    here = (1 - part) * _taken(volume, low) + part * _taken(volume, low + 1)

    def off(place: np.ndarray) -> np.ndarray:
        """Log units; infinity lies a quarter of a step before it."""
        return np.clip(np.log(np.maximum(place, 0.25) * tried[1]) - given, -MOST, MOST)

    exact = _between(volume, best)
    channels = (
        off(exact), cost, here - cost, off(second), _taken(volume, second) - cost, np.log1p(exact) / 3,
        np.ones_like(cost),
    )  # fmt: skip
    return np.stack(channels).astype(np.float32)


def _taken(volume: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.take_along_axis(volume, at[None], 0)[0]


def _between(volume: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Where between the depths the cost is least: the vertex of the parabola through the best and its neighbours."""
    inner = np.clip(best, 1, len(volume) - 2)
    before, there, after = (_taken(volume, inner + step) for step in (-1, 0, 1))
    bend = np.maximum(before - 2 * there + after, 1e-6)
    return best + np.where(best == inner, np.clip((before - after) / (2 * bend), -0.5, 0.5), 0)
