"""Things that can move by themselves: cars, people, animals, machines, and what is thrown, rolled or carried.

Choices
- An object is added to a stage at a body frame, one transform or one per frame: origin on the floor below it, y down,
  z towards its front.
- Limbs and wheels follow a `clock` [S] in seconds; a clock that stands still makes the same object static. The truth
  decides from the transforms what moved.
"""

from __future__ import annotations

import numpy as np

from openmore.data.synthetic.motion import rotation
from openmore.data.synthetic.scene import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    HULL,
    Material,
    Stage,
    hull_planes,
    random_material,
    random_turn,
)

Clock = np.ndarray  # [S] seconds; equal values mean that nothing moves


def car(stage: Stage, body: np.ndarray, clock: Clock, speed: float = 0.0) -> None:
    r, me = stage.rng, stage.new_instance()
    size = r.uniform(0.85, 1.2)
    length, width, low = 2.1 * size, 0.85 * size, r.uniform(0.3, 0.45) * size
    paint, glass, tyre = random_material(r, 0.3, group=12), random_material(r, 0.8), random_material(r, 3.0, group=5)
    paint.gain, glass.gain = paint.gain * r.uniform(0.8, 1.6), glass.gain * 0.4
    tyre.gain, tyre.offset = tyre.gain * 0.35, tyre.offset * 0.2
    wheel = 0.33 * size
    stage.add(BOX, (width, low, length), body, (0, -wheel - low, 0), material=paint, instance=me)
    cabin = (width * 0.85, 0.3 * size, length * r.uniform(0.4, 0.65))
    z = r.uniform(-0.25, 0.0) * length
    stage.add(BOX, cabin, body, (0, -wheel - 2 * low - cabin[1], z), material=glass, instance=me)
    stage.add(
        BOX, (cabin[0], 0.03, cabin[2]), body, (0, -wheel - 2 * low - 2 * cabin[1], z), material=paint, instance=me
    )
    spin = rotation("x", -speed / wheel * clock) @ rotation("z", np.pi / 2)
    for sx in (-1, 1):
        for sz in (-0.6, 0.6):
            at = (sx * width, -wheel, sz * length)
            stage.add(CYLINDER, (wheel, 0.1, wheel), body, at, spin, tyre, me)


def person(stage: Stage, body: np.ndarray, clock: Clock, stride_hz: float = 0.9, gesture: float = 0.0) -> None:
    """A figure of ellipsoids whose limbs swing with the clock: legs by stride, arms by stride and gesture."""
    r, me = stage.rng, stage.new_instance()
    h = r.uniform(1.0, 1.95)
    skin, shirt, trousers = random_material(r, 1.0, group=12), random_material(r, 2.0), random_material(r, 2.0)
    skin.gain = skin.gain * np.array([1.0, 0.75, 0.6])
    phase = 2 * np.pi * stride_hz * clock + r.uniform(0, 6.28)
    swing = r.uniform(0.35, 0.7) if stride_hz > 0 else 0.0
    girth = r.uniform(0.8, 1.3) * h / 1.75
    stage.add(ELLIPSOID, (0.17 * girth, 0.19 * h, 0.12 * girth), body, (0, -0.66 * h, 0), material=shirt, instance=me)
    stage.add(ELLIPSOID, (0.16 * girth, 0.09 * h, 0.12 * girth), body, (0, -0.5 * h, 0), material=trousers, instance=me)
    stage.add(ELLIPSOID, (0.045 * h, 0.065 * h, 0.05 * h), body, (0, -0.93 * h, 0), material=skin, instance=me)
    for side in (-1, 1):
        hip = rotation("x", side * swing * np.sin(phase))
        knee = hip @ rotation(
            "x", -swing * (0.6 + 0.6 * np.sin(phase * 1.0 + side)) if stride_hz else np.zeros_like(phase)
        )
        at_hip = np.array([side * 0.09 * girth, -0.5 * h, 0.0])
        _limb(stage, body, at_hip, hip, knee, 0.25 * h, 0.065 * girth, trousers, me)
        wave = gesture * (0.8 + np.sin(phase * 1.3 + 2 * side))
        shoulder = rotation("x", -side * swing * 0.8 * np.sin(phase)) @ rotation("z", -side * (0.15 + wave))
        elbow = shoulder @ rotation("x", 0.3 + 0.5 * gesture * (1 + np.sin(1.7 * phase)))
        at_shoulder = np.array([side * 0.2 * girth, -0.8 * h, 0.0])
        _limb(stage, body, at_shoulder, shoulder, elbow, 0.17 * h, 0.045 * girth, shirt, me)


