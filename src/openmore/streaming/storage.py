"""Where keys and values live.

Choices
- On processors every tensor has pages of its own. They are not in memory before they are written, and they go back to
  the system at once when the tensor goes; the allocator below 32 MB keeps what is freed, and a growing cache frees as
  much as it holds.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

# Elsewhere (Windows) there is one kind of anonymous mapping.
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


def unwritten(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor whose contents do not matter yet."""
    if device.type != "cpu":
        return torch.empty(*shape, dtype=dtype, device=device)
    pages = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, **PRIVATE)
    return torch.frombuffer(pages, dtype=dtype).view(*shape)
