"""Colour of every pixel: texture in the surface's own axes, sun with shadows, sky light, fill, haze.

Choices
- Texture coordinates are two of the three unit-axis coordinates, chosen by the dominant direction of the surface:
  the texture sticks to the object whatever it does, without trigonometry.
- Lambert only: no highlights, because a highlight does not move with the surface and would teach wrong matches.
- Light is linear; the camera (optics.py) turns it into pixel values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from openmore.data.synthetic.scene import HULL, HULL_PLANES
from openmore.data.synthetic.tables import GAIN, MIX, OFFSET, RATIO, ROUND, TEXELS, TILES, TUBE, M, O
from openmore.data.synthetic.textures import ROWS, TextureBank, level_of
from openmore.data.synthetic.truth import flat_index, per_pixel

if TYPE_CHECKING:
    from openmore.data.synthetic.render import Packed

Triple = tuple[Tensor, Tensor, Tensor]


def shade(
    packed: Packed, bank: TextureBank, x: Tensor, y: Tensor, z: Tensor, slot: Tensor, sky: Tensor, dark: Tensor
) -> Tensor:
    """Linear light [3, F, H, W] of the surfaces at depth z in slot; `dark` marks points the sun does not reach."""
    index = flat_index(slot, packed.slots)
    look = per_pixel(packed.look, index, slot.shape)
    at = _unit_point(look, x, y, z)
    w = _dominant(look, at)
    normal = _normal(packed, look, at, w, x, y, z, slot)
    cosine = (normal[0] * x + normal[1] * y + normal[2]).abs()
    albedo = _albedo(packed, bank, look, at, w, index, sky, _footprint(x, y, z, cosine))
    lit = albedo * _light(packed, normal, dark)
    haze = packed.frame["haze"][:, :, None]
    clear = 1 / (1 + z * haze)
    clear = (clear * clear).masked_fill(sky, 0.0)
    # Towards the horizon the sky takes the haze's colour.
    length = (1 + x * x + y * y).sqrt()
    rise = (at[1].abs() / length).clamp(max=1.0)
    clear = torch.where(sky, 1 - (1 - rise) * (1 - rise) * (1 - rise), clear)
    horizon = packed.frame["horizon"].T[:, :, None, None]
    return horizon + (torch.where(sky, albedo * packed.frame["sky"][:, :, None], lit) - horizon) * clear


def _unit_point(look: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Triple:
    """Surface point in unit axes; for the sky the ray's direction in stage axes."""
    m, o = look[M], look[O]
    px, py, pz = (z * (m[3 * i] * x + (m[3 * i + 1] * y + m[3 * i + 2])) + o[i] for i in range(3))
    return px, py, pz


def _dominant(look: Tensor, at: Triple) -> tuple[Tensor, Tensor, Tensor]:
    """Masks [F, H, W] of the axis the surface faces most, as on a cube; one of the three is set (ties aside)."""
    ax, ay, az = (a.abs() for a in at)
    tube = look[TUBE] > 0
    lid = ay * ay > ax * ax + az * az
    ay = ay.masked_fill(tube & ~lid, 0.0)
    ay = torch.where(tube & lid, ay + 2, ay)
    largest = torch.maximum(torch.maximum(ax, ay), az)
    return ax >= largest, ay >= largest, az >= largest


def _normal(
    packed: Packed, look: Tensor, at: Triple, w: Triple, x: Tensor, y: Tensor, z: Tensor, slot: Tensor
) -> Triple:
    """Unit normals in camera axes."""
    smooth = look[ROUND] > 0
    side = (look[TUBE] > 0) & ~w[1]
    nx = at[0] * (w[0] | smooth | side)
    ny = at[1] * (w[1] | smooth)
    nz = at[2] * (w[2] | smooth | side)
    m = look[M]
    cx, cy, cz = (m[i] * nx + m[3 + i] * ny + m[6 + i] * nz for i in range(3))
    if HULL in packed.kind:
        _hull_normals(packed, slot, (x * z, y * z, z), (cx, cy, cz))
    scale = 1 / (cx * cx + cy * cy + cz * cz).clamp_min(1e-20).sqrt()
    return cx * scale, cy * scale, cz * scale


