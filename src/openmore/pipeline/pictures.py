"""Frames of a source as the network sees them, one at a time, and whether a clip of them fits into memory.

Choices
- Damaged frames are skipped, recorded and warned about; no good frame is lost.
- Nonsense (intrinsics of another picture, a picture too large) is refused at the first frame, before the work.
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
    for frame in frames(
        source,
        fps=options.fps,
        stride=options.stride,
        start=options.start,
        end=options.end,
        max_frames=options.max_frames,
        on_skip=on_skip,
    ):
        if sizing is None and options.intrinsics is not None:
            options.intrinsics.K_for(frame.original_shape)  # nonsense is refused before the network runs
        if sizing is None:
            sizing = Sizing.fit(frame.original_shape, long_side, model.config.patch_size)
            require_fit(model, 1, sizing.model_shape)  # before the picture is made: a huge one alone fills the memory
        if working is not None:
            working.append(working_picture(frame.image))
        yield frame, sizing.apply(frame.image), sizing


def require_fit(model: MoRe, count: int, shape: tuple[int, int]) -> None:
    """Refuse a clip that full attention cannot hold, saying what would work."""
    available = available_bytes(model.device)
    dtype = backbone_dtype(model)
    # The weights are already in memory: only the pass itself must still fit.
    needed = estimate_full(model.config, count, shape, dtype).activation_bytes
    if needed <= available:
        return
    weights = estimate_full(model.config, 1, shape, dtype).weights_bytes
    fits = most_frames(model.config, shape, dtype, available + weights)
    advice = (
        f"use --mode stream, --max-frames {fits}, or a smaller --long-side" if fits else "use a smaller --long-side"
    )
    raise InputError(
        f"{count} frame(s) of {shape[1]}x{shape[0]} need about {needed / 1e9:.1f} GB with full attention and "
        f"{available / 1e9:.1f} GB are free: {advice}"
    )
