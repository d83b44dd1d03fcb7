"""From a scene to the numbers its renderer reads, per frame and primitive: computed in float64, stored in float32.

Choices
- A ray is (x, y, 1) in camera axes with x = (u - cx) / fx: the ray parameter IS the depth z.
- In unit axes the ray of a primitive is `o + z M (x, y, 1)`; M and o are `unit_from_cam`.
- Constants that a kernel would otherwise compute per frame (o . o - 1, o^T M, ...) are computed here, once, so that
  every way of casting rays sees the same numbers.
- Windows bound what a primitive, or its shadow, can cover on the screen: they skip work and never change a result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.data.synthetic.scene import BOX, CYLINDER, ELLIPSOID, HULL, HULL_PLANES, Scene

NEAR = 0.05  # metres; nothing nearer is seen
FAR_AWAY = 1e9
_CORNERS = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8)

_OPTICS = ("saturation", "vignette", "blur", "contrast", "shutter", "noise", "shot_noise")
# Rows of `look`: how a pixel that shows the primitive is shaded.
M, O, TILES, TEXELS, RATIO, MIX = slice(0, 9), slice(9, 12), slice(12, 15), 15, 16, 17
GAIN, OFFSET, ROUND, TUBE, LOOK_ROWS = slice(18, 21), slice(21, 24), 24, 25, 26
HIT_COLUMNS = 16 + 4 * HULL_PLANES
SHADOW_COLUMNS = 15 + 6 * HULL_PLANES


@dataclass
class Tables:
    """S frames and K primitives of one scene; in `look`, `textures`, `flows` and `labels` slot K is the sky."""

    kind: np.ndarray  # [K] int64
    hit: np.ndarray  # [S, K, HIT_COLUMNS] M (9), o (3), o^T M (3), o . o - 1, hull planes (n . X <= h) in camera axes
    shadow: np.ndarray  # [S, K, SHADOW_COLUMNS] rows over (X, Y, Z, 1) for the ray towards the sun
    windows: np.ndarray  # [S, K, 4] int64 top, bottom, left, right (half open)
    shadow_windows: np.ndarray  # [S, K, 4] int64, empty where no shadow is thrown
    look: np.ndarray  # [S, LOOK_ROWS, K + 1]
    textures: np.ndarray  # [S, 2, K + 1] int64, numbers before the bank's modulo
    flows: np.ndarray  # [S, 24, K + 1] next_from_cam and previous_from_cam (row-major 3x4); NaN where there is none
    labels: np.ndarray  # [S, 2, K + 1] int32 instance (sky -1) and moving
    frame: dict[str, np.ndarray]  # per frame: light in camera axes, optics; each [S, n]


def tables(scene: Scene) -> Tables:
    """Everything the renderer needs to know about one scene."""
    cam_from_world = np.linalg.inv(scene.world_from_cam)
    cam_from_unit = cam_from_world[:, None] @ scene.world_from_unit
    unit_from_cam = np.linalg.inv(cam_from_unit)
    R = cam_from_world[:, :3, :3]
    to_sun = R @ scene.light.to_sun
    return Tables(
        kind=scene.kind,
        hit=_hit(scene, unit_from_cam).astype(np.float32),
        shadow=_shadow(scene, unit_from_cam, to_sun).astype(np.float32),
        windows=_windows(cam_from_unit[..., :3, :3] @ _CORNERS + cam_from_unit[..., :3, 3:], scene),
        shadow_windows=_shadow_windows(scene, cam_from_world),
        look=_look(scene, unit_from_cam).astype(np.float32),
        textures=np.tile(np.array([m.textures for m in scene.materials], dtype=np.int64).T, (len(R), 1, 1)),
        flows=_flows(scene, cam_from_world, unit_from_cam).astype(np.float32),
        labels=_labels(scene),
        frame={key: value.astype(np.float32) for key, value in _frame(scene, R, to_sun).items()},
    )


def _hit(scene: Scene, unit_from_cam: np.ndarray) -> np.ndarray:
    linear, o = unit_from_cam[..., :3, :3], unit_from_cam[..., :3, 3]
    tube = (scene.kind == CYLINDER)[:, None]
    weight = np.where(tube, [1.0, 0.0, 1.0], 1.0)  # a cylinder's axis takes no part in its quadratic
    b = np.einsum("ski,skij->skj", o * weight, linear)
    c = (o * o * weight).sum(-1, keepdims=True) - 1
    normals, offsets = _camera_planes(scene, unit_from_cam)
    planes = np.concatenate((normals, offsets[..., None]), -1)
    return np.concatenate((linear.reshape(*b.shape[:2], 9), o, b, c, planes.reshape(*b.shape[:2], -1)), -1)


def _camera_planes(scene: Scene, unit_from_cam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hull planes in camera axes: normals [S, K, 8, 3] and offsets [S, K, 8]."""
    n, h = scene.planes[None, ..., :3], scene.planes[None, ..., 3]
    linear, o = unit_from_cam[..., :3, :3], unit_from_cam[..., None, :3, 3]
    return n @ linear, h - (n * o).sum(-1)


