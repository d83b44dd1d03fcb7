"""SEA-RAFT as a flow backend.

Choices
- The network's own confidence is multiplied with the forward-backward check when both directions are computed.
- Pictures are used at the size they come; memory grows with the square of the pixel count (about 0.3 GB at 960x540).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from openmore.errors import ConfigError
from openmore.flow.base import FlowResult, check_pair
from openmore.flow.consistency import forward_backward
from openmore.flow.sea_raft.network import CONFIGS, confidence_of
from openmore.flow.sea_raft.weights import build


class SEARaftFlow:
    """Flow by SEA-RAFT `size` (s, m or l); see `weights.build` for `weights`. Raises CheckpointError."""

    smallest = 64  # the coarsest correlation level must keep a pixel

    def __init__(self, size: str = "m", weights: str | Path | None = None, device: str | torch.device = "cpu"):
        if size not in CONFIGS:
            raise ConfigError(f"SEA-RAFT size {size!r} is unknown: choose s, m or l")
        self.size, self.device = size, torch.device(device)
        self.network = build(size, weights).to(self.device)

    @property
    def name(self) -> str:
        return f"sea-raft-{self.size}"

    def __call__(self, image_a: np.ndarray, image_b: np.ndarray) -> FlowResult:
        """Flow a -> b with the network's own confidence. Raises InputError below 64x64."""
        check_pair(image_a, image_b, self.smallest)
        with torch.inference_mode():
            flow, info = self.network(self._tensor(image_a), self._tensor(image_b))
            return FlowResult(flow[0].cpu().numpy(), confidence_of(info)[0].cpu().numpy())

    def both(self, image_a: np.ndarray, image_b: np.ndarray) -> tuple[FlowResult, FlowResult]:
        """Flow a -> b and b -> a; confidence is the network's times the forward-backward check's."""
        ab, ba = self(image_a, image_b), self(image_b, image_a)
        return _checked(ab, ba), _checked(ba, ab)

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float() / 255


def _checked(there: FlowResult, back: FlowResult) -> FlowResult:
    return FlowResult(there.flow, there.confidence * forward_backward(there.flow, back.flow).confidence)
