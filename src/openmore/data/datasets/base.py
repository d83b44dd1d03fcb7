"""What every data set reader is: sequences of frames with cameras, decoded one clip at a time.

Choices
- A reader states three things: the names of its sequences, the light index of one (ids, times, cameras: text files),
  and how to decode the pixels of one frame. Stacking, checking and caching are written once, here.
- Frame ids are integers: the number in the file name where there is one, else the position. They may have holes
  (frames with invalid cameras are dropped from the index and counted in `dropped`).
- Nothing but the frames asked for is ever decoded; indices of the last sequences are kept because clips repeat them.
- Conventions are settled in the reader (docs/conventions.md): OpenCV axes, z-depth, 0 = no value, x y z w.
- Failures are one-line DataErrors that name the file and the cure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import ClassVar, Protocol

import numpy as np

from openmore.data.sample import Sample
from openmore.errors import ConfigError, DataError
from openmore.types import UNKNOWN

_KEPT_INDICES = 16


class Dataset(Protocol):
    """Anything clips can be drawn from."""

    @property
    def name(self) -> str:
        """What messages and sample names call it."""
        ...

    def __len__(self) -> int:
        """Number of sequences."""
        ...

    def names(self) -> list[str]:
        """Sequence names, sorted."""
        ...

    def frame_ids(self, sequence: str) -> list[int]:
        """Ids of the usable frames, in temporal order where the data set is a video."""
        ...

    def load(self, sequence: str, frame_ids: Sequence[int]) -> Sample:
        """Decode those frames. Raises DataError naming the file at fault."""
        ...

    def truth(self, sequence: str) -> dict[str, str]:
        """What a sequence really knows (cameras, intrinsics, depth, motion) -> "true" or "pseudo"."""
        ...


@dataclass
class Index:
    """The light part of one sequence: what text files say."""

    ids: list[int]
    times_s: np.ndarray  # [N] seconds, or frame numbers where the source has no clock
    world_from_cam: np.ndarray  # [N, 4, 4] float64, rigid, OpenCV axes
    K: np.ndarray  # [N, 3, 3] float64 pixels
    files: list[Path] = field(default_factory=list)  # [N] the frames' pictures
    dropped: dict[str, int] = field(default_factory=dict)  # reason -> number of frames left out
    _position: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self._position = {frame_id: i for i, frame_id in enumerate(self.ids)}

    def position(self, frame_id: int) -> int | None:
        """Place of a frame id, None when the sequence has no such usable frame."""
        return self._position.get(frame_id)

    def without(self, bad: np.ndarray, reason: str) -> Index:
        """The index less the frames where `bad` [N] is true, counted under `reason`."""
        if not bad.any():
            return self
        keep = np.flatnonzero(~bad)
        dropped = {**self.dropped, reason: self.dropped.get(reason, 0) + int(bad.sum())}
        ids = [self.ids[i] for i in keep]
        files = [self.files[i] for i in keep] if self.files else []
        return Index(ids, self.times_s[keep], self.world_from_cam[keep], self.K[keep], files, dropped)


@dataclass
class Pixels:
    """The heavy part of one frame. Everything but the image may be None: this source does not say."""

    image: np.ndarray  # [H, W, 3] uint8 RGB
    depth: np.ndarray | None = None  # [H, W] z; 0, NaN, infinite or negative = no value
    motion: np.ndarray | None = None  # [H, W] uint8 0 static, 1 moving, 255 unknown
    instances: np.ndarray | None = None  # [H, W] int32
    sky: np.ndarray | None = None  # [H, W] bool
    flow_forward: np.ndarray | None = None  # [2, H, W] to the next frame of the sequence
    flow_backward: np.ndarray | None = None  # [2, H, W] to the frame before


class FrameDataset(ABC):
    """A data set on disk. Subclasses implement `names`, `read_index` and `read_pixels`."""

    name: str
    is_metric: ClassVar[bool] = False
    is_video: ClassVar[bool] = True
    knows: ClassVar[tuple[str, ...]] = ("cameras", "intrinsics", "depth")  # and "motion"; the rest is filled in
    # What was written from memory of the format -> how `openmore data check` shows that it is wrong.
    recalled: ClassVar[dict[str, str]] = {}
    picture_shape: ClassVar[tuple[int, int] | None] = None  # (H, W) in the official download

    def __init__(self, root: str | Path, *, threads: int = 1):
        """`threads` decode the frames of a clip in parallel. Raises DataError when `root` is no folder."""
        self.root = Path(root)
        self.threads = threads
        self._indices: OrderedDict[str, Index] = OrderedDict()
        if not self.root.is_dir():
            raise DataError(f"{self.root} is not a folder: give the root of {self.name} (see docs/data.md)")
        if threads < 1:
            raise ConfigError(f"{threads} threads cannot decode anything: give 1 or more")

    @abstractmethod
    def names(self) -> list[str]:
        """Sequence names, sorted."""

    @abstractmethod
    def read_index(self, sequence: str) -> Index:
        """Ids, times and cameras of one sequence from its text files."""

    @abstractmethod
    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        """Decode the frame at place `i` of the index."""

    def truth(self, sequence: str) -> dict[str, str]:
        """What a sequence really knows -> "true" or "pseudo"; what is absent is filled in and means nothing."""
        return dict.fromkeys(self.knows, "true")

    def expected_sequences(self) -> int | None:
        """How many sequences the whole download has for this reader, None when nobody says."""
        return None

    def __len__(self) -> int:
        return len(self.names())

    def index(self, sequence: str) -> Index:
        """The index of one sequence, kept for the next clip. Raises DataError when the sequence has no usable frame."""
        if sequence not in self._indices:
            index = self.read_index(sequence)
            if not index.ids:
                raise DataError(f"{self.name}/{sequence} has no usable frame (dropped: {index.dropped or 'none'})")
            self._indices[sequence] = index
            if len(self._indices) > _KEPT_INDICES:
                self._indices.popitem(last=False)
        self._indices.move_to_end(sequence)
        return self._indices[sequence]

    def frame_ids(self, sequence: str) -> list[int]:
        return self.index(sequence).ids

    def load(self, sequence: str, frame_ids: Sequence[int]) -> Sample:
        """Decode the given frames, in the given order. Raises DataError naming what is missing or damaged."""
        index = self.index(sequence)
        places = [self._place(sequence, index, frame_id) for frame_id in frame_ids]
        if not places:
            raise DataError(f"{self.name}/{sequence}: no frames were asked for: give at least one frame id")
        stack = Stack(f"{self.name}/{sequence}", [index.ids[place] for place in places])

        def decode(s: int) -> None:
            stack.put(s, self.read_pixels(sequence, index, places[s]))

        decode(0)  # says the size, so that every other frame is written where it stays
        if self.threads > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(decode, range(1, len(places))))
        else:
            for s in range(1, len(places)):
                decode(s)
        return self._sample(stack, index, places)

    def _place(self, sequence: str, index: Index, frame_id: int) -> int:
        place = index.position(int(frame_id))
        if place is None:
            raise DataError(
                f"{self.name}/{sequence} has no usable frame {frame_id}: it has {len(index.ids)} frames "
                f"{index.ids[0]}..{index.ids[-1]} (dropped: {index.dropped or 'none'})"
            )
        return place

    def _sample(self, stack: Stack, index: Index, places: list[int]) -> Sample:
        neighbours = bool(np.all(np.diff(places) == 1))
        forward, backward = (stack.arrays.get(key) if neighbours else None for key in _FLOWS)
        if forward is not None:
            forward[-1] = np.nan  # its target is not in the clip
        if backward is not None:
            backward[0] = np.nan
        return Sample(
            images=stack.images,
            depth=stack.depth,
            K=index.K[places],
            world_from_cam=index.world_from_cam[places],
            times_s=index.times_s[places].astype(np.float64),
            name=stack.name,
            motion=stack.arrays.get("motion"),
            flow_forward=forward,
            flow_backward=backward,
            instances=stack.arrays.get("instances"),
            sky=stack.arrays.get("sky"),
            indices=np.array(stack.ids, dtype=np.int64),
            is_metric=self.is_metric,
            is_video=self.is_video and bool(np.all(np.diff(places) > 0)),
        ).check()


_FLOWS = ("flow_forward", "flow_backward")
# One frame may lack what its neighbours have (the last forward flow): unknown, in the words of each kind.
_MISSING: dict[str, float] = {
    "motion": UNKNOWN,
    "instances": 0,
    "sky": 0,
    "flow_forward": np.nan,
    "flow_backward": np.nan,
}


class Stack:
    """The frames of a clip, each written into the clip's arrays as soon as it is decoded.

    Nothing is held twice, and the memory of one decoded frame serves the next: that is half the time of a clip.
    """

    def __init__(self, name: str, ids: list[int]):
        self.name, self.ids = name, ids
        self.arrays: dict[str, np.ndarray] = {}
        self._lock = Lock()

    def put(self, s: int, frame: Pixels) -> None:
        """Write the frame at place `s`. Raises DataError when its size is not that of the first frame written."""
        if not hasattr(self, "images"):
            self.images = np.empty((len(self.ids), *frame.image.shape), np.uint8)
            self.depth = np.empty((len(self.ids), *frame.image.shape[:2]), np.float32)
        if frame.image.shape != self.images.shape[1:]:
            sizes = sorted({frame.image.shape[:2], self.images.shape[1:3]})
            raise DataError(f"{self.name}: frames differ in size {sizes}: take frames of one size")
        self.images[s] = frame.image
        clean_depth(frame.depth, self.depth[s], self.name, self.ids[s])
        for key, unknown in _MISSING.items():
            if (value := getattr(frame, key)) is not None:
                self._array(key, value, unknown)[s] = value

    def _array(self, key: str, value: np.ndarray, unknown: float) -> np.ndarray:
        with self._lock:
            if key not in self.arrays:
                self.arrays[key] = np.full((len(self.ids), *value.shape), unknown, value.dtype)
            return self.arrays[key]


def clean_depth(depth: np.ndarray | None, out: np.ndarray, name: str, frame_id: int) -> None:
    """Write depth into `out` [H, W] float32, 0 wherever it is unknown. Raises DataError when the shapes differ."""
    if depth is None:
        out[:] = 0
        return
    if depth.shape != out.shape:
        raise DataError(
            f"{name}, frame {frame_id}: depth is {depth.shape} but the image is {out.shape}: files do not match"
        )
    out[:] = depth
    unknown = ~((out > 0) & (out < np.inf))  # NaN is neither
    if unknown.any():
        out[unknown] = 0


def identity_cameras(count: int) -> np.ndarray:
    """[count, 4, 4] for sources that know no cameras."""
    return np.tile(np.eye(4), (count, 1, 1))


def invalid_cameras(world_from_cam: np.ndarray) -> np.ndarray:
    """[N] bool: not finite, or the rotation is not orthonormal (tolerance as in the Sample contract)."""
    finite = np.asarray(np.isfinite(world_from_cam).all((-1, -2)))
    R = np.where(finite[:, None, None], world_from_cam[:, :3, :3], np.eye(3))
    skewed = np.abs(R @ R.swapaxes(-1, -2) - np.eye(3)).max((-1, -2)) > 1e-3
    return ~finite | skewed | (np.linalg.det(R) < 0)
