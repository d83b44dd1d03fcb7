"""What one training step sees: a batch of clips with their truth, as tensors on one device.

Choices
- All clips of a batch share their number of frames and their size.
- Unknown stays unknown: depth 0 and `valid` False where there is none, motion label 255 where nobody says.
- Truth is in the source's units and world; the objective normalises it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from openmore.data.sample import Sample
from openmore.errors import DataError
from openmore.types import UNKNOWN


@dataclass
class Batch:
    """B clips of S frames of H x W pixels."""

    images: Tensor  # [B, S, 3, H, W] float32, RGB 0..1
    depth: Tensor  # [B, S, H, W] float32, z, 0 = no value
    valid: Tensor  # [B, S, H, W] bool, depth can be trusted
    K: Tensor  # [B, S, 3, 3] float32, pixels
    world_from_cam: Tensor  # [B, S, 4, 4] float32
    motion: Tensor  # [B, S, H, W] uint8: 0 static, 1 moving, 255 unknown
    names: tuple[str, ...] = ()  # where each clip comes from, for messages

    @property
    def frames(self) -> int:
        """S."""
        return self.images.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.images.shape[-2], self.images.shape[-1]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; copies from pinned memory do not wait."""
        return replace(self, **{k: v.to(device, non_blocking=True) for k, v in self._tensors().items()})

    def pin_memory(self) -> Batch:
        """Called by torch's loader."""
        return replace(self, **{k: v.pin_memory() for k, v in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        return {k: v for k, v in vars(self).items() if isinstance(v, Tensor)}


def collate(samples: Sequence[Sample]) -> Batch:
    """Clips of one size and length -> Batch. Raises DataError naming the clip that differs."""
    first = samples[0]
    for sample in samples:
        if (len(sample), sample.shape) != (len(first), first.shape):
            raise DataError(
                f"{sample.name} has {len(sample)} frames of {sample.shape}, but {first.name} of the same batch has "
                f"{len(first)} of {first.shape}: cut and resize clips before they are batched"
            )
    return Batch(
        images=_stack([s.images for s in samples]).permute(0, 1, 4, 2, 3).float() / 255,
        depth=_stack([s.depth for s in samples]),
        valid=_stack([s.valid_depth for s in samples]),
        K=_stack([s.K for s in samples]).float(),
        # The first camera becomes the world in float64: worlds far from the origin would lose millimetres.
        world_from_cam=_stack([s.relative_to_first().world_from_cam for s in samples]).float(),
        motion=_stack([np.full(s.depth.shape, UNKNOWN, np.uint8) if s.motion is None else s.motion for s in samples]),
        names=tuple(s.name for s in samples),
    )


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
