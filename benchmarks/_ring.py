"""A corridor around a block, drawn by casting rays at its walls: exact perspective, some milliseconds a picture.

The camera walks all the way round, turned a little towards the outer wall, and goes on over the beginning of its path.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SHAPE = (240, 320)
K = np.array([[260.0, 0, 159.5], [0, 260.0, 119.5], [0, 0, 1]])
OUTER, INNER, HALF_HEIGHT = 7.5, 4.5, 1.3  # half sides of the walls, scene units
MIDDLE = (OUTER + INNER) / 2
CORNER = 1.2  # radius of the turns
SLOW = 0.35  # of the pace, in the turns
ASIDE = np.radians(15)  # of the view, from the way ahead
NOISE = 8.0  # grey values
TEXELS = 48  # pixels of a texture per unit


@dataclass(frozen=True)
class _Wall:
    corner: np.ndarray  # [3]
    along: np.ndarray  # [3] unit
    down: np.ndarray  # [3] unit
    picture: np.ndarray  # [h, w, 3] uint8, TEXELS a unit


class Ring:
    """`ring(s)` is the picture of frame s; `ring.world_from_cam` [S, 4, 4] the truth, which begins at 1."""

    def __init__(self, frames: int, overlap: float = 0.1, seed: int = 0):
        """`overlap`: share of the ring that is walked twice."""
        rng = np.random.default_rng(seed)
        self.seed, self.walls = seed, _walls(rng)
        times = np.linspace(0, (1 + overlap) * 4 * sum(_quarter()), frames)
        bob = rng.uniform(0, 2 * np.pi, 4)
        poses = np.stack([_pose(time, bob) for time in times])
        self.world_from_first = poses[0]
        self.world_from_cam = np.linalg.inv(poses[0]) @ poses

    def __len__(self) -> int:
        return len(self.world_from_cam)

    def __call__(self, s: int) -> np.ndarray:
        noise = np.random.default_rng((self.seed, s)).normal(0, NOISE, (*SHAPE, 1))
        drawn = _cast(self.walls, self.world_from_first @ self.world_from_cam[s])
        return np.clip(drawn + noise, 0, 255).astype(np.uint8)


def _quarter() -> tuple[float, float]:
    """Time one side takes and one turn, at one unit of length per unit of time."""
    return 2 * (MIDDLE - CORNER), np.pi / 2 * CORNER / SLOW


def _pose(time: float, bob: np.ndarray) -> np.ndarray:
    """world_from_cam [4, 4] at some time; x to the right, y down, z ahead at time 0."""
    side, turn = _quarter()
    quarter, rest = divmod(time, side + turn)
    angle = 0.0 if rest < side else (rest - side) / turn * np.pi / 2
    straight = min(rest, side)
    place = np.array([-MIDDLE + CORNER * (1 - np.cos(angle)), 0, -side / 2 + straight + CORNER * np.sin(angle)])
    about = _about_y(quarter * np.pi / 2)
    out = np.eye(4)
    phase = 2 * np.pi * time / 5 + bob
    place = place + 0.06 * np.array([np.sin(phase[0]), np.sin(phase[1]), 0])
    sway = _about_y(angle - ASIDE + 0.06 * np.sin(phase[2]))
    nod = cv2.Rodrigues(np.array([0.04 * np.sin(phase[3]), 0, 0]))[0]
    out[:3, :3], out[:3, 3] = about @ sway @ nod, about @ place
    return out


def _about_y(angle: float) -> np.ndarray:
    """A turn to the right [3, 3]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _walls(rng: np.random.Generator) -> list[_Wall]:
    walls, down = [], np.array([0.0, 1, 0])
    for half in (OUTER, INNER):
        for quarter in range(4):
            R = _about_y(quarter * np.pi / 2)
            picture = _texture(rng, 2 * HALF_HEIGHT, 2 * half)
            walls.append(_Wall(R @ [-half, -HALF_HEIGHT, -half], R @ [0, 0, 1.0], down, picture))
    for height in (-HALF_HEIGHT, HALF_HEIGHT):
        corner = np.array([-OUTER, height, -OUTER])
        picture = _texture(rng, 2 * OUTER, 2 * OUTER)
        walls.append(_Wall(corner, np.array([1.0, 0, 0]), np.array([0, 0, 1.0]), picture))
    return walls


def _texture(rng: np.random.Generator, height: float, width: float) -> np.ndarray:
    """Blobs of all sizes over so many units."""
    shape = round(height * TEXELS), round(width * TEXELS)
    out = np.zeros((*shape, 3), np.float32)
    for cell in (48, 16, 6):
        small = rng.normal(size=(shape[0] // cell + 2, shape[1] // cell + 2, 3)).astype(np.float32)
        out += cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 36 * out, 0, 255).astype(np.uint8)


def _cast(walls: list[_Wall], world_from_cam: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8: every pixel takes the nearest wall in front."""
    v, u = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    rays = np.stack(((u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)), -1)
    rays = (rays @ world_from_cam[:3, :3].T).astype(np.float32)
    eye = world_from_cam[:3, 3]
    nearest, out = np.full(SHAPE, np.inf, np.float32), np.zeros((*SHAPE, 3), np.uint8)
    for wall in walls:
        normal = np.cross(wall.along, wall.down)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = float(normal @ (wall.corner - eye)) / (rays @ normal.astype(np.float32))
            at = rays * t[..., None]
        x = (at @ wall.along.astype(np.float32) + float(wall.along @ (eye - wall.corner))) * TEXELS
        y = (at @ wall.down.astype(np.float32) + float(wall.down @ (eye - wall.corner))) * TEXELS
        height, width = wall.picture.shape[:2]
        hit = (t > 0) & (t < nearest) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        if hit.any():
            drawn = cv2.remap(wall.picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            out[hit], nearest[hit] = drawn[hit], t[hit]
    return out
