"""Random geometry of any batch shape, in float64, from a seed hypothesis can shrink."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

from openmore.geometry.rigid import rigid
from openmore.geometry.rotation import quaternion_to_matrix

Batch = tuple[int, ...]
batches = st.lists(st.integers(0, 3), max_size=3).map(tuple)  # () is one item, a 0 an empty batch
seeds = st.integers(0, 2**31 - 1)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def uniform(seed: int, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator(seed), dtype=torch.float64)


def rotations(seed: int, batch: Batch) -> Tensor:
    """Uniform over all rotations."""
    return quaternion_to_matrix(normal(seed, *batch, 4))


def transforms(seed: int, batch: Batch) -> Tensor:
    return rigid(rotations(seed, batch), normal(seed + 1, *batch, 3))


def intrinsics(seed: int, batch: Batch, shape: tuple[int, int]) -> Tensor:
    """Any focal lengths, any principal point inside an image of `shape`."""
    K = torch.zeros(*batch, 3, 3, dtype=torch.float64)
    K[..., 0, 0], K[..., 1, 1] = uniform(seed, 20, 900, *batch), uniform(seed + 1, 20, 900, *batch)
    K[..., 0, 2], K[..., 1, 2] = uniform(seed + 2, 0, shape[1], *batch), uniform(seed + 3, 0, shape[0], *batch)
    K[..., 2, 2] = 1
    return K


def assert_close(a: Tensor, b: Tensor, atol: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=1e-7, atol=atol)
