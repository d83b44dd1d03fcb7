"""Bare rooms: a world so simple that thousands of clips render while the full one renders a hundred.

For the first stage of training from scratch. Matching across frames has to emerge before cameras can be learned, and
that takes many clips rather than rich ones (docs/training_log.md). The truth is exact, as everywhere in this package.

Choices
- One box seen from inside and a few ellipsoids, some of which move: every ray has a closed-form hit, there is no sky.
- Texture is a volume of noise read at three scales in each object's own coordinates, so that it sticks to surfaces.
- Parameters come from numpy per seed; pixels from torch on any device, all clips of a batch at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from openmore.data.synthetic.make import SyntheticBatch
from openmore.geometry.camera import pixel_grid
from openmore.geometry.rigid import invert, relative_to_first, rigid
from openmore.geometry.rotation import so3_exp

FAR = 1e6
SCALES = (0.6, 1.7, 4.5)  # texture cells per metre


@dataclass(frozen=True)
class Rooms:
    """B rooms seen S times; lengths in metres."""

    half: Tensor  # [B, 3] half extents of the box
    world_from_cam: Tensor  # [B, S, 4, 4]
    focal: Tensor  # [B] pixels
    world_from_object: Tensor  # [B, S, N, 4, 4]
    radii: Tensor  # [B, N, 3]
    moving: Tensor  # [B, N] bool
    look: Tensor  # [B, N + 1, 3 + 3] texture offset and colour; the last one is the room's


def make_rooms(
    seeds: Sequence[int],
    frames: int = 2,
    shape: tuple[int, int] = (84, 112),
    device: torch.device | str = "cpu",
    objects: int = 4,
    motion: float = 1.0,
) -> SyntheticBatch:
    """Render one clip per seed. `motion` scales how far the camera and the movers go between first and last frame."""
    drawn = [_draw(int(seed), frames, shape, objects, motion) for seed in seeds]
    rooms = Rooms(*(torch.from_numpy(np.stack(values)).to(device) for values in zip(*drawn)))
    depth, hit, images = _render(rooms, shape)
    K = torch.zeros(len(seeds), frames, 3, 3, device=device)
    K[..., 0, 0] = K[..., 1, 1] = rooms.focal[:, None]
    K[..., 0, 2], K[..., 1, 2], K[..., 2, 2] = shape[1] / 2, shape[0] / 2, 1
    nothing_moves = torch.zeros(len(seeds), 1, dtype=torch.bool, device=device)
    moves = torch.cat((rooms.moving, nothing_moves), 1)
    motion_mask = moves.gather(1, hit.flatten(1)).view_as(hit)
    return SyntheticBatch(
        images=images,
        depth=depth,
        valid=torch.ones_like(hit, dtype=torch.bool),
        K=K,
        world_from_cam=relative_to_first(rooms.world_from_cam),
        motion=motion_mask.to(torch.uint8),
        instances=((hit + 1) % (objects + 1)).int(),
        sky=torch.zeros_like(hit, dtype=torch.bool),
        flow_forward=None,
        flow_backward=None,
        names=tuple(f"room {seed}" for seed in seeds),
    )


def _draw(seed: int, frames: int, shape: tuple[int, int], objects: int, motion: float) -> tuple[np.ndarray, ...]:
    """The numbers of one room, in the order of `Rooms`."""
    rng = np.random.default_rng(seed)
    half = rng.uniform((1.5, 1.2, 1.5), (4.0, 2.0, 4.0))
    time = np.linspace(0, motion, frames)[:, None] if frames > 1 else np.zeros((1, 1))
    start = rng.uniform(-0.4, 0.4, 3) * half
    drift = rng.normal(0, 0.25, 3) * half.mean() * 0.5
    position = np.clip(start + time * drift + _jitter(rng, frames, 0.01), -0.85 * half, 0.85 * half)
    heading = rng.normal(0, (0.25, 2.0, 0.1))
    turn = rng.normal(0, 1, 3) * (0.6, 1.0, 0.4)
    turn *= np.radians(rng.uniform(0, 25)) / np.linalg.norm(turn)
    rotation = _exp(heading) @ _exp(time * turn + _jitter(rng, frames, 0.004))
    radii = rng.uniform(0.15, 0.7, (objects, 3))
    # Placed somewhere in front of the first camera, so that most of them are seen.
    ahead = np.stack((rng.uniform(-0.8, 0.8, objects), rng.uniform(-0.5, 0.5, objects), np.ones(objects)), -1)
    centre = start + (ahead * rng.uniform(1.0, 4.0, (objects, 1))) @ rotation[0].T
    moving = rng.random(objects) < rng.choice((0.0, 0.4, 0.8))
    velocity = rng.normal(0, 0.5, (objects, 3)) * moving[:, None]
    spin = rng.normal(0, 0.6, (objects, 3)) * moving[:, None]
    where = centre + time[:, None] * velocity
    turned = _exp(rng.normal(0, 2, (objects, 3))) @ _exp(time[:, None] * spin)
    look = np.concatenate((rng.uniform(-20, 20, (objects + 1, 3)), rng.uniform(-0.8, 0.8, (objects + 1, 3))), 1)
    focal = shape[1] / 2 / np.tan(np.radians(rng.uniform(35, 90)) / 2)
    numbers = (half, _rigid(rotation, position), np.asarray(focal), _rigid(turned, where), radii)
    return (*(x.astype(np.float32) for x in numbers), moving, look.astype(np.float32))


def _jitter(rng: np.random.Generator, frames: int, size: float) -> np.ndarray:
    """A hand's shake; none in the first frame."""
    return rng.normal(0, size, (frames, 3)) * (np.arange(frames) > 0)[:, None]


