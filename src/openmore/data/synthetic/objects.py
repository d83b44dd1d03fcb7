"""Things at rest: furniture, vegetation, buildings, street furniture, clutter; each a handful of primitives.

Choices
- An object is added to a stage at a body frame: origin on the floor below it, y down, z towards its front. The body
  may be one transform (at rest) or one per frame (pushed).
- Sizes are those of real things with generous variation; materials are drawn at random, two or three per object.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from openmore.data.synthetic.figures import Clock, car, person
from openmore.data.synthetic.motion import rotation
from openmore.data.synthetic.scene import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    HULL,
    Stage,
    hull_planes,
    random_material,
    random_turn,
)

Adder = Callable[[Stage, np.ndarray, Clock], None]


def _legs(stage: Stage, body: np.ndarray, half: tuple[float, float], height: float, thick: float, **kw) -> None:
    for sx in (-1, 1):
        for sz in (-1, 1):
            at = (sx * (half[0] - thick), -height / 2, sz * (half[1] - thick))
            stage.add(BOX, (thick, height / 2, thick), body, at, **kw)


def table(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    w, d, h = r.uniform(0.35, 0.9), r.uniform(0.3, 0.6), r.uniform(0.4, 0.95)
    top, leg = random_material(r), random_material(r)
    kind = CYLINDER if r.random() < 0.25 else BOX
    stage.add(kind, (w, 0.025, d), body, (0, -h, 0), material=top, instance=me)
    if r.random() < 0.7:
        _legs(stage, body, (w * 0.75, d * 0.75), h, 0.03, material=leg, instance=me)
    else:
        stage.add(CYLINDER, (0.06, h / 2, 0.06), body, (0, -h / 2, 0), material=leg, instance=me)
    for _ in range(int(r.integers(0, 4))):
        small_thing(stage, body, clock, (r.uniform(-0.7, 0.7) * w, -h - 0.025, r.uniform(-0.7, 0.7) * d))


def small_thing(stage: Stage, body: np.ndarray, clock: Clock, at: tuple[float, float, float]) -> None:
    """A book, cup, ball or gadget that stands on something at `at`."""
    r, me = stage.rng, stage.new_instance()
    kind = int(r.choice([BOX, ELLIPSOID, CYLINDER, HULL], p=[0.45, 0.15, 0.3, 0.1]))
    half = np.exp(r.uniform(np.log(0.04), np.log(0.16), 3))
    if kind == CYLINDER:
        half[2] = half[0]
    planes = hull_planes(r) if kind == HULL else None
    centre = (at[0], at[1] - half[1], at[2])
    stage.add(kind, half, body, centre, rotation("y", r.uniform(0, 6.28)), random_material(r, 3.0), me, planes=planes)


def chair(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    w, h, back = r.uniform(0.2, 0.32), r.uniform(0.4, 0.5), r.uniform(0.2, 0.4)
    seat, frame = random_material(r, 2.0), random_material(r)
    stage.add(BOX, (w, 0.03, w), body, (0, -h, 0), material=seat, instance=me)
    stage.add(BOX, (w, back, 0.025), body, (0, -h - back, -w), rotation("x", r.uniform(0, 0.2)), seat, me)
    _legs(stage, body, (w, w), h, 0.02, material=frame, instance=me)


def shelf(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    w, h, d, board = r.uniform(0.35, 0.9), r.uniform(0.9, 2.1), r.uniform(0.12, 0.25), random_material(r)
    levels = int(r.integers(2, 4))
    for side in (-1, 1):
        stage.add(BOX, (0.015, h / 2, d), body, (side * w, -h / 2, 0), material=board, instance=me)
    stage.add(BOX, (w, h / 2, 0.01), body, (0, -h / 2, -d), material=random_material(r), instance=me)
    for k in range(levels + 1):
        y = -h * (0.06 + 0.9 * k / levels)
        stage.add(BOX, (w, 0.015, d), body, (0, y, 0), material=board, instance=me)
        if k < levels:
            extent = r.uniform(0.3, 0.95) * w
            tall = r.uniform(0.3, 0.8) * h / levels / 2
            books = random_material(r, r.uniform(1, 3), group=8)  # stripes: a row of books
            stage.add(BOX, (extent, tall, d * 0.8), body, (extent - w, y - tall, 0), material=books, instance=me)


def cabinet(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    half = np.array([r.uniform(0.25, 0.9), r.uniform(0.25, 1.0), r.uniform(0.2, 0.35)])
    stage.add(BOX, half, body, (0, -half[1], 0), instance=me)
    for _ in range(int(r.integers(0, 3))):
        at = (r.uniform(-0.7, 0.7) * half[0], -2 * half[1], r.uniform(-0.6, 0.6) * half[2])
        small_thing(stage, body, clock, at)


def sofa(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    w, d, h, cloth = r.uniform(0.5, 1.1), r.uniform(0.35, 0.5), r.uniform(0.35, 0.45), random_material(r)
    stage.add(BOX, (w, h / 2, d), body, (0, -h / 2, 0), material=cloth, instance=me)
    stage.add(BOX, (w, h, 0.12), body, (0, -h, -d), rotation("x", 0.12), cloth, me)
    for side in (-1, 1):
        stage.add(BOX, (0.1, h * 0.75, d), body, (side * w, -h * 0.75, 0), material=cloth, instance=me)
    for _ in range(int(r.integers(0, 3))):
        at = (r.uniform(-0.7, 0.7) * w, -h - 0.15, -d * 0.5)
        stage.add(ELLIPSOID, (0.22, 0.18, 0.09), body, at, rotation("x", 0.4), random_material(r, 2.5), me)


def lamp(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    h = r.uniform(0.6, 1.8)
    stage.add(CYLINDER, (0.02, h / 2, 0.02), body, (0, -h / 2, 0), instance=me)
    stage.add(CYLINDER, (0.16, 0.02, 0.16), body, (0, -0.02, 0), instance=me)
    stage.add(CYLINDER, (0.2, 0.13, 0.2), body, (0, -h, 0), instance=me)


def plant(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    pot, leaves = r.uniform(0.1, 0.25), random_material(r, 2.0, group=2)
    leaves.gain = leaves.gain * np.array([0.5, 1.0, 0.4])
    stage.add(CYLINDER, (pot, pot, pot), body, (0, -pot, 0), instance=me)
    for _ in range(int(r.integers(2, 5))):
        half = r.uniform(0.6, 2.2, 3) * pot
        at = r.normal(0, 1, 3) * pot * 0.8 - np.array([0, 3.2 * pot, 0])
        stage.add(ELLIPSOID, half, body, at, random_turn(r), leaves, me)


def clutter(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    """One primitive of any kind, size, shear and attitude."""
    r, me = stage.rng, stage.new_instance()
    kind = int(r.choice([BOX, ELLIPSOID, CYLINDER, HULL], p=[0.35, 0.2, 0.2, 0.25]))
    half = np.exp(r.uniform(np.log(0.12), np.log(0.6))) * np.exp(r.normal(0, 0.45, 3))
    turn = random_turn(r) if r.random() < 0.35 else np.eye(3)
    shear = None
    if kind == BOX and r.random() < 0.3:
        shear = np.eye(3)
        shear[0, 1], shear[2, 1] = r.normal(0, 0.5, 2)
    lift = np.abs(turn[1]) @ half
    planes = hull_planes(r) if kind == HULL else None
    stage.add(kind, half, body, (0, -lift, 0), turn, instance=me, shear=shear, planes=planes)


def crates(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, y = stage.rng, 0.0
    for _ in range(int(r.integers(1, 5))):
        half = r.uniform(0.12, 0.45, 3)
        at = (r.normal(0, 0.06), y - half[1], r.normal(0, 0.06))
        stage.add(BOX, half, body, at, rotation("y", r.normal(0, 0.3)), instance=stage.new_instance())
        y -= 2 * half[1]


def tree(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    h = r.uniform(1.5, 5.0)
    leaves = random_material(r, r.uniform(0.3, 1.2), group=2)
    leaves.gain = leaves.gain * np.array([0.55, 0.9, 0.35])
    trunk = random_material(r, 1.0, group=4)
    stage.add(CYLINDER, (0.05 * h, h / 2, 0.05 * h), body, (0, -h / 2, 0), material=trunk, instance=me)
    for _ in range(int(r.integers(1, 5))):
        half = r.uniform(0.15, 0.45, 3) * h
        at = r.normal(0, 0.18, 3) * h - np.array([0, 1.1 * h, 0])
        stage.add(ELLIPSOID, half, body, at, random_turn(r), leaves, me)


def bush(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    leaves = random_material(r, r.uniform(0.5, 1.5), group=2)
    leaves.gain = leaves.gain * np.array([0.55, 0.9, 0.4])
    for _ in range(int(r.integers(1, 4))):
        half = r.uniform(0.2, 0.8, 3)
        stage.add(
            ELLIPSOID, half, body, (r.normal(0, 0.4), -half[1] * 0.7, r.normal(0, 0.4)), material=leaves, instance=me
        )


def stone(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r = stage.rng
    half = np.exp(r.uniform(np.log(0.1), np.log(0.9))) * np.exp(r.normal(0, 0.3, 3))
    stage.add(HULL, half, body, (0, -half[1] * 0.6, 0), random_turn(r), random_material(r, group=1),
              stage.new_instance(), planes=hull_planes(r))  # fmt: skip


def house(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    half = np.array([r.uniform(2, 8), r.uniform(1.5, 7), r.uniform(2, 6)])
    wall = random_material(r, r.uniform(0.12, 0.4), group=int(r.choice([7, 7, 3, 0, 12])))
    stage.add(BOX, half, body, (0, -half[1], 0), material=wall, instance=me)
    if r.random() < 0.6:
        roof = half * np.array([1.1, 0.0, 1.1]) + np.array([0, r.uniform(0.5, 2.0), 0])
        stage.add(HULL, roof, body, (0, -2 * half[1] - roof[1], 0), material=random_material(r, 0.5, group=3),
                  instance=me, planes=hull_planes(r))  # fmt: skip


def post(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    """A lamp post or a sign."""
    r, me = stage.rng, stage.new_instance()
    h, pole = r.uniform(1.5, 5.5), random_material(r)
    stage.add(CYLINDER, (0.05, h / 2, 0.05), body, (0, -h / 2, 0), material=pole, instance=me)
    if r.random() < 0.6:
        stage.add(BOX, (r.uniform(0.2, 0.7), r.uniform(0.2, 0.5), 0.02), body, (0, -h, 0.06), instance=me,
                  material=random_material(r, 1.2, group=11))  # fmt: skip
    else:
        stage.add(BOX, (0.4, 0.05, 0.05), body, (0.3, -h, 0), material=pole, instance=me)


def fence(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    r, me = stage.rng, stage.new_instance()
    h, length, wood = r.uniform(0.6, 1.6), r.uniform(1.0, 4.0), random_material(r, group=int(r.choice([4, 8, 3])))
    if r.random() < 0.5:
        stage.add(BOX, (length, h / 2, 0.06), body, (0, -h / 2, 0), material=wood, instance=me)
        return
    stage.add(BOX, (length, 0.05, 0.03), body, (0, -h * 0.8, 0), material=wood, instance=me)
    for x in np.linspace(-length, length, 5):
        stage.add(BOX, (0.05, h / 2, 0.05), body, (x, -h / 2, 0), material=wood, instance=me)


INDOOR: tuple[Adder, ...] = (table, chair, shelf, cabinet, sofa, lamp, plant, clutter, clutter, crates, stone)
OUTDOOR: tuple[Adder, ...] = (tree, tree, bush, stone, house, house, post, fence, car, clutter, crates, person)
