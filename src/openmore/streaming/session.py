"""A live reconstruction: push frames, get final predictions, with bounded memory.

`TensorStream` does the maths; this class adds the manners: frames of any kind and size, original-pixel cameras,
threads kept apart, refinement, saving and resuming.

Choices
- A prediction is final when returned: nothing already emitted is ever changed. `refine` returns new cameras instead.
- Two sessions on one model never touch each other; two threads on one session are refused.
- For batches of streams use `openmore.streaming.stream.TensorStream` directly.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from openmore.checks import Expected, optional, require, shown, whole
from openmore.errors import ConfigError, StreamError
from openmore.io.frames import Frame
from openmore.io.sizing import Sizing
from openmore.model.config import HEADS
from openmore.model.more import MoRe
from openmore.model.output import decode_cameras, raw_world_from_cam, to_images, to_predictions
from openmore.model.weights.registry import is_embedded
from openmore.streaming.policy import Budget, KeepAll, Policy, Window, choose_policy
from openmore.streaming.saving import load_stream, save_stream
from openmore.streaming.stream import StreamOptions, TensorStream
from openmore.types import Camera, FramePrediction

log = logging.getLogger(__name__)

_EXPECTED = {
    "model": Expected(lambda value: isinstance(value, MoRe), "a network, as MoRe.from_pretrained returns it"),
    "outputs": optional(
        Expected(
            lambda value: isinstance(value, Collection) and all(head in HEADS for head in value),
            f"a list of heads out of {', '.join(HEADS)}",
        )
    ),
    "long_side": optional(whole(1)),
}
OVERSHOOT = 0.5  # how far a resized picture may leave 0..1; more is another scale, 0..255 for instance


@dataclass(frozen=True)
class Refined:
    """Cameras re-aggregated over the frames a stream still holds (BA-like aggregation)."""

    frames: tuple[int, ...]  # positions in the stream, ascending
    cameras: list[Camera]
    complete: bool  # whether every frame seen took part
    note: str  # says so in words when frames had been evicted


class StreamingSession:
    """Push frames one by one; get one final `FramePrediction` each."""

    def __init__(
        self,
        model: MoRe,
        *,
        window: int | None = None,
        anchors: int = 1,
        policy: Policy | Budget | str | None = None,
        outputs: Collection[str] | None = None,
        iterations: int | None = None,
        refinable: bool = False,
        cache_dtype: torch.dtype | None = None,
        long_side: int | None = None,
        graphs: bool = False,
    ):
        """`window`: past frames kept beside the first `anchors` (default: all are kept); or give a `policy`.

        policy: an object, or a name as `reconstruct` takes it, with `window` and `anchors` beside it.
        outputs: heads to run beside camera and depth (default: all there are). iterations: camera refinements 1..4.
        refinable: keep what `refine` needs, twice the memory. long_side: pixels the frames are resized to (default:
        what the weights were trained at). graphs: replay steps as CUDA graphs. Raises ConfigError.
        """
        require({"model": model, "outputs": outputs, "long_side": long_side}, _EXPECTED)
        policy = _memory(policy, window, anchors)
        chosen = None if outputs is None else frozenset({"camera", "depth", *outputs})
        self.model = model
        self.long_side = model.config.image_size if long_side is None else long_side
        self.options = StreamOptions(policy, chosen, iterations, refinable, cache_dtype=cache_dtype, graphs=graphs)
        self.warnings: list[str] = []
        if not _trained_on_streams(model):
            self._warn("these weights were trained with full attention: streaming them is off their training")
        self._lock = threading.Lock()
        self.closed = False
        self._forget()

    # -- life -----------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget everything: the next frame begins a new video, of any size."""
        with self._alone():
            self._forget()

    def close(self) -> None:
        """Free the cache, at once or when the frame being pushed is done. Frames pushed later are refused."""
        self.closed = True
        if self._lock.acquire(blocking=False):
            self._forget()
            self._lock.release()

    def _forget(self) -> None:
        self.sizing: Sizing | None = None
        self.stream: TensorStream | None = None
        self._world_from_first: Tensor | None = None

    def __enter__(self) -> StreamingSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def frames_seen(self) -> int:
        """Frames pushed since the last reset."""
        return 0 if self.stream is None else self.stream.frames_seen

    @property
    def memory_mb(self) -> float:
        """Cache memory held, in megabytes (10^6 bytes)."""
        return 0.0 if self.stream is None else self.stream.cache.bytes / 1e6

    # -- frames ---------------------------------------------------------------------------------------------------

    def push(self, frame: Frame | np.ndarray | Tensor) -> FramePrediction:
        """One frame in, its final prediction out. Raises StreamError with the state intact.

        `frame`: a Frame, uint8 [H, W, 3] RGB, or a float tensor [3, H, W] in 0..1.
        """
        return self.push_many([frame])[0]

    def push_many(self, frames: Sequence[Frame | np.ndarray | Tensor]) -> list[FramePrediction]:
        """Frames that arrived together; each sees the past and the group up to itself, as if pushed one by one."""
        frames = list(frames)  # a stack of pictures is a sequence too
        if not frames:
            return []
        with self._alone():
            group = [as_frame(frame, self.frames_seen + i) for i, frame in enumerate(frames)]
            sizing = self._sizing_of(group)
            # Before the pictures: a size that memory cannot hold is refused here.
            stream = self.stream or TensorStream(self.model, sizing.model_shape, self.options)
            pictures = [sizing.apply(frame.image) for frame in group]
            raw = stream.step(to_images(pictures))
            self.stream, self.sizing = stream, sizing
            if self._world_from_first is None:
                self._world_from_first = raw_world_from_cam(raw.pose_codes[-1][0, 0])
            return to_predictions(raw, group, pictures, sizing, self._world_from_first)

    def refine(self) -> Refined:
        """Cameras of the frames still held, each having seen all the others.

        The world stays the first frame's camera while frame 0 is held (anchors >= 1). Raises StreamError when the
        session is not `refinable` or empty.
        """
        with self._alone():
            if self.stream is None or self.sizing is None:
                raise StreamError("nothing to refine: no frame has been pushed yet")
            held, codes = self.stream.refine()
            complete = len(held) == self.frames_seen
            note = "" if complete else f"{self.frames_seen - len(held)} of {self.frames_seen} frames had been evicted"
            origin = raw_world_from_cam(codes[-1][0, 0]) if held[0] == 0 else self._world_from_first
            return Refined(held, decode_cameras(codes[-1][0], self.sizing, origin), complete, note)

    # -- saving ---------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the running stream to one file (atomic); `load` goes on where it stopped, bit for bit."""
        with self._alone():
            if self.stream is None or self.sizing is None or self._world_from_first is None:
                raise StreamError("nothing to save: no frame has been pushed yet")
            save_stream(self.stream, Path(path), self.sizing, self._world_from_first)

    def load(self, path: str | Path) -> None:
        """Continue a saved stream with the same weights and options. Raises StreamError when they differ."""
        with self._alone():
            self.stream, self.sizing, self._world_from_first = load_stream(self.model, self.options, Path(path))

    # -- inside ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise StreamError("another thread is using this session: one producer per session")
        try:
            if self.closed:
                raise StreamError("this session is closed: open a new one")
            yield
        finally:
            if self.closed:  # meanwhile
                self._forget()
            self._lock.release()

    def _sizing_of(self, group: Sequence[Frame]) -> Sizing:
        shapes = {frame.original_shape for frame in group}
        expected = self.sizing.original_shape if self.sizing else next(iter(shapes))
        if shapes != {expected}:
            found = ", ".join(f"{w}x{h}" for h, w in sorted(shapes - {expected}))
            raise StreamError(
                f"frame {self.frames_seen} is {found}, the stream began with {expected[1]}x{expected[0]}: "
                "reset() before changing the size"
            )
        return self.sizing or Sizing.fit(expected, self.long_side, self.model.config.patch_size)

    def _warn(self, text: str) -> None:
        log.warning(text)
        self.warnings.append(text)