def _shadow(scene: Scene, unit_from_cam: np.ndarray, to_sun: np.ndarray) -> np.ndarray:
    """Rows r with r . (X, Y, Z, 1), per kind as `visibility` uses them; t is metres towards the sun."""
    rows = unit_from_cam[..., :3, :]  # [S, K, 3, 4]: point in unit axes
    e = np.einsum("skij,sj->ski", rows[..., :3], to_sun)  # direction in unit axes
    e = np.where(np.abs(e) < 1e-7, 1e-7, e)
    out = np.zeros((*e.shape[:2], SHADOW_COLUMNS))
    for kind, fill in ((BOX, _shadow_box), (ELLIPSOID, _shadow_ellipsoid), (CYLINDER, _shadow_cylinder)):
        at = scene.kind == kind
        packed = fill(rows[:, at], e[:, at])
        out[:, at, : packed.shape[-1]] = packed
    at = scene.kind == HULL
    out[:, at, 15:] = _shadow_hull(*_camera_planes(scene, unit_from_cam), to_sun)[:, at]
    out[:, ~scene.casts] = 0  # a row of zeros is never in the way
    return out


def _shadow_box(rows: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Slab middles are -r . X, slab half widths |1 / e|."""
    scaled = rows / e[..., None]
    return np.concatenate((scaled.reshape(*e.shape[:2], 12), np.abs(1 / e)), -1)


def _shadow_ellipsoid(rows: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Two axes across the ray and the ray itself: a hit is inside the unit circle and ahead."""
    ray = e / np.linalg.norm(e, axis=-1, keepdims=True)
    helper = np.where(np.abs(ray[..., :1]) < 0.7, [1.0, 0, 0], [0, 1.0, 0])
    first = np.cross(ray, helper)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    axes = np.stack((first, np.cross(ray, first), ray), -2)
    return (axes @ rows).reshape(*e.shape[:2], 12)


def _shadow_cylinder(rows: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Across the ray in the x-z plane, along it (in t), the y slab (in t), then the two half widths in t."""
    across = np.hypot(e[..., 0], e[..., 2])[..., None]
    x, y, z = rows[..., 0, :], rows[..., 1, :], rows[..., 2, :]
    ex, ey, ez = e[..., :1], e[..., 1:2], e[..., 2:]
    side = (x * ez - z * ex) / across
    along = (x * ex + z * ez) / across**2
    return np.concatenate((side, along, y / ey, 1 / across, np.abs(1 / ey)), -1)


def _shadow_hull(normals: np.ndarray, offsets: np.ndarray, to_sun: np.ndarray) -> np.ndarray:
    """Per plane: t = r . X, then what takes it out of the exits and of the (negated) entrances: 0 or far away."""
    speed = np.einsum("skpi,si->skp", normals, to_sun)
    speed = np.where(np.abs(speed) < 1e-7, 1e-7, speed)
    rows = np.concatenate((-normals, offsets[..., None]), -1) / speed[..., None]
    far = np.where(speed > 0, 0.0, FAR_AWAY)
    near = np.where(speed > 0, FAR_AWAY, 0.0)
    return np.concatenate((rows, far[..., None], near[..., None]), -1).reshape(*speed.shape[:2], -1)


def _look(scene: Scene, unit_from_cam: np.ndarray) -> np.ndarray:
    s, k = unit_from_cam.shape[:2]
    out = np.zeros((s, LOOK_ROWS, k + 1))
    out[:, M, :k] = unit_from_cam[..., :3, :3].reshape(s, k, 9).transpose(0, 2, 1)
    out[:, O, :k] = unit_from_cam[..., :3, 3].transpose(0, 2, 1)
    out[:, M, k] = scene.world_from_cam[:, :3, :3].reshape(s, 9)  # the sky is looked up by world direction
    tiles = np.array([m.tiles_per_metre for m in scene.materials])
    half = np.concatenate((scene.half, np.ones((1, 3))))
    out[:, TILES] = (half * tiles[:, None]).T
    out[:, TEXELS] = tiles * 256 / scene.K[0, 0]
    out[:, RATIO] = [m.ratio for m in scene.materials]
    out[:, MIX] = [m.mix for m in scene.materials]
    out[:, GAIN] = np.stack([m.gain for m in scene.materials], 1)
    out[:, OFFSET] = np.stack([m.offset for m in scene.materials], 1)
    out[:, ROUND, :k] = scene.kind == ELLIPSOID
    out[:, TUBE, :k] = scene.kind == CYLINDER
    return out


def _flows(scene: Scene, cam_from_world: np.ndarray, unit_from_cam: np.ndarray) -> np.ndarray:
    """Where a surface point goes: through its primitive's own axes to the neighbouring frame's camera."""
    s, k = unit_from_cam.shape[:2]
    out = np.full((s, 24, k + 1), np.nan)
    cam_from_unit = cam_from_world[:, None] @ scene.world_from_unit
    turn = cam_from_world[1:, :3, :3] @ scene.world_from_cam[:-1, :3, :3]  # the sky: infinitely far
    for half, here, there in ((0, slice(None, -1), slice(1, None)), (12, slice(1, None), slice(None, -1))):
        step = cam_from_unit[there] @ unit_from_cam[here]
        rows = slice(half, half + 12)
        out[here, rows, :k] = step[..., :3, :].reshape(s - 1, k, 12).transpose(0, 2, 1)
        sky = turn if half == 0 else turn.transpose(0, 2, 1)
        out[here, rows, k] = np.concatenate((sky, np.zeros((s - 1, 3, 1))), -1).reshape(s - 1, 12)
    return out


def _labels(scene: Scene) -> np.ndarray:
    s, k = scene.moving.shape
    out = np.zeros((s, 2, k + 1), np.int32)
    out[:, 0, :k], out[:, 0, k] = scene.instance, -1
    out[:, 1, :k] = scene.moving
    return out


def _frame(scene: Scene, R: np.ndarray, to_sun: np.ndarray) -> dict[str, np.ndarray]:
    light, optics, s = scene.light, scene.optics, len(R)
    constant = {key: getattr(light, key) for key in ("sun", "ambient", "fill", "shadow", "horizon", "sky", "haze")}
    constant |= {key: getattr(optics, key) for key in _OPTICS}
    constant["K"] = scene.K[[0, 1, 0, 1], [0, 1, 2, 2]]
    out = {key: np.tile(np.atleast_1d(value), (s, 1)) for key, value in constant.items()}
    out |= {"to_sun": to_sun, "to_fill": R @ light.to_fill, "up": R @ np.array([0.0, -1.0, 0.0])}
    return out | {"gain": optics.exposure[:, None] * optics.white}


def _windows(points: np.ndarray, scene: Scene) -> np.ndarray:
    """Screen bounds [..., 4] of the convex hull of points [..., 3, N] in camera axes, clipped at NEAR.

    Where the hull crosses the near plane, every segment between two points is cut there: their cuts span the hull's.
    """
    z = points[..., 2, :]
    front = z >= NEAR
    uv = _pixels(points, scene)
    low = np.where(front[..., None, :], uv, np.inf).min(-1)
    high = np.where(front[..., None, :], uv, -np.inf).max(-1)
    crossing = front.any(-1) & ~front.all(-1)
    if crossing.any():
        a, b = np.triu_indices(points.shape[-1], 1)
        near = points[crossing]
        pa, pb = near[..., a], near[..., b]
        za, zb = pa[:, 2:], pb[:, 2:]
        cut = (za >= NEAR) != (zb >= NEAR)
        weight = np.where(cut, (NEAR - za) / np.where(za == zb, 1.0, zb - za), 0.0)
        uv_cut = _pixels(pa + weight * (pb - pa), scene)
        low[crossing] = np.minimum(low[crossing], np.where(cut, uv_cut, np.inf).min(-1))
        high[crossing] = np.maximum(high[crossing], np.where(cut, uv_cut, -np.inf).max(-1))
    visible = np.expand_dims(front.any(-1), -1)
    height, width = scene.shape
    size = np.array([width, height])
    first = np.where(visible, np.clip(np.floor(np.clip(low, -2, 1e6)) - 1, 0, size), 0).astype(np.int64)
    last = np.where(visible, np.clip(np.ceil(np.clip(high, -2, 1e6)) + 2, 0, size), 0).astype(np.int64)
    return np.stack((first[..., 1], last[..., 1], first[..., 0], last[..., 0]), -1)


def _pixels(points: np.ndarray, scene: Scene) -> np.ndarray:
    z = np.maximum(points[..., 2:, :], NEAR)
    f, c = np.diag(scene.K)[:2, None], scene.K[:2, 2:]
    return points[..., :2, :] / z * f + c


def _shadow_windows(scene: Scene, cam_from_world: np.ndarray) -> np.ndarray:
    """Bounds of every primitive's sweep away from the sun down to the floor (y = 0)."""
    corners = scene.world_from_unit[..., :3, :3] @ _CORNERS + scene.world_from_unit[..., :3, 3:]
    sun = scene.light.to_sun
    reach = np.maximum(-corners[..., 1:2, :], 0.0) / max(-sun[1], 0.05)
    swept = np.concatenate((corners, corners - reach * sun[:, None]), -1)
    R, t = cam_from_world[:, None, :3, :3], cam_from_world[:, None, :3, 3:]
    windows = _windows(R @ swept + t, scene)
    windows[:, ~scene.casts] = 0
    return windows
