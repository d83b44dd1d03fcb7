"""Rooms and landscapes: from a seed to a complete scene.

Choices
- The camera's path comes first; things are placed where it looks and never where it goes.
- Indoors: six slabs with pictures, doors and rugs; outdoors: ground, paths, houses, trees, sky with clouds and haze.
- Fields of view 35-90 degrees, principal point in the middle (what the network's pose code can say).
- Optics vary from clip to clip: exposure errors and drift, grey cameras, blur, noise, JPEG.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.data.synthetic import motion
from openmore.data.synthetic.motion import pose, rotation
from openmore.data.synthetic.movers import View, add_mover
from openmore.data.synthetic.objects import INDOOR, OUTDOOR
from openmore.data.synthetic.optics import NOISE_TILE
from openmore.data.synthetic.scene import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    Light,
    Material,
    Optics,
    Scene,
    Stage,
    random_material,
)
from openmore.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """What kind of clips to draw. The defaults are the whole breadth."""

    frames: int = 8
    shape: tuple[int, int] = (168, 224)  # (H, W)
    intervals: tuple[int, int] = (1, 5)  # source frames (1/30 s) between two frames of a clip, drawn once per clip
    movers: tuple[int, int] = (0, 6)  # independently moving objects
    camera_speed: float = 1.0  # 0 = every camera stands still; 0.3 = small baselines for a curriculum
    mover_speed: float = 1.0  # 0 = every scene is static
    camera: str | None = None  # one of motion.CAMERA_KINDS; None = any
    outdoor: bool | None = None  # None = either
    fov_degrees: tuple[float, float] = (35.0, 90.0)  # of the longer side
    clutter: tuple[int, int] = (3, 12)  # objects at rest

    def __post_init__(self) -> None:
        if self.frames < 1 or min(self.shape) < 8:
            raise ConfigError(f"a clip of {self.frames} frames of {self.shape} pixels: expected >= 1 frame of >= 8 x 8")
        if self.camera is not None and self.camera not in motion.CAMERA_KINDS:
            raise ConfigError(f"camera {self.camera!r}: expected one of {', '.join(motion.CAMERA_KINDS)}")
        for name in ("intervals", "movers", "clutter", "fov_degrees"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ConfigError(f"{name} = {(low, high)}: expected 0 <= low <= high")


def describe(seed: int, recipe: Recipe | None = None) -> Scene:
    """The scene of one seed: small numpy arrays, no pixels yet; some milliseconds."""
    recipe = recipe or Recipe()
    rng = np.random.default_rng((0x4D6F5265, seed))
    interval = max(1, int(rng.integers(recipe.intervals[0], recipe.intervals[1] + 1)))
    t = np.arange(recipe.frames) * interval / 30.0
    outdoor = bool(rng.random() < 0.4) if recipe.outdoor is None else recipe.outdoor
    stage = Stage(rng, t)
    K, half_width = _intrinsics(rng, recipe)
    room = None if outdoor else rng.uniform((1.5, 2.2, 1.7), (5.0, 3.6, 6.5))
    world_from_cam = _camera(rng, recipe, t, outdoor, room)
    depths = (1.5, 35.0) if outdoor else (0.7, 6.0)
    view = View(world_from_cam, half_width, depths, room)
    _ground(stage, view) if room is None else _room(stage, room)
    _furnish(stage, view, OUTDOOR if outdoor else INDOOR, int(rng.integers(recipe.clutter[0], recipe.clutter[1] + 1)))
    wanted = int(rng.integers(recipe.movers[0], recipe.movers[1] + 1)) if recipe.mover_speed > 0 else 0
    for _ in range(wanted):
        add_mover(stage, view, outdoor, recipe.mover_speed)
    light = _light(rng, outdoor)
    sky, optics = _sky(rng, light), _optics(rng, t)
    scene = stage.freeze(f"synthetic/{seed:06d}", recipe.shape, K, world_from_cam, sky, light, optics)
    _ = scene.tables  # here rather than when rendering: loader processes describe, the device should not wait
    return scene


def _intrinsics(rng: np.random.Generator, recipe: Recipe) -> tuple[np.ndarray, float]:
    height, width = recipe.shape
    half = np.tan(np.radians(rng.uniform(*recipe.fov_degrees)) / 2)
    f = max(height, width) / 2 / half
    return np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1.0]]), width / 2 / f


def _camera(
    rng: np.random.Generator, recipe: Recipe, t: np.ndarray, outdoor: bool, room: np.ndarray | None
) -> np.ndarray:
    kinds = [k for k in motion.CAMERA_KINDS if outdoor or k != "drive"]
    kind = recipe.camera or str(rng.choice(kinds))
    eye = rng.choice([rng.uniform(0.3, 1.0), rng.uniform(1.2, 1.8), rng.uniform(1.2, 1.8), rng.uniform(1.5, 2.4)])
    if outdoor and rng.random() < 0.12:
        eye = rng.uniform(3, 12)  # a balcony or a drone
    if room is None:
        start = np.array([0.0, -eye, 0.0])
        target = start + rotation("y", rng.uniform(0, 6.28)) @ np.array([0, rng.uniform(-0.5, eye), rng.uniform(3, 12)])
    else:
        start = rng.uniform(-0.8, 0.8, 3) * (room[0] - 0.4, 0, room[2] - 0.4)
        start[1] = -min(eye, room[1] - 0.4)
        target = rng.uniform(-0.7, 0.7, 3) * room * (1, 0, 1) - np.array([0, rng.uniform(0.2, 1.6), 0])
        if np.linalg.norm(target - start) < 1.0:
            target = -start * (1, -0.6, 1) + rng.normal(0, 0.3, 3)
    path = motion.camera_path(rng, kind, t * recipe.camera_speed, start, target)
    return _keep_inside(path, room)


def _keep_inside(path: np.ndarray, room: np.ndarray | None) -> np.ndarray:
    """Shrink the path about its start until it stays in the room (or above the ground)."""
    start = path[0, :3, 3].copy()
    low = np.array([-np.inf, -np.inf, -np.inf]) if room is None else np.array([-room[0], -room[1], -room[2]]) + 0.3
    high = np.array([np.inf, -0.2, np.inf]) if room is None else np.array([room[0] - 0.3, -0.2, room[2] - 0.3])
    for _ in range(12):
        at = path[:, :3, 3]
        if ((at >= low) & (at <= high)).all():
            break
        path[:, :3, 3] = start + 0.7 * (at - start)
    return path


def _room(stage: Stage, room: np.ndarray) -> None:
    """Floor, ceiling, four walls; pictures, doors, rugs."""
    r, (w, h, d) = stage.rng, room
    thick, still = 0.1, np.eye(4)
    floor = random_material(r, group=int(r.choice([3, 4, 1, 2, 10, 0])))
    wall, other = (random_material(r, group=int(r.choice([12, 12, 12, 3, 1, 8, 0, 11]))) for _ in range(2))
    ceiling = random_material(r, group=int(r.choice([12, 12, 3])))
    ceiling.gain, ceiling.offset = ceiling.gain * 0.4, ceiling.offset * 0.3 + 0.4
    stage.add(BOX, (w + 0.2, thick, d + 0.2), still, (0, thick, 0), material=floor, casts=False)
    stage.add(BOX, (w + 0.2, thick, d + 0.2), still, (0, -h - thick, 0), material=ceiling, casts=False)
    for side in (-1, 1):
        material = wall if r.random() < 0.7 else other
        stage.add(BOX, (thick, h / 2, d), still, (side * (w + thick), -h / 2, 0), material=material, casts=False)
        stage.add(BOX, (w, h / 2, thick), still, (0, -h / 2, side * (d + thick)), material=wall, casts=False)
    for _ in range(int(r.integers(1, 8))):
        _on_wall(stage, room)
    if r.random() < 0.6:
        at = (r.uniform(-0.5, 0.5) * w, -0.005, r.uniform(-0.5, 0.5) * d)
        kind = BOX if r.random() < 0.7 else CYLINDER
        stage.add(kind, (r.uniform(0.5, 1.5), 0.006, r.uniform(0.5, 1.2)), still, at, casts=False)


def _on_wall(stage: Stage, room: np.ndarray) -> None:
    """A picture, window, door, board or beam on a random wall."""
    r, (w, h, d) = stage.rng, room
    side, along_x = int(r.choice([-1, 1])), r.random() < 0.5
    reach = w if along_x else d
    half = np.array([r.uniform(0.15, 0.6), r.uniform(0.15, 0.5), r.uniform(0.01, 0.06)])
    y = r.uniform(0.9, max(1.0, h - 0.5))
    if r.random() < 0.3:  # a door or a cupboard
        half, y = np.array([0.45, 1.0, r.uniform(0.02, 0.2)]), 1.0
    place = r.uniform(-0.9, 0.9) * (reach - half[0])
    turn = np.eye(3) if along_x else rotation("y", np.pi / 2)
    at = np.array([place, -y, side * d]) if along_x else np.array([side * w, -y, place])
    material = random_material(r, float(r.uniform(0.8, 2.5)))
    stage.add(BOX, half, np.eye(4), at, turn, material, casts=False)
    if r.random() < 0.4:  # a frame around it
        stage.add(BOX, half * (1.1, 1.1, 0.7), np.eye(4), at, turn, casts=False)


def _ground(stage: Stage, view: View) -> None:
    """Ground with paths, and hills on the horizon."""
    r, still = stage.rng, np.eye(4)
    middle = view.world_from_cam[:, :3, 3].mean(0) * (1, 0, 1)
    size = r.uniform(60, 200)
    ground = random_material(
        r, float(np.exp(r.uniform(np.log(0.1), np.log(0.7)))), group=int(r.choice([2, 1, 0, 2, 3, 5]))
    )
    earth = np.array([1.0, 0.9, 0.75]) if r.random() < 0.5 else np.array([0.8, 1.0, 0.6])
    if r.random() < 0.7:  # most ground is soil, stone or grass
        ground.gain, ground.offset = ground.gain.mean() * earth, ground.offset.mean() * earth
    stage.add(BOX, (size, 0.5, size), still, middle + (0, 0.5, 0), material=ground, casts=False)
    heading = view.world_from_cam[0, :3, 2]
    yaw = float(np.arctan2(heading[0], heading[2])) + r.normal(0, 0.3)
    for _ in range(int(r.integers(0, 3))):  # roads and pavements, a little raised
        turn = rotation("y", yaw + r.choice([0, np.pi / 2]))
        at = middle + turn @ np.array([r.uniform(-6, 6), 0, 0]) - (0, 0.01, 0)
        stage.add(BOX, (r.uniform(0.8, 5), r.uniform(0.01, 0.12), size * 0.9), still, at, turn, casts=False)
    for _ in range(int(r.integers(0, 4))):
        angle, far = r.uniform(0, 6.28), size * r.uniform(0.4, 0.9)
        half = np.array([r.uniform(10, 60), r.uniform(2, 14), r.uniform(10, 60)])
        at = middle + (np.sin(angle) * far, 0, np.cos(angle) * far)
        if view.clearance(at) > max(half[0], half[2]) + 5:
            stage.add(ELLIPSOID, half, still, at, material=random_material(r, 0.08, group=2), casts=False)


def _furnish(stage: Stage, view: View, catalogue, count: int) -> None:
    """Put objects at rest where the camera looks but does not go; drop what finds no place."""
    r = stage.rng
    clock = np.zeros_like(stage.t)
    for _ in range(count):
        thing = catalogue[r.integers(len(catalogue))]
        big = {"house": 9.0, "car": 2.6, "tree": 1.6, "fence": 3.5}.get(thing.__name__, 0.9)
        for _ in range(5):
            spot = view.spot(r, 0.4)
            if view.room is None and big > 4:
                spot = spot * r.uniform(1.0, 2.5)
            if view.clearance(spot) > big + 0.2:
                thing(stage, pose(rotation("y", r.uniform(0, 6.28)), spot), clock)
                break


def _light(rng: np.random.Generator, outdoor: bool) -> Light:
    elevation, azimuth = np.radians(rng.uniform(25, 80)), rng.uniform(0, 6.28)
    to_sun = np.array([np.cos(elevation) * np.sin(azimuth), -np.sin(elevation), np.cos(elevation) * np.cos(azimuth)])
    warmth = rng.normal(0, 0.12)
    sun = rng.uniform(0.3, 2.5) * np.array([1 + warmth, 1.0, 1 - warmth])
    ambient = rng.uniform(0.15, 0.7) * np.array([1 - 0.6 * warmth, 1.0, 1 + 0.6 * warmth])
    side = rng.normal(0, 1, 3) * (1, 0.3, 1)
    sky = (ambient.mean() + 0.3 * sun.mean()) * rng.uniform(0.9, 2.4)
    return Light(
        to_sun=to_sun,
        sun=sun,
        ambient=ambient,
        to_fill=side / np.linalg.norm(side),
        fill=float(rng.uniform(0, 0.6)),
        shadow=float(rng.uniform(0.3, 1.0)),
        horizon=sky * (1 + 0.5 * (ambient / ambient.mean() - 1)) * rng.uniform(0.8, 1.1),
        sky=float(sky),
        haze=float(np.exp(rng.uniform(np.log(3e-4), np.log(2e-2)))) if outdoor else 0.0,
    )


def _sky(rng: np.random.Generator, light: Light) -> Material:
    """Blue or grey with clouds; the second texture layer is unused so that the sky stays calm."""
    blue = np.array([0.35, 0.55, 0.95]) if rng.random() < 0.7 else np.array([0.75, 0.78, 0.82])
    cloud = rng.uniform(0.0, 0.6)
    base = blue * rng.uniform(0.5, 1.0)
    return Material(
        (1 + 13 * int(rng.integers(0, 64)), 12), 0.15, 1.0, 0.0, np.full(3, cloud), base * (1 - 0.4 * cloud)
    )


def _optics(rng: np.random.Generator, t: np.ndarray) -> Optics:
    drift = motion.wander(rng, t, 1, rng.choice([0.0, 0.03, 0.1]), 0.5)[:, 0]
    noisy = rng.random() < 0.6
    return Optics(
        exposure=np.exp(rng.normal(0, 0.25) + drift),
        saturation=0.0 if rng.random() < 0.12 else float(rng.uniform(0.5, 1.1)),
        white=np.exp(rng.normal(0, 0.06, 3)),
        vignette=float(rng.uniform(0, 0.35) * (rng.random() < 0.5)),
        blur=float(rng.choice([0.0, rng.uniform(0, 0.6), 1.0], p=[0.5, 0.4, 0.1])),
        contrast=float(rng.uniform(0.0, 1.3)),
        shutter=float(rng.uniform(0.2, 0.7)) if rng.random() < 0.25 else 0.0,
        noise=float(rng.uniform(0, 0.02)) if noisy else 0.0,
        shot_noise=float(rng.uniform(0, 0.03)) if noisy else 0.0,
        noise_start=rng.integers(0, NOISE_TILE, len(t)),
        jpeg_quality=int(rng.integers(35, 96)) if rng.random() < 0.5 else 0,
    )
