"""Which frames of which sequence make the next batch: mixing, repetition, clip length, interval.

Choices
- A draw is a function of (seed, clip number, length, interval) alone, those of a batch of (seed, batch number). The
  state to resume from is one integer, no two ranks ever get the same clip number, and any batch can be drawn again.
- Clips are numbered without gaps: a batch begins where the one before it ended, so that an epoch is drawn whole.
- Length and interval are drawn once per batch, so that clips stack (supplement: 2-24 frames, interval 1-5).
- An epoch visits every sequence of every set at least once; sets whose share asks for more are repeated, each pass in
  a new order. (Not drawn independently: a small set would miss sequences and repeat others by luck.)
- A sequence too short for the draw gets a smaller interval; if that is not enough another sequence takes its place.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openmore.data.datasets.base import Dataset
from openmore.data.sample import Sample
from openmore.errors import ConfigError, DataError

log = logging.getLogger(__name__)

MIN_POINTS = 100  # fewest pixels with depth that the first frame needs to fix the scale
MEAN_DISTANCE = (1e-3, 1e3)  # scene units; outside of it the source's units are wrong or its depth is
_ATTEMPTS = 16


@dataclass(frozen=True)
class Share:
    """One data set of a mixture."""

    dataset: Dataset
    weight: float = 1.0  # its share of the clips is weight / sum of weights


@dataclass(frozen=True)
class Clip:
    """A clip to load."""

    number: int  # unique over ranks and batches
    share: int  # place of its data set in the mixture
    sequence: str
    frame_ids: tuple[int, ...]


@dataclass(frozen=True)
class ClipBatch:
    """What one rank loads for one batch."""

    number: int
    frames: int  # S of every clip
    interval: int  # asked for; short sequences may have got less
    clips: tuple[Clip, ...]


class ClipSampler:
    """An endless, resumable stream of clip batches for one rank."""

    def __init__(
        self,
        mixture: Sequence[Share],
        images_per_batch: int,
        frames: tuple[int, int] = (2, 24),
        intervals: tuple[int, int] = (1, 5),
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        shuffle: float = 0.0,
        on_bad: str = "stop",
    ):
        """
        Args:
            images_per_batch: a batch has as many clips as this holds at its length, at least one.
            frames, intervals: inclusive ranges, drawn once per batch.
            shuffle: probability that a clip loses its temporal order except for its first frame.
            on_bad: a sequence whose list of frames cannot be read: "stop" raises, "skip" logs it and leaves it out.

        Raises:
            ConfigError: empty mixture, weights that are not positive, ranges that are none, a rank out of range.
            DataError: a data set without sequences.
        """
        _check(mixture, images_per_batch, frames, intervals, rank, world)
        self.mixture, self.images_per_batch = tuple(mixture), images_per_batch
        self.frames, self.intervals, self.shuffle = frames, intervals, shuffle
        self.seed, self.rank, self.world = seed, rank, world
        self.on_bad, self._unreadable = on_bad, set[tuple[int, str]]()
        self.next_batch = 0
        self._before = [0]  # clips of one rank before each batch, as far as it was asked for
        self._names = [share.dataset.names() for share in mixture]
        self.visits = visits_per_epoch([len(names) for names in self._names], [share.weight for share in mixture])

    @property
    def clips_per_epoch(self) -> int:
        """Clips after which every sequence was visited, over all ranks."""
        return sum(self.visits)

    def state(self) -> dict[str, Any]:
        """What `restore` needs in a sampler of the same settings and number of ranks; plain numbers."""
        return {"seed": self.seed, "next_batch": self.next_batch}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken. Raises ConfigError for the state of another seed."""
        if state["seed"] != self.seed:
            raise ConfigError(
                f"the sampler's state is of seed {state['seed']}, this run has {self.seed}: use that seed"
            )
        self.next_batch = int(state["next_batch"])

    def __iter__(self) -> Iterator[ClipBatch]:
        while True:
            self.next_batch += 1
            yield self.batch(self.next_batch - 1)

    def batch(self, number: int) -> ClipBatch:
        """The batch with this number; does not change the state. Raises DataError as `clip` does."""
        frames, interval, count = self._drawn(number)
        while len(self._before) <= number:
            self._before.append(self._before[-1] + self._drawn(len(self._before) - 1)[2])
        first = self._before[number] * self.world + self.rank * count
        return ClipBatch(
            number, frames, interval, tuple(self.clip(n, frames, interval) for n in range(first, first + count))
        )

    def _drawn(self, number: int) -> tuple[int, int, int]:
        """Length, interval and clips per rank of a batch."""
        rng = np.random.default_rng((self.seed, 0, number))
        frames = int(rng.integers(self.frames[0], self.frames[1] + 1))
        interval = int(rng.integers(self.intervals[0], self.intervals[1] + 1))
        return frames, interval, max(1, self.images_per_batch // frames)

    def clip(self, number: int, frames: int, interval: int, attempt: int = 0) -> Clip:
        """Clip `number` with that length; `attempt` > 0 gives a substitute from the same data set.

        Raises DataError when no sequence of the data set is long enough.
        """
        share, visit = self._visit(number)
        names = self._names[share]
        rng = np.random.default_rng((self.seed, 1, number, attempt))
        order = np.random.default_rng((self.seed, 2, share, visit // len(names))).permutation(len(names))
        start = visit % len(names) + attempt
        longest = 0
        for k in range(len(names)):
            sequence = names[order[(start + k) % len(names)]]
            ids = self._frame_ids(share, sequence)
            longest = max(longest, len(ids))
            if len(ids) >= frames:
                return Clip(number, share, sequence, _pick(ids, frames, interval, self.shuffle, rng))
        raise DataError(
            f"{self.mixture[share].dataset.name}: a clip of {frames} frames was asked for, its longest sequence has "
            f"{longest}: shorten the clips or leave the set out"
        )

    def _frame_ids(self, share: int, sequence: str) -> list[int]:
        """The frames of a sequence; none when it cannot be read and `on_bad` is "skip"."""
        if (share, sequence) in self._unreadable:
            return []
        try:
            return self.mixture[share].dataset.frame_ids(sequence)
        except DataError as error:
            if self.on_bad == "stop":
                raise
            log.warning("leaving out a sequence: %s", error)
            self._unreadable.add((share, sequence))
            return []

    def _visit(self, number: int) -> tuple[int, int]:
        """The data set of a clip, and how many of its clips came before."""
        epoch, place = divmod(number, self.clips_per_epoch)
        slot = int(np.random.default_rng((self.seed, 3, epoch)).permutation(self.clips_per_epoch)[place])
        starts = np.concatenate(([0], np.cumsum(self.visits)))
        share = int(np.searchsorted(starts, slot, side="right")) - 1
        return share, epoch * self.visits[share] + slot - int(starts[share])

    def load(self, batch: ClipBatch, on_bad: str = "stop") -> list[Sample]:
        """Decode a batch.

        Args:
            on_bad: "stop" raises on the first clip that is damaged or useless; "skip" logs it (naming the file or
                frame) and takes a substitute of the same data set.

        Raises:
            DataError: see `on_bad`; also when 16 substitutes in a row are bad.
        """
        if on_bad not in ("stop", "skip"):
            raise ConfigError(f"on_bad={on_bad!r}: expected 'stop' or 'skip'")
        return [self._load(clip, batch, on_bad) for clip in batch.clips]

    def _load(self, clip: Clip, batch: ClipBatch, on_bad: str) -> Sample:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                sample = self.mixture[clip.share].dataset.load(clip.sequence, clip.frame_ids)
                check_usable(sample)
                return sample
            except DataError as error:
                if on_bad == "stop":
                    raise
                log.warning("skipping a clip: %s", error)
                clip = self.clip(clip.number, batch.frames, batch.interval, attempt)
        name = self.mixture[clip.share].dataset.name
        raise DataError(
            f"{name}: {_ATTEMPTS} clips in a row were bad, the last was {clip.sequence}: check the data set"
        )


def visits_per_epoch(sizes: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Clips per set and epoch: in the proportion of the weights, and every set at least once through."""
    total = sum(weights)
    length = max(size * total / weight for size, weight in zip(sizes, weights))
    return [math.ceil(length * weight / total - 1e-9) for weight in weights]


def check_usable(sample: Sample) -> None:
    """Raise DataError for a clip that cannot train: too few points to fix the scale, or absurd units."""
    count = int(sample.valid_depth[0].sum())
    where = f"{sample.name}, frame {sample.frame_number(0)}"
    if count < MIN_POINTS:
        raise DataError(f"{where}: only {count} pixels have depth, the first frame of a clip needs {MIN_POINTS}")
    mean = float(sample.depth[0][sample.valid_depth[0]].mean())
    if not MEAN_DISTANCE[0] <= mean <= MEAN_DISTANCE[1]:
        raise DataError(f"{where}: mean depth is {mean:g}, expected {MEAN_DISTANCE[0]:g}..{MEAN_DISTANCE[1]:g} units")


def _pick(ids: list[int], frames: int, interval: int, shuffle: float, rng: np.random.Generator) -> tuple[int, ...]:
    """`frames` ids at `interval` (less if the sequence is short) from a uniform start."""
    if frames > 1:
        interval = min(interval, (len(ids) - 1) // (frames - 1))
    span = (frames - 1) * interval
    start = int(rng.integers(0, len(ids) - span))
    places = np.arange(start, start + span + 1, interval)
    if rng.random() < shuffle:
        rng.shuffle(places[1:])
    return tuple(ids[i] for i in places)


def _check(mixture: Sequence[Share], images: int, frames: tuple[int, int], intervals: tuple[int, int], rank: int,
           world: int) -> None:  # fmt: skip
    if not mixture:
        raise ConfigError("the mixture has no data set: give at least one")
    for share in mixture:
        if not share.weight > 0 or not math.isfinite(share.weight):
            raise ConfigError(f"{share.dataset.name} has weight {share.weight}: expected a positive number")
        if not len(share.dataset):
            raise DataError(f"{share.dataset.name} has no sequences: check its folder")
    for name, (low, high) in (("frames", frames), ("intervals", intervals)):
        if not 1 <= low <= high:
            raise ConfigError(f"{name} = {(low, high)}: expected 1 <= low <= high")
    if images < 1 or not 0 <= rank < world:
        raise ConfigError(
            f"images_per_batch={images}, rank {rank} of {world}: expected >= 1 image and 0 <= rank < world"
        )