def _exp(rotation_vector: np.ndarray) -> np.ndarray:
    return so3_exp(torch.from_numpy(np.asarray(rotation_vector, dtype=np.float64))).numpy()


def _rigid(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    return rigid(torch.from_numpy(R), torch.from_numpy(np.ascontiguousarray(t))).numpy()


def _render(rooms: Rooms, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Depth [B, S, H, W], index of the object hit (N = the room), images [B, S, 3, H, W]."""
    B, S = rooms.world_from_cam.shape[:2]
    uv = pixel_grid(shape, rooms.half.device) - torch.tensor([shape[1] / 2, shape[0] / 2], device=rooms.half.device)
    ray = F.pad(uv / rooms.focal[:, None, None, None], (0, 1), value=1.0).flatten(1, 2)  # [B, H * W, 3], z = 1
    R, origin = rooms.world_from_cam[..., :3, :3], rooms.world_from_cam[..., :3, 3]
    world_ray = torch.einsum("bsij,bpj->bspi", R, ray)  # a hit at `t` along it has depth z = t
    walls = ((rooms.half[:, None, None] * world_ray.sign() - origin[:, :, None]) / _away_from_zero(world_ray)).amin(-1)
    t, hit, near = walls, torch.full_like(walls, rooms.radii.shape[1], dtype=torch.long), origin[:, :, None].expand_as
    local = near(world_ray) + world_ray * walls[..., None]
    for n in range(rooms.radii.shape[1]):
        object_from_world = invert(rooms.world_from_object[:, :, n])
        o = (object_from_world[..., :3, :3] @ origin[..., None]).squeeze(-1) + object_from_world[..., :3, 3]
        d = torch.einsum("bsij,bspj->bspi", object_from_world[..., :3, :3], world_ray)
        t_n = _ellipsoid(o[:, :, None], d, rooms.radii[:, n, None, None])
        closer = t_n < t
        t, hit = torch.where(closer, t_n, t), torch.where(closer, n, hit)
        local = torch.where(closer[..., None], o[:, :, None] + d * t_n[..., None], local)
    look = rooms.look.gather(1, hit.flatten(1)[..., None].expand(-1, -1, 6)).unflatten(1, hit.shape[1:])
    noise = _texture(local + look[..., :3])
    # Mostly light and dark, a little colour, as in pictures.
    colour = noise.mean(-1, keepdim=True) + 0.25 * noise + look[..., 3:]
    images = torch.sigmoid(1.6 * colour).view(B, S, *shape, 3).permute(0, 1, 4, 2, 3)
    return t.view(B, S, *shape), hit.view(B, S, *shape), images


def _ellipsoid(o: Tensor, d: Tensor, radii: Tensor) -> Tensor:
    """First positive hit of o + t d with the ellipsoid of `radii` about the origin; FAR where there is none."""
    o, d = o / radii, d / radii
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
    discriminant = b * b - a * c
    t = (-b - discriminant.clamp_min(0).sqrt()) / a
    return torch.where((discriminant > 0) & (t > 1e-3), t, FAR)


def _away_from_zero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 1e-6, 1e-6, x)


@lru_cache(maxsize=2)
def _noise(device: str) -> Tensor:
    """[1, 3, 48, 48, 48] fixed noise."""
    return torch.randn(1, 3, 48, 48, 48, generator=torch.Generator().manual_seed(0)).to(device)


def _texture(points: Tensor) -> Tensor:
    """Colour [..., 3] of points [..., 3]: noise at three scales, coarse ones strongest."""
    volume = _noise(str(points.device))
    flat = points.reshape(1, 1, 1, -1, 3)
    total = torch.zeros_like(points)
    for i, scale in enumerate(SCALES):
        # A triangle wave folds space into the volume without seams.
        folded = ((flat * (scale / 12) + 0.37 * i) % 2 - 1).abs() * 2 - 1
        total = total + 0.9**i * F.grid_sample(volume, folded, align_corners=True).reshape(3, -1).T.view_as(points)
    return total
