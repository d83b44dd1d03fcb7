"""CUDA graphs for the step of a stream: one launch instead of thousands, once the stream is in its steady state.

Choices
- A graph repeats kernels on fixed memory. All that changes between two steps of a bounded stream lives in tensors of
  fixed place: the picture, the keys and values, and the slot numbers. Whatever else the kernels depend on is the
  `signature`: steps with dense heads and steps without have two, and each gets its graph.
- Nothing is captured while a cache is filling, because no two of those steps are alike.
- Results are copied out of the graph's memory: a prediction is final and must outlive the next replay.
- Off unless asked for (`StreamOptions.graphs`): a graph keeps its working memory for as long as the stream lives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from openmore.model.more import RawOutput

Step = Callable[[Tensor], RawOutput]
MOST = 4  # graphs per stream
WARM_UP = 3  # runs before the capture, so that libraries have chosen their kernels and allocated their workspaces


class StepGraph:
    """One captured step. Capturing runs it a few times on the same slots, which changes nothing."""

    def __init__(self, step: Step, images: Tensor):
        """images: [B, 1, 3, H, W] on the CUDA device."""
        self._images = images.clone()
        with torch.cuda.device(images.device):
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(WARM_UP):
                    step(self._images)
            torch.cuda.current_stream().wait_stream(beside)
            self._graph = torch.cuda.CUDAGraph()
            # Other threads may go on using the device: a second session, for instance.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._output = step(self._images)

    def __call__(self, images: Tensor) -> RawOutput:
        """The step for other pictures; the slot numbers are in place already."""
        self._images.copy_(images)
        self._graph.replay()
        return copied(self._output)


class GraphedSteps:
    """Runs a step as it is the first time its signature appears, and replays it from then on."""

    def __init__(self, capture: Callable[[Step, Tensor], Step] = StepGraph):
        self.replayed = 0  # steps
        self._capture = capture
        self._seen: set[Hashable] = set()
        self._captured: dict[Hashable, Step] = {}

    def __call__(self, step: Step, images: Tensor, signature: Hashable) -> RawOutput:
        """`signature`: everything outside of tensors of fixed place that the step's kernels depend on."""
        if signature not in self._captured:
            if signature not in self._seen or len(self._captured) == MOST:
                self._seen.add(signature)
                return step(images)
            self._captured[signature] = self._capture(step, images)
        self.replayed += 1
        return self._captured[signature](images)


def copied(output: RawOutput) -> RawOutput:
    """A copy of every tensor."""

    def copy(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.clone()
        return [item.clone() for item in value] if isinstance(value, list) else value

    return RawOutput(**{field.name: copy(getattr(output, field.name)) for field in fields(output)})
