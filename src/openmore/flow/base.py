"""What every optical-flow backend takes and gives.

Choices
- Pictures are numpy uint8 RGB, as `openmore.io.frames` yields them; flow is float32 [2, H, W] in pixels, u right then v
  down, from the first picture to the second (docs/conventions.md).
- Confidence is 0..1 per pixel of the first picture: 0 where the flow means nothing (occluded, leaves the picture),
  0.5 where the consistency test just passes. Backends without an estimate of their own get it from `consistency`.
- A backend computes both directions at once (`both`): every consumer wants the check, and half the work is shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from openmore.errors import InputError


@dataclass(frozen=True)
class FlowResult:
    """Flow from one picture to another."""

    flow: np.ndarray  # [2, H, W] float32, pixels; NaN where a backend has no answer
    confidence: np.ndarray  # [H, W] float32, 0..1; below 0.5 = do not use


class FlowEstimator(Protocol):
    """A flow backend. Both methods raise InputError for pictures of the wrong kind or of two shapes."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def smallest(self) -> int:
        """Pixels along the shorter side below which it refuses a picture."""
        ...

    def __call__(self, image_a: np.ndarray, image_b: np.ndarray) -> FlowResult:
        """Flow a -> b of two pictures [H, W, 3] uint8 RGB."""
        ...

    def both(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[FlowResult, FlowResult]:
        """Flow a -> b and b -> a."""
        ...


def check_pair(image_a: np.ndarray, image_b: np.ndarray, smallest: int = 1) -> None:
    """Raise InputError unless both are uint8 [H, W, 3] of one shape with sides of at least `smallest` pixels."""
    for image in (image_a, image_b):
        if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
            given = f"{image.dtype} {list(image.shape)}"
            raise InputError(f"optical flow got a picture {given}: expected uint8 [H, W, 3], RGB 0..255")
    if image_a.shape != image_b.shape:
        raise InputError(
            f"optical flow got pictures of {_size(image_a)} and {_size(image_b)}: resize them to one shape first"
        )
    if min(image_a.shape[:2]) < smallest:
        raise InputError(f"optical flow got pictures of {_size(image_a)}: expected at least {smallest}x{smallest}")


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
