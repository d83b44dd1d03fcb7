"""Dense Inverse Search flow (Kroeger et al. 2016) from OpenCV: the default, because it needs no weights.

Choices
- Grey pictures; both directions are computed and checked against each other, which is where confidence comes from.
- `medium` is the most accurate preset (patches every 3 px, variational refinement); `fast` is about 4 times quicker.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from openmore.errors import ConfigError
from openmore.flow.base import FlowResult, check_pair
from openmore.flow.consistency import forward_backward

PRESETS = ("ultrafast", "fast", "medium")


class DISFlow:
    """DIS flow on the CPU. Each thread has an OpenCV object of its own: they keep scratch memory."""

    smallest = 12  # OpenCV refuses smaller pictures

    def __init__(self, preset: str = "medium"):
        if preset not in PRESETS:
            raise ConfigError(f"DIS preset {preset!r} is unknown: choose one of {', '.join(PRESETS)}")
        self.preset = preset
        self._own = threading.local()

    @property
    def name(self) -> str:
        return f"dis-{self.preset}"

    def __call__(self, image_a: np.ndarray, image_b: np.ndarray) -> FlowResult:
        """Flow a -> b with the confidence of the forward-backward check."""
        return self.both(image_a, image_b)[0]

    def both(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[FlowResult, FlowResult]:
        """Flow a -> b and b -> a. Raises InputError for pictures of two shapes or below 12x12."""
        check_pair(image_a, image_b, self.smallest)
        grey_a, grey_b = _grey(image_a), _grey(image_b)
        ab, ba = self._calc(grey_a, grey_b), self._calc(grey_b, grey_a)
        return (
            FlowResult(ab, forward_backward(ab, ba).confidence),
            FlowResult(ba, forward_backward(ba, ab).confidence),
        )

    def _calc(self, grey_a: np.ndarray, grey_b: np.ndarray) -> np.ndarray:
        import cv2

        if not hasattr(self._own, "solver"):
            code = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{self.preset.upper()}")
            self._own.solver = cv2.DISOpticalFlow.create(code)
        solver: Any = self._own.solver  # OpenCV's types do not know that the flow may be None
        flow = solver.calc(grey_a, grey_b, None)
        return np.ascontiguousarray(flow.transpose(2, 0, 1), dtype=np.float32)


def _grey(image: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
