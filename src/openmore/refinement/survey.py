"""The walk over the clip: key points of every frame and verified pairs of frames, with nothing else kept.

Choices
- Neighbours at 1, 2, 4 and 8 frames: short steps hold on through fast turns, long ones give parallax and stop drift.
- Where no neighbour reaches a frame, and now and then elsewhere, frames that look alike are tried (`retrieval`): a jump
  back to a known place becomes one map instead of two.
- The network's depth and motion are sampled at the key points while the frame is at hand, so that no dense array is
  read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from openmore.progress import ProgressCallback, silent
from openmore.refinement import retrieval
from openmore.refinement.features import Keypoints, detect, match
from openmore.refinement.twoview import Pair, verify

OFFSETS = (1, 2, 4, 8)
WEAK = 60  # verified matches with the next frame below which a frame looks for others
MOVING = 0.5  # probability above which no key point is taken
UNSURE = 0.2  # share of the key points whose predicted depth is not used, those of least confidence
LEAST_STATIC = 0.2  # share of the picture the motion probability must leave

ImageSource = Callable[[int], np.ndarray] | Sequence[np.ndarray]


@dataclass
class Survey:
    """What was seen. Pixels are those of the working size."""

    shape: tuple[int, int]  # height, width of the working size
    keypoints: list[Keypoints] = field(default_factory=list)
    depth: list[np.ndarray] = field(default_factory=list)  # per frame [N] float32 at the key points, NaN = none
    brightness: list[float] = field(default_factory=list)  # mean grey value 0..255
    pairs: dict[tuple[int, int], Pair] = field(default_factory=dict)
    all_moving: list[int] = field(default_factory=list)  # frames whose motion probability left nothing to look at

    def __len__(self) -> int:
        return len(self.keypoints)


@dataclass(frozen=True)
class Prior:
    """What the network says of one frame; any part may be missing."""

    depth: np.ndarray | None = None  # [h, w] float32, z; 0 or NaN = none
    confidence: np.ndarray | None = None  # [h, w] float32, larger is surer
    motion: np.ndarray | None = None  # [h, w] float32, probability of moving


def survey(
    images: ImageSource,
    frames: int,
    priors: Callable[[int], Prior],
    *,
    long_side: int,
    features: int,
    progress: ProgressCallback = silent,
) -> Survey:
    """Detect, match and verify. `images(s)` or `images[s]` is uint8 [H, W, 3] RGB; all frames have one shape."""
    image_at = images if callable(images) else images.__getitem__
    seen: Survey | None = None
    unit: dict[int, np.ndarray] = {}
    for s in range(frames):
        grey = to_grey(image_at(s), long_side)
        if seen is None:
            seen = Survey(grey.shape[:2])
        _add_frame(seen, s, grey, priors(s), features)
        unit[s] = seen.keypoints[s].unit()
        unit.pop(s - max(OFFSETS) - 1, None)
        for k in OFFSETS:
            if s >= k:
                _add_pair(seen, s - k, s, unit[s - k], unit[s])
        progress("match", s + 1, frames)
    assert seen is not None
    _look_back(seen)
    return seen


def to_grey(image: np.ndarray, long_side: int) -> np.ndarray:
    """RGB -> grey, at most `long_side` pixels along the longer side."""
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    ratio = long_side / max(grey.shape)
    if ratio >= 1:
        return grey
    size = (round(grey.shape[1] * ratio), round(grey.shape[0] * ratio))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def _add_frame(seen: Survey, s: int, grey: np.ndarray, prior: Prior, features: int) -> None:
    keep = None
    if prior.motion is not None:
        static = _resize(prior.motion, grey.shape) < MOVING
        if static.mean() >= LEAST_STATIC:
            keep = static
        else:
            seen.all_moving.append(s)
    points = detect(grey, features, keep)
    depth = np.full(len(points), np.nan, np.float32)
    if prior.depth is not None and len(points):
        depth = sample(prior.depth, points.uv, grey.shape)
        if prior.confidence is not None:
            sure = sample(prior.confidence, points.uv, grey.shape)
            depth[~(sure >= np.nanquantile(sure, UNSURE))] = np.nan
    seen.keypoints.append(points)
    seen.depth.append(depth)
    seen.brightness.append(float(grey.mean()))


def _add_pair(seen: Survey, a: int, b: int, unit_a: np.ndarray, unit_b: np.ndarray) -> None:
    pair = verify(a, b, seen.keypoints[a].uv, seen.keypoints[b].uv, match(unit_a, unit_b))
    if pair is not None:
        seen.pairs[a, b] = pair


def _look_back(seen: Survey) -> None:
    """Try frames that look alike but are far apart."""
    apart = max(OFFSETS) + 2
    if len(seen) <= apart or sum(map(len, seen.keypoints)) < retrieval.WORDS:
        return
    asking = set(range(0, len(seen), retrieval.STRIDE))
    for s in range(1, len(seen)):
        if (s - 1, s) not in seen.pairs or len(seen.pairs[s - 1, s].index) < WEAK:
            asking |= {s - 1, s}
    for a, b in retrieval.candidates(retrieval.describe(seen.keypoints), sorted(asking), apart):
        _add_pair(seen, a, b, seen.keypoints[a].unit(), seen.keypoints[b].unit())


def sample(values: np.ndarray, uv: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Nearest values [N] of an array [h, w] at pixels [N, 2] of a picture of `shape`; not positive becomes NaN."""
    h, w = values.shape
    u = np.clip(np.round(uv[:, 0] * (w / shape[1])), 0, w - 1).astype(int)
    v = np.clip(np.round(uv[:, 1] * (h / shape[0])), 0, h - 1).astype(int)
    out = values[v, u].astype(np.float32)
    return np.where(out > 0, out, np.nan)


def _resize(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    import cv2

    return cv2.resize(np.asarray(values, np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
