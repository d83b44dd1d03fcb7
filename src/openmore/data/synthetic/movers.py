"""Things on the move: which object, along which path, seen from where.

Choices
- A mover is placed in front of the camera at a random moment of the clip and its path runs through that place, so
  that moving things are seen, near and far, crossing, approaching and leaving.
- A path that would touch the camera is drawn again a few times, then given up.
- A third of the articulated things stand still for the whole clip (`clock` frozen): looking like a mover is no proof.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmore.data.synthetic import figures, objects
from openmore.data.synthetic.motion import pauses, pose, roam, rotation, wander
from openmore.data.synthetic.scene import Stage, random_turn

CLEARANCE = 0.5  # metres between any mover's centre and the camera, beyond its size
MOVERS = ("person", "person", "car", "animal", "gadget", "gadget", "machine", "pushed", "swing")


@dataclass
class View:
    """What placement needs to know about the camera and the place."""

    world_from_cam: np.ndarray  # [S, 4, 4]
    half_width: float  # tan of half the horizontal field of view
    depths: tuple[float, float]  # metres, nearest and farthest sensible placement
    room: np.ndarray | None  # [3] half size of the room in x and z (y = height), None outdoors

    def spot(self, rng: np.random.Generator, margin: float = 0.0) -> np.ndarray:
        """A random place [3] on the floor that some frame sees; depth is log-uniform."""
        camera = self.world_from_cam[rng.integers(len(self.world_from_cam))]
        near, far = self.depths
        z = np.exp(rng.uniform(np.log(near), np.log(far)))
        at = camera @ np.array([rng.uniform(-1.15, 1.15) * self.half_width * z, 0.0, z, 1.0])
        spot = np.array([at[0], 0.0, at[2]])
        if self.room is not None:
            limit = np.maximum(self.room - margin, 0.1)
            spot = np.clip(spot, -limit, limit) * (1, 0, 1)
        return spot

    def clearance(self, path: np.ndarray) -> float:
        """Smallest horizontal distance between a path [S, 3] or place [3] and the camera at the same time."""
        return float(np.linalg.norm((self.world_from_cam[:, :3, 3] - path)[:, [0, 2]], axis=1).min())


def add_mover(stage: Stage, view: View, outdoor: bool, speed: float) -> bool:
    """Add one mover; `speed` scales how fast it goes. Returns False when no free path was found."""
    r = stage.rng
    kind = str(r.choice(MOVERS))
    if kind == "car" and not outdoor:
        kind = "pushed"
    for _ in range(6):
        body, clock, size = _path(stage, view, kind, speed)
        if view.clearance(body[:, :3, 3]) > size + CLEARANCE:
            break
    else:
        return False
    if kind == "person":
        moving = r.random() < 0.75
        figures.person(stage, body, clock, r.uniform(0.7, 1.1) if moving else 0.0, r.uniform(0, 1) * (r.random() < 0.5))
    elif kind == "car":
        figures.car(stage, body, clock, float(np.linalg.norm(body[-1, :3, 3] - body[0, :3, 3]) / max(clock[-1], 1e-6)))
    elif kind == "animal":
        figures.animal(stage, body, clock)
    elif kind == "machine":
        figures.machine(stage, body, clock)
    elif kind == "pushed":
        adders = (objects.crates, objects.chair, objects.cabinet, objects.clutter, objects.plant)
        adders[r.integers(len(adders))](stage, body, clock)
    else:
        figures.gadget(stage, body, clock)
    return True


def _path(stage: Stage, view: View, kind: str, speed: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Body [S, 4, 4], clock [S] and a radius to keep clear."""
    r = stage.rng
    clock = pauses(r, stage.t) * speed
    if r.random() < 0.2 and kind in ("person", "animal"):
        clock = clock * 0  # looks like a mover, stands still
    spot = view.spot(r, 0.6)
    if kind == "gadget":
        return _fly(r, clock, spot, view), clock, 0.5
    if kind == "swing":
        return _swing(r, clock, spot), clock, 0.6
    if kind == "machine":
        return np.tile(pose(rotation("y", r.uniform(0, 6.28)), spot), (len(clock), 1, 1)), clock, 0.8
    pace = {
        "person": r.uniform(0.3, 1.8),
        "animal": r.uniform(0.3, 2.0),
        "car": r.uniform(1.5, 12),
        "pushed": r.uniform(0.1, 1.0),
    }
    gesture_only = kind == "person" and r.random() < 0.3
    steps, turn = roam(
        r, clock, 0.0 if gesture_only else pace[kind], r.normal(0, 0.5) if kind != "car" else r.normal(0, 0.15)
    )
    yaw = r.uniform(0, 6.28)
    steps = steps @ rotation("y", yaw).T
    meeting = steps[r.integers(len(steps))]
    body = pose(rotation("y", yaw + (0 if gesture_only else 1) * turn), spot + steps - meeting)
    size = {"person": 0.4, "animal": 0.5, "car": 2.4, "pushed": 0.7}[kind]
    return body, clock, size


def _fly(r: np.random.Generator, clock: np.ndarray, spot: np.ndarray, view: View) -> np.ndarray:
    """Thrown, bouncing, rolling, carried or hovering."""
    height = r.uniform(0.2, 2.2)
    style = r.integers(0, 4)
    velocity = r.normal(0, 1.2, 3) * (1, 0.4, 1)
    t = (clock - clock[len(clock) // 2])[:, None]
    if style == 0:  # ballistic
        velocity[1] = r.uniform(-2.5, 0.5)
        path = velocity * t + np.array([0, 4.9, 0]) * t * t
        path[:, 1] = -np.abs(height - path[:, 1])  # the floor throws it back
    elif style == 1:  # rolling
        path = velocity * (1, 0, 1) * t - np.array([0, 0.25, 0])
    else:  # carried or hovering
        path = velocity * t * 0.4 + wander(r, clock, 3, r.uniform(0.02, 0.4), r.uniform(0.2, 1.0))
        path[:, 1] = np.minimum(path[:, 1] - height, -0.2)
    axis = r.normal(0, 1, 3) * (r.random() < 0.8)
    turn = rotation("y", axis[1] * clock * 2) @ rotation("x", axis[0] * clock * 2) @ random_turn(r)
    return pose(turn, spot + path)


def _swing(r: np.random.Generator, clock: np.ndarray, spot: np.ndarray) -> np.ndarray:
    """A pendulum hung from above, or a door on its hinge."""
    angle = r.uniform(0.3, 1.0) * np.sin(2 * np.pi * r.uniform(0.2, 0.8) * clock + r.uniform(0, 6.28))
    length = r.uniform(0.6, 1.8)
    hang = rotation("y", r.uniform(0, 6.28)) @ rotation("z", angle)
    anchor = spot - np.array([0, length + r.uniform(0.2, 0.8), 0])
    return pose(hang, anchor + hang @ np.array([0, length, 0]))