def _hull_normals(packed: Packed, slot: Tensor, points: Triple, normal: Triple) -> None:
    """Overwrite the normals of hull pixels: the plane the point lies on is the one it is least inside of."""
    first = packed.kind.index(HULL)
    frame, row, column = ((slot >= first) & (slot < packed.slots)).nonzero(as_tuple=True)
    planes = packed.hit[frame, slot[frame, row, column].long(), 16:].view(-1, HULL_PLANES, 4)
    X, Y, Z = (p[frame, row, column][:, None] for p in points)
    distance = planes[..., 0] * X + planes[..., 1] * Y + planes[..., 2] * Z - planes[..., 3]
    on = planes.gather(1, distance.argmax(1)[:, None, None].expand(-1, 1, 4))[:, 0]
    for i in range(3):
        normal[i][frame, row, column] = on[:, i]


def _footprint(x: Tensor, y: Tensor, z: Tensor, cosine: Tensor) -> Tensor:
    """Metres on the surface per unit of the image plane: between the short and the long axis of a slanted pixel."""
    square = 1 + x * x + y * y
    return z * (square * square.sqrt() / cosine.clamp_min(0.03)).sqrt()


def _albedo(
    packed: Packed, bank: TextureBank, look: Tensor, at: Triple, w: Triple, index: Tensor, sky: Tensor, metres: Tensor
) -> Tensor:
    """Surface colour [3, F, H, W]; `metres` is the footprint of a pixel."""
    px, py, pz = at
    # A flat layer of clouds overhead: the direction's ground track.
    lift = torch.where(sky, 1 / (py.abs() + 0.2), 1.0)
    qx, qy, qz = px * look[TILES][0] * lift, py * look[TILES][1] * lift, pz * look[TILES][2] * lift
    u = torch.where(w[0] & ~sky, qz, qx).view(-1)
    v = torch.where(w[1] | sky, qz, qy).view(-1)
    first_rows = (packed.textures % bank.count * ROWS).int().transpose(0, 1).reshape(2, -1)
    texture = first_rows.index_select(1, index)
    texels = (metres * look[TEXELS]).view(-1)
    ratio, mix = look[RATIO].view(-1), look[MIX].view(-1)
    level, blend = level_of(texels)
    rows, weights = bank.taps(texture[0], u, v, level)
    coarse, coarse_weights = bank.taps(texture[0], u, v, level + 1)
    second, second_weights = bank.taps(texture[1], u * ratio, v * ratio, level_of(texels * ratio * 1.4)[0])
    share = (1 - mix) * blend
    weights = [w * (1 - mix - share) for w in weights]
    weights += [w * share for w in coarse_weights] + [w * mix for w in second_weights]
    colour = bank.lookup(rows + coarse + second, weights).view(3, *metres.shape)
    return (colour * look[GAIN] + look[OFFSET]).clamp(0.01, 1.0)


def _light(packed: Packed, normal: Triple, dark: Tensor) -> Tensor:
    """Incoming light [3, F, H, W]: sun, fill, and a sky that is brighter above."""

    def towards(name: str) -> Tensor:
        d = packed.frame[name][:, :, None, None]
        return normal[0] * d[:, 0] + normal[1] * d[:, 1] + normal[2] * d[:, 2]

    def column(name: str) -> Tensor:
        return packed.frame[name].T[:, :, None, None]

    sun = towards("to_sun").clamp_min(0.0) * (1 - dark * packed.frame["shadow"][:, :, None])
    around = 0.7 + 0.3 * towards("up") + packed.frame["fill"][:, :, None] * towards("to_fill").clamp_min(0.0)
    return column("ambient") * around + column("sun") * sun
