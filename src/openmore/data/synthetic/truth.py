"""The exact truth of a rendered frame: depth, instances, motion labels, sky, and flow carried by the surfaces.

Choices
- A pixel's surface point is taken into the axes of the primitive it lies on and out again at the neighbouring frame:
  one affine map per frame and primitive, composed in float64.
- The sky is infinitely far: it flows with the camera's rotation, has depth 0 and does not move.
- Flow is given where the point is occluded or outside next; it is NaN where it passes behind the camera.
- A pixel moves when its primitive moves in the world at that frame; parked cars and people who stand do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from openmore.data.synthetic.tables import NEAR

if TYPE_CHECKING:
    from openmore.data.synthetic.render import Packed


def flat_index(slot: Tensor, slots: int) -> Tensor:
    """Slot [F, H, W] -> index [F * H * W] into tables whose frames lie one after another."""
    first = torch.arange(len(slot), dtype=slot.dtype, device=slot.device)[:, None, None] * (slots + 1)
    return (slot + first).view(-1)


def per_pixel(table: Tensor, index: Tensor, shape: torch.Size) -> Tensor:
    """Rows of a table [F, R, slots + 1] at every pixel: [R, F, H, W]."""
    rows = table.transpose(0, 1).reshape(table.shape[1], -1)
    return rows.index_select(1, index).view(-1, *shape)


def truth_of(
    packed: Packed, points: tuple[Tensor, Tensor, Tensor], slot: Tensor, sky: Tensor, flow: bool
) -> dict[str, Tensor]:
    """Truth arrays of F frames; `points` are X, Y, Z [F, H, W] in camera axes (the ray itself for the sky)."""
    index = flat_index(slot, packed.slots)
    instance, moving = per_pixel(packed.labels, index, slot.shape).unbind(0)
    out = {
        "depth": points[2].masked_fill(sky, 0.0),
        "instances": instance,
        "motion": moving.to(torch.uint8),
        "sky": sky,
    }
    if flow:
        maps = per_pixel(packed.flows, index, slot.shape)
        out["flow_forward"] = _carry(packed, maps[:12], points)
        out["flow_backward"] = _carry(packed, maps[12:], points)
    return out


def motion_during_shutter(packed: Packed, points: tuple[Tensor, Tensor, Tensor], slot: Tensor) -> Tensor:
    """Flow [F, 2, H, W] per frame interval; the last frame of a clip borrows the flow that led to it, reversed."""
    maps = per_pixel(packed.flows, flat_index(slot, packed.slots), slot.shape)
    forward, backward = _carry(packed, maps[:12], points), _carry(packed, maps[12:], points)
    return torch.where(forward.isnan(), -backward, forward).nan_to_num(0.0)


def _carry(packed: Packed, maps: Tensor, points: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Flow [F, 2, H, W] of surface points under per-pixel affine maps [12, F, H, W] to another camera."""
    X, Y, Z = points
    x, y, z = (maps[4 * i] * X + maps[4 * i + 1] * Y + maps[4 * i + 2] * Z + maps[4 * i + 3] for i in range(3))
    z = z.masked_fill(z < NEAR, float("nan"))
    f = packed.frame["K"][:, :, None, None]
    return torch.stack(((x / z - X / Z) * f[:, 0], (y / z - Y / Z) * f[:, 1]), 1)
