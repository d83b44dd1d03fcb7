"""Frames of a source as the network sees them, one at a time, and whether a clip of them fits into memory.

Choices
- Damaged frames are skipped, recorded and warned about; no good frame is lost.
- Nonsense (intrinsics of another picture, a picture too large) is refused at the first frame, before the work.
- A clip that full attention cannot hold is refused at the first frame too many: how many a source has is known for
  certain only when it ends, and what would be kept until then can fill the memory itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from openmore.errors import InputError
from openmore.io.frames import Frame, frames
from openmore.io.sizing import Sizing
from openmore.model.estimate import available_bytes, estimate_full, most_frames
from openmore.model.more import MoRe
from openmore.pipeline.options import Options
from openmore.refinement.apply import working_picture
from openmore.streaming.stream import backbone_dtype

log = logging.getLogger(__name__)

Sized = tuple[Frame, np.ndarray, Sizing]


def sized_frames(
    source: Any,
    model: MoRe,
    options: Options,
    skipped: list[dict[str, Any]],
    working: list[np.ndarray] | None = None,
) -> Iterator[Sized]:
    """Frames with their model-resolution pictures.

    Damaged frames go to `skipped`; larger pictures for refinement go to `working` when it is given.
    """

    def on_skip(index: int, reason: str) -> None:
        log.warning("frame %d skipped: %s", index, reason)
        skipped.append({"index": index, "reason": reason})

    long_side = options.long_side or model.config.image_size
    sizing: Sizing | None = None
    room: Room | None = None
    found = frames(
        source,
        fps=options.fps,
        stride=options.stride,
        start=options.start,
        end=options.end,
        max_frames=options.max_frames,
        on_skip=on_skip,
    )
    for count, frame in enumerate(found, 1):
        if sizing is None and options.intrinsics is not None:
            options.intrinsics.K_for(frame.original_shape)  # nonsense is refused before the network runs
        larger = None if working is None else working_picture(frame.image)
        if sizing is None or room is None:
            sizing = Sizing.fit(frame.original_shape, long_side, model.config.patch_size)
            room = Room(model, sizing.model_shape, 0 if larger is None else larger.nbytes)
        if count == 1 or options.mode == "full":
            room.require(count)  # before the picture is made: a huge one alone fills the memory
        if working is not None and larger is not None:
            working.append(larger)
        yield frame, sizing.apply(frame.image), sizing


class Room:
    """Memory for a clip under full attention, measured at its first frame: what is kept of later ones is planned for.

    `beside`: bytes of pictures kept per frame besides the one of `shape` that the network sees.
    """

    def __init__(self, model: MoRe, shape: tuple[int, int], beside: int):
        self.model, self.shape, self.dtype = model, shape, backbone_dtype(model)
        self.available = available_bytes(model.device)
        # Pictures wait in the host's memory: of a GPU's they take nothing.
        self.kept = 0 if model.device.type == "cuda" else 3 * shape[0] * shape[1] + beside
        # The weights are already in memory: only the pass itself must still fit.
        weights = estimate_full(model.config, 1, shape, self.dtype).weights_bytes
        self.most = most_frames(model.config, shape, self.dtype, self.available + weights, self.kept)

    def require(self, count: int) -> None:
        """Refuse more frames than there is room for, saying what would work."""
        if count <= self.most:
            return
        needed = estimate_full(self.model.config, count, self.shape, self.dtype).activation_bytes + count * self.kept
        fits = f"use --mode stream, --max-frames {self.most}, or " if self.most else "use "
        raise InputError(
            f"at least {count} frame(s) of {self.shape[1]}x{self.shape[0]} need about {needed / 1e9:.1f} GB with full "
            f"attention and {self.available / 1e9:.1f} GB are free: {fits}a smaller --long-side"
        )
