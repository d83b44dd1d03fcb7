"""What a scene shows at a time, without any window: the accumulated background and each frame's movers.

Choices
- Frames are read when they are looked at; of each only the pixels that could move are kept, in a cache bounded in
  bytes. The background is accumulated by a thread from at most `sample` frames and grows while one watches.
- The background keeps confidence, motion and origin of every point, so that thresholds and colours change at once,
  without reading frames again.
- A damaged frame of a scene folder is left out and named; the others are shown. Only a scene without a single readable
  frame is an error.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from openmore.errors import DataError
from openmore.export.cloud import CLOUD, join, pick_evenly, take
from openmore.export.points import PointOptions, frame_points, pixel_footprint
from openmore.export.thinning import VoxelThinner
from openmore.types import FramePrediction, Reconstruction

MAYBE_MOVING = 0.1  # probability from which a pixel is kept as a possible mover; the lowest threshold offered
_COLLECT = PointOptions(confidence="0%", motion=0.9, motion_margin=0, max_points=2_000_000)
_POSSIBLE_MOVERS = PointOptions(confidence="0%", motion=MAYBE_MOVING)


@dataclass(frozen=True)
class Settings:
    """What the sliders say."""

    confidence: float = 20.0  # percent of the least sure points that are hidden
    motion: float = 0.5  # probability from which a point is a mover
    budget: int = 500_000  # points drawn of the background
    trail: int = 0  # earlier frames whose movers stay visible
    colour: str = "rgb"  # one of viewer.colours.MODES


@dataclass(frozen=True)
class FrameLayer:
    """The part of one frame that the viewer keeps."""

    possible_movers: np.ndarray  # [N] CLOUD, motion >= MAYBE_MOVING
    confidence_percentiles: np.ndarray  # [101]
    picture: np.ndarray | None  # [h, w, 3] uint8

    @property
    def nbytes(self) -> int:
        return self.possible_movers.nbytes + (0 if self.picture is None else self.picture.nbytes)


def readable(
    recon: Reconstruction, numbers: Iterable[int], damaged: Callable[[str], None] = lambda reason: None
) -> Iterator[tuple[int, FramePrediction]]:
    """(number, frame) of those frames that can be read; `damaged` is told what is wrong with each of the others."""
    for number in numbers:
        try:
            frame = recon.frames[number]
        except DataError as error:
            damaged(str(error))
        else:
            yield number, frame


def first_readable(recon: Reconstruction) -> tuple[int, FramePrediction]:
    """The first frame that can be read, with its number. Raises DataError when there is none."""
    reasons: list[str] = []
    found = next(readable(recon, range(len(recon)), reasons.append), None)
    if found is None:
        raise DataError(f"no frame of the scene can be read: {reasons[0]}")
    return found


class FrameCache:
    """Frame layers, read on demand; the least recently seen leave first."""

    def __init__(self, recon: Reconstruction, max_bytes: int = 256_000_000):
        self.recon, self.max_bytes = recon, max_bytes
        self._layers: OrderedDict[int, FrameLayer] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self._layers.values())

    def __getitem__(self, number: int) -> FrameLayer:
        with self._lock:
            if number not in self._layers:
                self._layers[number] = self._read(number)
            self._layers.move_to_end(number)
            while self.nbytes > self.max_bytes and len(self._layers) > 1:
                self._layers.popitem(last=False)
            return self._layers[number]

    def movers(self, number: int, settings: Settings) -> np.ndarray:
        """[N] CLOUD: what moves in frame `number`, and in the `settings.trail` frames before it.

        Raises DataError when frame `number` is damaged.
        """
        pieces = []
        for i in range(max(0, number - settings.trail), number + 1):
            try:
                layer = self[i]
            except DataError:
                if i == number:
                    raise
                continue  # a gap in the trail
            cloud = layer.possible_movers
            sure = cloud["confidence"] >= np.interp(settings.confidence, np.arange(101), layer.confidence_percentiles)
            pieces.append(take(cloud, sure & (cloud["motion"] >= settings.motion * 255)))
        return join(pieces)

    def _read(self, number: int) -> FrameLayer:
        frame = self.recon.frames[number]
        _, movers = frame_points(frame, number, _POSSIBLE_MOVERS)
        # Every ninth pixel is plenty for percentiles and keeps scrubbing quick.
        return FrameLayer(movers, np.percentile(frame.confidence[::3, ::3], np.arange(101)), frame.rgb)


class Background:
    """The static world, accumulated from frames spread evenly over the clip."""

    def __init__(self, recon: Reconstruction, sample: int = 100):
        self.recon = recon
        count = min(sample, len(recon))
        self.numbers = np.linspace(0, len(recon) - 1, count).round().astype(int).tolist()
        self.done = 0  # frames taken in so far, or found damaged
        self.damaged: list[str] = []  # what is wrong with those that cannot be read
        self._cloud, self._voxel = np.zeros(0, CLOUD), 0.01
        self._stopped = threading.Event()

    def accumulate(self, changed: Callable[[], None] = lambda: None) -> None:
        """Take the frames in, calling `changed` after 1, 2, 4, 8, ... frames and at the end."""
        thinner: VoxelThinner | None = None
        for done, number in enumerate(_coarse_to_fine(self.numbers), 1):
            if self._stopped.is_set():
                return
            for _, frame in readable(self.recon, [number], self.damaged.append):
                thinner = thinner or VoxelThinner(pixel_footprint(frame), _COLLECT.max_points)
                thinner.add(frame_points(frame, number, _COLLECT)[0])
            self.done = done
            if done & (done - 1) == 0 or done == len(self.numbers):
                if thinner is not None:
                    # A copy: the thinner goes on writing into its own.
                    self._cloud, self._voxel = thinner.result().copy(), thinner.voxel
                changed()

    def stop(self) -> None:
        """Ask a running `accumulate` to end after its current frame."""
        self._stopped.set()

    def points(self, settings: Settings) -> tuple[np.ndarray, float]:
        """[N] CLOUD, the static, sure part within the budget; and the spacing of its points, scene units."""
        cloud, voxel = self._cloud, self._voxel
        static = take(cloud, cloud["motion"] < settings.motion * 255)
        if not len(static):
            return static, voxel
        sure = take(static, static["confidence"] >= np.percentile(static["confidence"], settings.confidence))
        drawn = pick_evenly(sure, settings.budget)
        return drawn, voxel * float(np.sqrt(len(sure) / len(drawn)))

    def why_empty(self, settings: Settings) -> str:
        """For a background that shows nothing: which threshold did it, and what to do."""
        if len(self.damaged) == len(self.numbers):
            return "no static point: none of the frames that make the background can be read"
        if not len(self._cloud):
            return "no static point: no pixel of the scene has depth and stands still"
        return f"no static point: everything moves with at least {settings.motion:g}, raise 'Moving from'"


def _coarse_to_fine(numbers: list[int]) -> list[int]:
    """The same numbers, so ordered that every beginning is spread over the whole list."""
    order: list[int] = []
    step = 1 << max(0, len(numbers) - 1).bit_length()
    seen: set[int] = set()
    while step:
        fresh = [n for n in numbers[::step] if n not in seen]
        order += fresh
        seen.update(fresh)
        step //= 2
    return order