def _limb(stage: Stage, body: np.ndarray, root: np.ndarray, upper: np.ndarray, lower: np.ndarray,
          length: float, thick: float, material: Material, instance: int) -> None:  # fmt: skip
    """Two segments below `root` [3], turned by `upper` and `lower` [S, 3, 3]."""
    down = np.array([0.0, length, 0.0])
    middle = root + upper @ down
    half = (thick, 0.55 * length, thick)
    stage.add(ELLIPSOID, half, body, (root + middle) / 2, upper, material, instance)
    stage.add(ELLIPSOID, half, body, middle + lower @ (down / 2), lower, material, instance)


def animal(stage: Stage, body: np.ndarray, clock: Clock, stride_hz: float = 1.5) -> None:
    r, me = stage.rng, stage.new_instance()
    s, fur = r.uniform(0.25, 0.9), random_material(r, 1.5, group=int(r.choice([1, 2, 0])))
    phase = 2 * np.pi * stride_hz * clock
    stage.add(ELLIPSOID, (0.22 * s, 0.24 * s, 0.6 * s), body, (0, -0.75 * s, 0), material=fur, instance=me)
    nod = rotation("x", 0.3 * np.sin(phase * 0.5))
    stage.add(ELLIPSOID, (0.14 * s, 0.15 * s, 0.22 * s), body, (0, -1.05 * s, 0.65 * s), nod, fur, me)
    for k, (sx, sz) in enumerate(((-1, -1), (1, -1), (-1, 1), (1, 1))):
        hip = rotation("x", 0.5 * np.sin(phase + np.pi * (k in (1, 2))))
        at = np.array([0.14 * s * sx, -0.6 * s, 0.42 * s * sz]) + hip @ np.array([0, 0.3 * s, 0])
        stage.add(ELLIPSOID, (0.07 * s, 0.33 * s, 0.07 * s), body, at, hip, fur, me)


def machine(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    """A fan, mill or robot arm: a base at rest and parts that turn."""
    r, me = stage.rng, stage.new_instance()
    h, rate = r.uniform(0.5, 1.6), r.choice([-1, 1]) * r.uniform(0.5, 5.0)
    base, part = random_material(r), random_material(r, 1.5)
    stage.add(CYLINDER, (0.08, h / 2, 0.08), body, (0, -h / 2, 0), material=base, instance=me)
    if r.random() < 0.5:  # blades in the x-y plane
        spin = rotation("z", rate * clock)
        reach = r.uniform(0.25, 0.6)
        for k in range(int(r.integers(1, 4))):
            blade = spin @ rotation("z", np.pi * k / 3)
            stage.add(BOX, (reach, 0.07, 0.015), body, (0, -h, 0.12), blade, part, me)
        return
    upper = rotation("y", 0.6 * np.sin(rate * clock)) @ rotation("x", 2.2 + 0.6 * np.sin(0.7 * rate * clock))
    lower = upper @ rotation("x", 1.0 + 0.7 * np.sin(1.3 * rate * clock + 1))
    _limb(stage, body, np.array([0.0, -h, 0.0]), upper, lower, r.uniform(0.3, 0.6), 0.07, part, me)


def gadget(stage: Stage, body: np.ndarray, clock: Clock) -> None:
    """A ball, box, stone or small assembly whose body frame sits in its middle: thrown, rolled, carried, flown."""
    r, me = stage.rng, stage.new_instance()
    size = np.exp(r.uniform(np.log(0.08), np.log(0.45)))
    kind = int(r.choice([BOX, ELLIPSOID, CYLINDER, HULL]))
    half = size * np.exp(r.normal(0, 0.3, 3))
    planes = hull_planes(r) if kind == HULL else None
    stage.add(kind, half, body, instance=me, planes=planes)
    for _ in range(int(r.integers(0, 3))):
        at = r.normal(0, 0.7, 3) * half
        stage.add(int(r.choice([BOX, ELLIPSOID, CYLINDER])), half * r.uniform(0.2, 0.7, 3), body, at, random_turn(r),
                  instance=me)  # fmt: skip
