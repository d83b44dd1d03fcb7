"""The walk over the clip: key points of every frame and verified pairs of frames, with nothing else kept.

Choices
- Neighbours at 1, 2, 4 and 8 frames: short steps hold on through fast turns, long ones give parallax and stop drift.
- Key points match across all of these; measured on blurred and plain frames, dense flow holds on where they fail, so a
  weak step to the next frame is strengthened with points carried over by flow (`carry`).
- Frames that look alike far apart are tried as well (`retrieval`): a jump back to a known place becomes one map.
- The network's depth and motion are sampled while the frame is at hand; no dense array is kept or read twice.
- Frames are taken in order by the calling thread; key points of the next ones are found while this one is matched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from openmore.errors import InputError
from openmore.progress import ProgressCallback, silent
from openmore.refinement.matching import retrieval
from openmore.refinement.matching.carry import Carrier
from openmore.refinement.matching.features import Keypoints, detect, match
from openmore.refinement.matching.prior import Prior, moving_mask
from openmore.refinement.matching.twoview import Pair, verify
from openmore.threads import in_order

OFFSETS = (1, 2, 4, 8)
WEAK = 100  # verified matches with the next frame below which help is sought

ImageSource = Callable[[int], np.ndarray] | Sequence[np.ndarray]


@dataclass
class Survey:
    """What was seen. Pixels are those of the working size."""

    shape: tuple[int, int]  # height, width of the working size
    keypoints: list[Keypoints] = field(default_factory=list)
    depth: list[np.ndarray] = field(default_factory=list)  # per frame [N] float32 at the key points, NaN = none
    weight: list[np.ndarray] = field(default_factory=list)  # per frame [N] float32, see Prior.weight_at
    brightness: list[float] = field(default_factory=list)  # mean grey value 0..255
    pairs: dict[tuple[int, int], Pair] = field(default_factory=dict)
    all_moving: list[int] = field(default_factory=list)  # frames whose motion probability left nothing to look at
    carried: int = 0  # pairs strengthened by flow

    def __len__(self) -> int:
        return len(self.keypoints)

    def strength(self, a: int, b: int) -> int:
        """Verified matches of two frames."""
        return len(self.pairs[a, b].index) if (a, b) in self.pairs else 0


def survey(
    images: ImageSource,
    frames: int,
    priors: Callable[[int], Prior],
    *,
    long_side: int,
    features: int,
    progress: ProgressCallback = silent,
) -> Survey:
    """Detect, match and verify. `images(s)` or `images[s]` is uint8 [H, W, 3] RGB; all frames have one shape.

    Raises InputError when a frame has another shape than the first.
    """
    seen, carrier = Survey((0, 0)), Carrier()
    unit: dict[int, np.ndarray] = {}
    taken = _taken(images, frames, priors, long_side)
    for s, frame in enumerate(in_order(lambda frame: _looked_at(*frame, features), taken)):
        seen.shape = frame.picture.shape[:2]
        _add_frame(seen, s, frame)
        unit[s] = seen.keypoints[s].unit()
        unit.pop(s - max(OFFSETS) - 1, None)
        for k in OFFSETS:
            if s >= k:
                _add_pair(seen, s - k, s, match(unit[s - k], unit[s]))
        carrier.show(s, frame.picture, frame.prior)
        if s and seen.strength(s - 1, s) < WEAK:
            _carry(seen, carrier, s)
        progress("match", s + 1, frames)
    _look_back(seen)
    return seen


def working_size(image: np.ndarray, long_side: int) -> np.ndarray:
    """The picture [H, W, 3] with at most `long_side` pixels along the longer side."""
    import cv2

    ratio = long_side / max(image.shape[:2])
    if ratio >= 1:
        return np.ascontiguousarray(image)
    size = (round(image.shape[1] * ratio), round(image.shape[0] * ratio))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class _Frame:
    """One frame, looked at by itself."""

    picture: np.ndarray  # [H, W, 3] uint8, at working size
    prior: Prior
    points: Keypoints
    all_moving: bool
    brightness: float


def _taken(
    images: ImageSource, frames: int, priors: Callable[[int], Prior], long_side: int
) -> Iterator[tuple[np.ndarray, Prior]]:
    """Pictures at working size and what the network says of them. Raises InputError when one has another shape."""
    image_at = images if callable(images) else images.__getitem__
    shape = None
    for s in range(frames):
        picture = working_size(image_at(s), long_side)
        shape = shape or picture.shape
        if picture.shape != shape:
            raise InputError(f"frame {s} has another size than the first frame: resize the frames to one size first")
        yield picture, priors(s)


def _looked_at(picture: np.ndarray, prior: Prior, features: int) -> _Frame:
    import cv2

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    moving = moving_mask(prior, grey.shape)
    points = detect(grey, features, None if moving is None else ~moving)
    return _Frame(picture, prior, points, prior.motion is not None and moving is None, float(grey.mean()))


def _add_frame(seen: Survey, s: int, frame: _Frame) -> None:
    if frame.all_moving:
        seen.all_moving.append(s)
    seen.keypoints.append(frame.points)
    seen.depth.append(frame.prior.depth_at(frame.points.uv, seen.shape))
    seen.weight.append(frame.prior.weight_at(frame.points.uv, seen.shape))
    seen.brightness.append(frame.brightness)


def _add_pair(seen: Survey, a: int, b: int, index: np.ndarray) -> None:
    pair = verify(a, b, seen.keypoints[a].uv, seen.keypoints[b].uv, index)
    if pair is not None:
        seen.pairs[a, b] = pair


def _carry(seen: Survey, carrier: Carrier, s: int) -> None:
    """Carry points of frame s - 1 into frame s by flow, beside the matches there are."""
    pair = seen.pairs.get((s - 1, s))
    matched = np.zeros((0, 2), np.int64) if pair is None else pair.index
    carried = carrier.carry(seen.keypoints[s - 1], seen.keypoints[s])
    if not len(carried.index):
        return
    for frame, keypoints, prior in ((s - 1, carried.a, carrier.previous), (s, carried.b, carrier.current)):
        new = keypoints.uv[len(seen.keypoints[frame]) :]
        seen.keypoints[frame] = keypoints
        seen.depth[frame] = np.concatenate((seen.depth[frame], prior.depth_at(new, seen.shape)))
        seen.weight[frame] = np.concatenate((seen.weight[frame], prior.weight_at(new, seen.shape)))
    _add_pair(seen, s - 1, s, np.concatenate((matched, carried.index)))
    seen.carried += 1


def _look_back(seen: Survey) -> None:
    """Try frames that look alike but are far apart."""
    apart = max(OFFSETS) + 2
    if len(seen) <= apart or sum(len(points.descriptors) for points in seen.keypoints) < retrieval.WORDS:
        return
    asking = set(range(0, len(seen), retrieval.STRIDE))
    for s in range(1, len(seen)):
        if seen.strength(s - 1, s) < WEAK:
            asking |= {s - 1, s}
    for a, b in retrieval.candidates(retrieval.describe(seen.keypoints), sorted(asking), apart):
        _add_pair(seen, a, b, match(seen.keypoints[a].unit(), seen.keypoints[b].unit()))
