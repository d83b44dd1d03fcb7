"""Exact flow of clips whose motion is known, behind the same protocol as the estimators.

Choices
- The clip is given at construction; a pair is found again by its pixels, so callers cannot mix frames up.
- Only neighbouring frames have flow (the Sample contract); other pairs are an InputError, not a guess.
- Where truth is NaN or occluded, confidence is 0 by the same check as for every backend.
"""

from __future__ import annotations

import numpy as np

from openmore.errors import InputError
from openmore.flow.base import FlowResult, check_pair
from openmore.flow.consistency import forward_backward


class ExactFlow:
    """Flow read from truth: images [S, H, W, 3] uint8, forward and backward flow [S, 2, H, W] as in `Sample`."""

    name = "exact"
    smallest = 1

    def __init__(self, images: np.ndarray, flow_forward: np.ndarray, flow_backward: np.ndarray):
        expected = (len(images), 2, *images.shape[1:3])
        if flow_forward.shape != expected or flow_backward.shape != expected:
            given = f"{list(flow_forward.shape)} and {list(flow_backward.shape)}"
            raise InputError(f"exact flow got forward and backward flow {given}: expected {list(expected)} each")
        self._forward, self._backward = flow_forward, flow_backward
        self._places: dict[bytes, list[int]] = {}
        for s, image in enumerate(images):
            self._places.setdefault(image.tobytes(), []).append(s)

    def __call__(self, image_a: np.ndarray, image_b: np.ndarray) -> FlowResult:
        """True flow a -> b of two neighbouring frames of the clip."""
        return self.both(image_a, image_b)[0]

    def both(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[FlowResult, FlowResult]:
        """True flow a -> b and b -> a. Raises InputError unless the pictures are neighbouring frames of the clip."""
        check_pair(image_a, image_b)
        a, b = self._find(image_a, image_b)
        ab, ba = (self._forward[a], self._backward[b]) if b > a else (self._backward[a], self._forward[b])
        return (
            FlowResult(ab, forward_backward(ab, ba).confidence),
            FlowResult(ba, forward_backward(ba, ab).confidence),
        )

    def _find(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[int, int]:
        """Equal pictures (a frozen video) cannot be told apart: the first neighbouring pair is taken."""
        for a in self._places.get(image_a.tobytes(), []):
            for b in self._places.get(image_b.tobytes(), []):
                if abs(a - b) == 1:
                    return a, b
        raise InputError(
            "exact flow got two pictures that are not neighbouring frames of its clip: use another backend"
        )
