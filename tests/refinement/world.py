"""Small worlds with known cameras: points for the solver, and pictures of textured cards for everything above it.

Choices
- Cards are planes drawn far to near by homographies: exact perspective, a millisecond a picture.
- The first camera is the world. "Network" cameras are the true ones with a fixed disturbance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from openmore.refinement.adjustment.bundle import Observations, State
from openmore.refinement.adjustment.rotations import exp_so3
from openmore.refinement.adjustment.triangulate import triangulate
from openmore.refinement.matching.tracks import table

SHAPE = (180, 240)
K = np.array([[210.0, 0, 119.5], [0, 210.0, 89.5], [0, 0, 1]])


def walk(frames: int, step: float = 0.12, turn: float = 0.012) -> np.ndarray:
    """world_from_cam [S, 4, 4] of a camera that walks aside and a little forward while it turns; the first is 1."""
    s = np.arange(frames)
    out = np.tile(np.eye(4), (frames, 1, 1))
    out[:, :3, :3] = exp_so3(np.stack((0.3 * turn * s, turn * s, 0.2 * turn * np.sin(s)), 1))
    out[:, :3, 3] = step * np.stack((s, 0.2 * np.sin(s), 0.3 * s), 1)
    return out


def turning(frames: int, degrees: float) -> np.ndarray:
    """world_from_cam [S, 4, 4] of a camera on a tripod that turns by so much a frame; the first is 1."""
    out = np.tile(np.eye(4), (frames, 1, 1))
    out[:, :3, :3] = exp_so3(np.radians(degrees) * np.arange(frames)[:, None] * np.array([0.2, 1, 0.1]))
    return out


def disturbed(cameras: np.ndarray, degrees: float = 2.0, shift: float = 0.1, seed: int = 5) -> np.ndarray:
    """What a weak network might say."""
    rng = np.random.default_rng(seed)
    out = cameras.copy()
    out[1:, :3, :3] = exp_so3(np.radians(degrees) * rng.normal(size=(len(out) - 1, 3))) @ out[1:, :3, :3]
    out[1:, :3, 3] += shift * rng.normal(size=(len(out) - 1, 3))
    return out


def rotation_errors_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles [S] between the rotations of two sets of cameras [S, 4, 4], both relative to their first."""
    A, B = (np.linalg.inv(c[0]) @ c for c in (a, b))
    trace = np.einsum("sij,sij->s", A[:, :3, :3], B[:, :3, :3])
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def position_error(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance of camera centres over the path's extent, after the best scale about the first camera."""
    x, y = (np.linalg.inv(c[0]) @ c for c in (a, b))
    x, y = x[:, :3, 3], y[:, :3, 3]
    scale = (x * y).sum() / max((x * x).sum(), 1e-12)
    return float(np.linalg.norm(scale * x - y, axis=1).max() / np.linalg.norm(y, axis=1).max())


# -- points ---------------------------------------------------------------------------------------------------------


def points_problem(
    frames: int = 6, points: int = 60, noise_px: float = 0.0, seed: int = 0
) -> tuple[State, Observations]:
    """The true state and its observations; every point is seen in about two thirds of the frames."""
    rng = np.random.default_rng(seed)
    cameras = walk(frames)
    xyz = rng.uniform((-2, -1.5, 3), (3, 1.5, 7), (points, 3))
    R = cameras[:, :3, :3].swapaxes(1, 2)
    t = -(R @ cameras[:, :3, 3:])[..., 0]
    X = np.einsum("sij,pj->psi", R, xyz) + t
    uv = X[..., :2] / X[..., 2:] * 210.0 + K[:2, 2] + rng.normal(size=(points, frames, 2)) * noise_px
    seen = rng.random((points, frames)) < 0.67
    seen[:, :2] = True
    p, f = np.nonzero(seen)
    obs = table(p, f, uv[p, f], X[p, f, 2])
    zeros = np.zeros(frames)
    state = State(R, t, np.zeros((points, 4)), 210.0, 1.0, K[:2, 2].copy(), zeros, zeros.copy())
    return state_with_points(state, obs), obs


def state_with_points(state: State, obs: Observations) -> State:
    """The state with triangulated points."""
    return replace(state, points=triangulate(state, obs))


def shaken(state: State, size: float = 0.02, seed: int = 1) -> State:
    """The state with all cameras but the first, and all points, moved."""
    rng = np.random.default_rng(seed)
    camera = size * rng.normal(size=(len(state.R), 6))
    camera[0] = 0
    return state.moved(camera, np.zeros(1), size * rng.normal(size=(len(state.points), 3)))


# -- pictures -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """A textured rectangle facing the first camera: centre, size in scene units, slope of its normal, texture seed."""

    center: tuple[float, float, float]
    size: tuple[float, float]
    seed: int
    slope: float = 0.0  # radians about y
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)  # per frame

    def corners(self, s: int) -> np.ndarray:
        """[3, 3] columns: direction of u, direction of v, upper left corner, in frame s."""
        u = np.array([np.cos(self.slope), 0, np.sin(self.slope)])
        v = np.array([0.0, 1, 0])
        center = np.array(self.center) + s * np.array(self.velocity)
        corner = center - u * self.size[0] / 2 - v * self.size[1] / 2
        return np.stack((u, v, corner), 1)


