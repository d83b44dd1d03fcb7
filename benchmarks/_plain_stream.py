"""The obvious way to stream, kept as the yardstick of benchmarks/stream.py and as a plain twin in the tests.

A float32 cache grown by `torch.cat` in every layer and frame, the tokens of all layers kept, both dense heads, and
everything that depends on the image size made anew for each frame. Same network, same weights.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from openmore.model.more import MoRe, RawOutput


class GrowingCache:
    """Keys and values concatenated frame by frame (an AttentionPattern)."""

    def __init__(self) -> None:
        self.k: dict[tuple[int, ...], Tensor] = {}
        self.v: dict[tuple[int, ...], Tensor] = {}

    def over_tokens(self, layer: int, frames: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self._attend((layer,), q, k, v)

    def over_cameras(self, iteration: int, block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self._attend((iteration, block), q, k, v)

    def keep_frame(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Frame blocks cache nothing."""

    @property
    def bytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in (*self.k.values(), *self.v.values()))

    def _attend(self, key: tuple[int, ...], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = k.float(), v.float()
        if key in self.k:
            k, v = torch.cat((self.k[key], k), 2), torch.cat((self.v[key], v), 2)
        self.k[key], self.v[key] = k, v
        return F.scaled_dot_product_attention(q.float(), k, v)


class PlainStream:
    """Frames [B, 1, 3, H, W] through a model, remembering everything."""

    def __init__(self, model: MoRe):
        self.model, self.cache, self.frames_seen = model, GrowingCache(), 0

    def step(self, images: Tensor) -> RawOutput:
        layers = range(self.model.config.depth)
        with torch.inference_mode():
            raw = self.model.run(images, self.cache, first=self.frames_seen == 0, keep_tokens=layers)
        self.frames_seen += 1
        return raw