def _memory(policy: Policy | Budget | str | None, window: int | None, anchors: int) -> Policy | Budget:
    """What is remembered. Raises ConfigError for settings that would silently do nothing."""
    if isinstance(policy, str):
        return choose_policy(policy, window=window, anchors=anchors)
    if window is not None and policy is not None:
        raise ConfigError("give either window or policy, not both")
    if window is not None:
        return Window(window, anchors)
    if anchors != 1:
        raise ConfigError(
            f"anchors {shown(anchors)} was given without a window: give a window, or a policy that has it"
        )
    return KeepAll() if policy is None else policy


def as_frame(frame: Frame | np.ndarray | Tensor, position: int) -> Frame:
    """Any accepted kind of frame as a Frame. Raises StreamError in one line."""
    if isinstance(frame, Frame):
        _require_picture(frame.image, position)
        return frame
    if isinstance(frame, Tensor):
        if frame.dim() != 3 or frame.shape[0] != 3 or not frame.is_floating_point():
            raise StreamError(
                f"frame {position}: expected a float tensor [3, H, W] in 0..1, got {frame.dtype} {list(frame.shape)}"
            )
        low, high = (float(x) for x in frame.float().aminmax()) if frame.numel() else (0.0, 0.0)
        if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):  # NaN fails too
            raise StreamError(f"frame {position}: pixels lie in {low:g}..{high:g}, expected finite ones in 0..1")
        frame = (frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    array = np.asarray(frame)
    _require_picture(array, position)
    return Frame(position, float(position), array, f"frame {position}")


def _require_picture(array: np.ndarray, position: int) -> None:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise StreamError(f"frame {position}: expected uint8 [H, W, 3], got {array.dtype} {list(array.shape)}")


def _trained_on_streams(model: MoRe) -> bool:
    """Whether the weights know causal passes: by design, as the shipped ones, or by what their training run says."""
    if model.config.attention == "causal" or is_embedded(model.provenance):
        return True
    return model.provenance.get("passes") in ("mixed", "causal")