ROOM = (
    Card((0.5, 0, 7.5), (22, 14), 0, 0.15),
    Card((-1.6, -0.7, 4.6), (1.8, 1.6), 1, 0.5),
    Card((1.9, 0.6, 4.0), (1.6, 1.8), 2, -0.4),
    Card((0.1, 0.9, 3.2), (1.4, 0.9), 3, 0.2),
    Card((0.6, -1.0, 5.4), (1.9, 1.1), 4, -0.2),
)
OTHER_ROOM = tuple(replace(card, seed=card.seed + 20) for card in ROOM)
WALL = (Card((0.5, 0, 5.0), (22, 14), 0),)


@lru_cache(maxsize=16)
def texture(seed: int, pixels: int = 256) -> np.ndarray:
    """Blobs of all sizes [pixels, pixels, 3] uint8, different everywhere."""
    rng = np.random.default_rng(seed)
    out = np.zeros((pixels, pixels, 3), np.float32)
    for cells in (8, 24, 64):
        out += cv2.resize(rng.normal(size=(cells, cells, 3)).astype(np.float32), (pixels, pixels), interpolation=2)
    return np.clip(128 + 40 * out, 0, 255).astype(np.uint8)


def picture(cards: tuple[Card, ...], world_from_cam: np.ndarray, s: int = 0) -> np.ndarray:
    """[180, 240, 3] uint8 of the cards as they stand in frame s."""
    return _draw(cards, world_from_cam, s)[0]


def depth_of(cards: tuple[Card, ...], world_from_cam: np.ndarray, s: int = 0) -> np.ndarray:
    """[180, 240] float32, z in the camera's axes; 0 where there is no card."""
    return _draw(cards, world_from_cam, s)[1]


def _draw(cards: tuple[Card, ...], world_from_cam: np.ndarray, s: int) -> tuple[np.ndarray, np.ndarray]:
    cam_from_world = np.linalg.inv(world_from_cam)
    out, depth = np.full((*SHAPE, 3), 90, np.uint8), np.zeros(SHAPE, np.float32)
    v, u = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    rays = np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(K).T
    for card in sorted(cards, key=lambda c: -c.center[2] - s * c.velocity[2]):
        plane = cam_from_world[:3, :3] @ card.corners(s)
        plane[:, 2] += cam_from_world[:3, 3]
        image = texture(card.seed)
        scale = np.diag([card.size[0] / image.shape[1], card.size[1] / image.shape[0], 1.0])
        H = K @ plane @ scale
        warped = cv2.warpPerspective(image, H, SHAPE[::-1], flags=cv2.INTER_AREA)
        inside = cv2.warpPerspective(np.full(image.shape[:2], 255, np.uint8), H, SHAPE[::-1]) > 127
        out[inside] = warped[inside]
        normal = np.cross(plane[:, 0], plane[:, 1])
        depth[inside] = (float(normal @ plane[:, 2]) / (rays @ normal))[inside]
    return out, depth


def film(cards: tuple[Card, ...], cameras: np.ndarray) -> list[np.ndarray]:
    """One picture per camera."""
    return [picture(cards, camera, s) for s, camera in enumerate(cameras)]
