"""Casting the rays of whole frames: who is nearest, who is in shadow. Two ways to do the same work.

Choices
- CPU: one primitive after another inside its screen window, numpy, a microsecond per operation.
- GPU: the windows of all primitives of a kind, cut into tiles of 8 x 16 rays, are one long batch; the nearest hit wins
  by an integer minimum over (bits of the depth, slot), which does not depend on the order of the threads.
- Both run the kernels of visibility.py and agree with casting every ray at every primitive (tests).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from openmore.data.synthetic import visibility
from openmore.data.synthetic.tables import NEAR

if TYPE_CHECKING:
    from openmore.data.synthetic.render import Packed

TILE = (8, 16)
TILES_AT_ONCE = 1 << 16  # about 1 GB of intermediate values
_MISS = torch.iinfo(torch.int64).max


def rays(packed: Packed) -> tuple[Tensor, Tensor]:
    """x [F, 1, W] and y [F, H, 1] of every pixel's ray at depth 1."""
    height, width = packed.shape
    K = packed.frame["K"][:, None, :]
    u = torch.arange(width, dtype=torch.float32, device=K.device)
    v = torch.arange(height, dtype=torch.float32, device=K.device)
    return ((u - K[..., 2]) / K[..., 0])[:, None, :], ((v - K[..., 3]) / K[..., 1])[:, :, None]


def first_hit(packed: Packed, x: Tensor, y: Tensor, tiled: bool) -> tuple[Tensor, Tensor]:
    """Depth [F, H, W] (inf = sky) and slot [F, H, W] int32 of the nearest surface."""
    if tiled:
        return _first_hit_tiled(packed, x, y)
    f, (h, w) = len(packed), packed.shape
    z = np.full((f, h, w), np.inf, np.float32)
    slot = np.full((f, h, w), packed.slots, np.int32)
    xs, ys = x.numpy(), y.numpy()
    with np.errstate(all="ignore"):  # a miss is a NaN on purpose
        for i, k, row, rows, columns in _windows(packed, packed.hit, packed.windows):
            zw = z[i, rows, columns]
            depth, hit = visibility.depth_of(np, packed.kind[k], row, xs[i, :, columns], ys[i, rows])
            nearer = hit & (depth < zw) & (depth > NEAR)
            np.copyto(zw, depth, where=nearer)
            np.copyto(slot[i, rows, columns], k, where=nearer)
    return torch.from_numpy(z), torch.from_numpy(slot)


def in_shadow(packed: Packed, points: tuple[Tensor, Tensor, Tensor], tiled: bool) -> Tensor:
    """[F, H, W] bool: something stands between the surface points X, Y, Z [F, H, W] and the sun."""
    if tiled:
        return _in_shadow_tiled(packed, points)
    dark = np.zeros(points[0].shape, bool)
    X, Y, Z = (p.numpy() for p in points)
    with np.errstate(all="ignore"):
        for i, k, row, rows, columns in _windows(packed, packed.shadow, packed.shadow_windows):
            at = (i, rows, columns)
            dark[at] |= visibility.shadowed(np, packed.kind[k], row, X[at], Y[at], Z[at])
    return torch.from_numpy(dark)


def _windows(packed: Packed, table: Tensor, windows: np.ndarray) -> Iterator[tuple[int, int, np.ndarray, slice, slice]]:
    """Yield (frame, slot, its row, rows, columns) of every window that is not empty."""
    numbers = table.numpy()
    for i in range(len(packed)):
        top, bottom, left, right = windows[i].T
        for k in np.flatnonzero((bottom > top) & (right > left)).tolist():
            yield i, k, numbers[i, k], slice(top[k], bottom[k]), slice(left[k], right[k])


class Tiles(NamedTuple):
    """N tiles of one kind of primitive."""

    kind: int
    row: Tensor  # [columns of the table, N, 1, 1] the primitives' numbers
    frame: Tensor  # [N, 1, 1] int64
    slot: Tensor  # [N, 1, 1] int64
    v: Tensor  # [N, TILE[0], 1] int64 pixel rows, repeated past the border
    u: Tensor  # [N, 1, TILE[1]] int64
    pixel: Tensor  # [N, *TILE] int64, place in the flattened frames


def _tiles(packed: Packed, table: Tensor, windows: np.ndarray) -> Iterator[Tiles]:
    """All tiles of all windows, kind by kind, TILES_AT_ONCE at most."""
    device, (height, width) = table.device, packed.shape
    edges = torch.from_numpy(windows).to(device)
    kinds = torch.tensor(packed.kind, device=device)
    for kind in sorted(set(packed.kind)):
        slots = (kinds == kind).nonzero()[:, 0]
        top, bottom, left, right = edges[:, slots].flatten(0, 1).unbind(-1)
        down = (bottom - top + TILE[0] - 1).div(TILE[0], rounding_mode="floor")
        across = (right - left + TILE[1] - 1).div(TILE[1], rounding_mode="floor")
        count = down.clamp_min(0) * across.clamp_min(0)
        owner = torch.repeat_interleave(count)
        place = torch.arange(len(owner), device=device) - (count.cumsum(0) - count)[owner]
        first_v = top[owner] + place // across[owner] * TILE[0]
        first_u = left[owner] + place % across[owner] * TILE[1]
        frame, slot = owner // len(slots), slots[owner % len(slots)]
        for part in torch.arange(len(owner), device=device).split(TILES_AT_ONCE):
            f, k = frame[part], slot[part]
            v = first_v[part, None, None] + torch.arange(TILE[0], device=device)[:, None]
            u = first_u[part, None, None] + torch.arange(TILE[1], device=device)
            v, u = v.clamp(max=height - 1), u.clamp(max=width - 1)
            f, k, row = f[:, None, None], k[:, None, None], table[f, k].T[..., None, None]
            yield Tiles(kind, row, f, k, v, u, (f * height + v) * width + u)


def _first_hit_tiled(packed: Packed, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    shape = (len(packed), *packed.shape)
    nothing = torch.tensor([float("inf")], device=x.device).view(torch.int32).long() << 32 | packed.slots
    nearest = nothing.repeat(int(np.prod(shape)))
    for tile in _tiles(packed, packed.hit, packed.windows):
        xs, ys = x[tile.frame, 0, tile.u], y[tile.frame, tile.v, 0]
        depth, hit = visibility.depth_of(torch, tile.kind, tile.row, xs, ys)
        # Positive floats order as their bits do; of equal depths the lower slot wins.
        key = depth.contiguous().view(torch.int32).long() << 32 | tile.slot
        key = key.masked_fill(~(hit & (depth > NEAR)), _MISS)
        nearest.scatter_reduce_(0, tile.pixel.flatten(), key.flatten(), "amin")
    slot = (nearest & 0xFFFFFFFF).int()
    return (nearest >> 32).int().view(torch.float32).view(shape), slot.view(shape)


def _in_shadow_tiled(packed: Packed, points: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    flat = [p.flatten() for p in points]
    dark = torch.zeros_like(flat[0], dtype=torch.int32)
    for tile in _tiles(packed, packed.shadow, packed.shadow_windows):
        hit = visibility.shadowed(torch, tile.kind, tile.row, *(p[tile.pixel] for p in flat))
        dark.scatter_reduce_(0, tile.pixel.flatten(), hit.flatten().int(), "amax")
    return (dark > 0).view(points[0].shape)
