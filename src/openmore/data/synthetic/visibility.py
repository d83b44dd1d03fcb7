"""Which primitive a ray meets first, and whether the sun reaches the point: analytic intersections.

Choices
- Every kernel is plain arithmetic on broadcastable values and takes its namespace `xp`: numpy on screen windows (an
  operation on a small window costs a microsecond), torch on whole batches of frames.
- Only + - * / sqrt and comparisons: bytes do not depend on batch, thread count or vector width. (Between numpy and
  torch the last bit may differ: torch's vector square root is not correctly rounded on every CPU.)
- A miss is NaN or an empty interval; comparisons with NaN are false, so misses need no masks.
"""

from __future__ import annotations

from typing import Any

from openmore.data.synthetic.scene import BOX, CYLINDER, ELLIPSOID, HULL, HULL_PLANES
from openmore.data.synthetic.tables import FAR_AWAY

Array = Any  # a numpy array or a torch tensor of rays
Row = Any  # per column a float32 number, or an array that broadcasts over the rays
SELF_HIT_METRES = 2e-3  # a shadow ray starts this far from its surface


def depth_of(xp: Any, kind: int, c: Row, x: Array, y: Array) -> tuple[Array, Array]:
    """Depth where rays (x, y, 1) enter the primitive, and a mask of hits. `c` is a row of `Tables.hit`."""
    if kind == ELLIPSOID:
        return _ellipsoid(xp, c, x, y)
    if kind == HULL:
        return _hull(xp, c, x, y)
    enter, leave = _box(xp, c, x, y) if kind == BOX else _cylinder(xp, c, x, y)
    return enter, enter < leave


def _direction(c: Row, axis: int, x: Array, y: Array) -> Array:
    return c[3 * axis] * x + (c[3 * axis + 1] * y + c[3 * axis + 2])


def _slab(xp: Any, d: Array, o: Row) -> tuple[Array, Array]:
    inverse = xp.reciprocal(d)
    a, b = inverse * (-1 - o), inverse * (1 - o)
    return xp.minimum(a, b), xp.maximum(a, b)


def _box(xp: Any, c: Row, x: Array, y: Array) -> tuple[Array, Array]:
    enter, leave = _slab(xp, _direction(c, 0, x, y), c[9])
    for axis in (1, 2):
        a, b = _slab(xp, _direction(c, axis, x, y), c[9 + axis])
        enter, leave = xp.maximum(enter, a), xp.minimum(leave, b)
    return enter, leave


def _ellipsoid(xp: Any, c: Row, x: Array, y: Array) -> tuple[Array, Array]:
    dx, dy, dz = (_direction(c, axis, x, y) for axis in range(3))
    a = dx * dx + dy * dy + dz * dz
    b = c[12] * x + (c[13] * y + c[14])
    depth = c[15] / (xp.sqrt(b * b - a * c[15]) - b)
    return depth, depth > 0


def _cylinder(xp: Any, c: Row, x: Array, y: Array) -> tuple[Array, Array]:
    dx, dz = _direction(c, 0, x, y), _direction(c, 2, x, y)
    a = dx * dx + dz * dz
    b = c[12] * x + (c[13] * y + c[14])
    s = xp.sqrt(b * b - a * c[15]) - b
    low, high = _slab(xp, _direction(c, 1, x, y), c[10])
    return xp.maximum(c[15] / s, low), xp.minimum(s / a, high)


def _hull(xp: Any, c: Row, x: Array, y: Array) -> tuple[Array, Array]:
    enter, leave = -FAR_AWAY + 0 * x, FAR_AWAY + 0 * x
    for p in range(16, 16 + 4 * HULL_PLANES, 4):
        speed = c[p] * x + (c[p + 1] * y + c[p + 2])
        t, outwards = c[p + 3] / speed, speed > 0
        enter = xp.maximum(enter, xp.where(outwards, -FAR_AWAY, t))
        leave = xp.minimum(leave, xp.where(outwards, t, FAR_AWAY))
    return enter, enter < leave


def shadowed(xp: Any, kind: int, r: Row, X: Array, Y: Array, Z: Array) -> Array:
    """Mask of points (camera axes) whose way to the sun meets the primitive. `r` is a row of `Tables.shadow`."""

    def row(i: int) -> Array:
        return r[i] * X + r[i + 1] * Y + (r[i + 2] * Z + r[i + 3])

    if kind == ELLIPSOID:
        a, b = row(0), row(4)
        return (a * a + b * b < 1) & (row(8) < 0)
    if kind == BOX:
        a, b, c = row(0), row(4), row(8)
        leave = xp.minimum(xp.minimum(r[12] - a, r[13] - b), r[14] - c)
        enter = xp.minimum(xp.minimum(r[12] + a, r[13] + b), r[14] + c)
    elif kind == CYLINDER:
        side, along, up = row(0), row(4), row(8)
        half = xp.sqrt(1 - side * side) * r[12]
        leave = xp.minimum(half - along, r[13] - up)
        enter = xp.minimum(half + along, r[13] + up)
    else:
        t = row(15)
        leave, enter = t + r[19], r[20] - t
        for p in range(21, 15 + 6 * HULL_PLANES, 6):
            t = row(p)
            leave, enter = xp.minimum(leave, t + r[p + 4]), xp.minimum(enter, r[p + 5] - t)
    # `enter` is minus the entrance; a surface facing the sun leaves its own primitive at once.
    return (leave > SELF_HIT_METRES) & (leave + enter > 0)
