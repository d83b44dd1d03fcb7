"""How cameras and things move: smooth paths as rigid transforms at given times.

Choices
- A path is a function of time sampled at the clip's time stamps, so the frame interval changes nothing but the samples.
- The stage has y down (OpenCV), the floor at y = 0, z forward; heights are negative y.
- Speeds and angles are those of people, hands and cars, in metres and seconds.
- numpy float64: a path has a few hundred numbers and must not lose digits before the flow is computed from it.
"""

from __future__ import annotations

import numpy as np

Random = np.random.Generator
CAMERA_KINDS = ("handheld", "walk", "drive", "orbit", "pan", "slide", "still")


def rotation(axis: str, angle: np.ndarray | float) -> np.ndarray:
    """Rotation [..., 3, 3] about one of the axes x, y, z by `angle` [...] radians."""
    angle = np.asarray(angle, dtype=np.float64)
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    R = np.zeros((*angle.shape, 3, 3))
    R[..., i, i] = 1
    R[..., j, j] = R[..., k, k] = np.cos(angle)
    R[..., k, j] = np.sin(angle)
    R[..., j, k] = -R[..., k, j]
    return R


def pose(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Rotation [..., 3, 3] and translation [..., 3] (broadcast) -> rigid transform [..., 4, 4]."""
    shape = np.broadcast_shapes(R.shape[:-2], np.shape(t)[:-1])
    T = np.zeros((*shape, 4, 4))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = R, t, 1
    return T


def yaw_pitch_roll(yaw: np.ndarray | float, pitch: np.ndarray | float, roll: np.ndarray | float = 0.0) -> np.ndarray:
    """[..., 3, 3] of a camera that turns right by `yaw`, up by `pitch`, then rolls; radians."""
    return rotation("y", yaw) @ rotation("x", pitch) @ rotation("z", roll)


def look_at(position: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Yaw and pitch [...] of a camera at `position` [..., 3] that looks at `target` [..., 3]."""
    d = target - position
    return np.arctan2(d[..., 0], d[..., 2]), np.arctan2(-d[..., 1], np.hypot(d[..., 0], d[..., 2]))


def wander(rng: Random, t: np.ndarray, size: int, amplitude: float, hertz: float) -> np.ndarray:
    """[S, size] smooth random signal that starts anywhere: three sines per channel around the given frequency."""
    f = hertz * np.exp(rng.normal(0, 0.5, (3, size)))
    phase = rng.uniform(0, 2 * np.pi, (3, size))
    weight = rng.normal(0, 1, (3, size)) / np.sqrt(1.5)
    waves = np.sin(2 * np.pi * f * t[:, None, None] + phase)
    return amplitude * (weight * waves).sum(1)


def drift(rng: Random, t: np.ndarray, speed: float, flat: float = 1.0) -> np.ndarray:
    """[S, 3] displacement from the start, at about `speed` with gentle changes; `flat` scales the vertical part."""
    heading = rng.normal(0, 1, 3) * (1, flat, 1)
    heading /= np.linalg.norm(heading) + 1e-9
    wobble = wander(rng, t, 3, 0.25 * speed / (2 * np.pi * 0.4), 0.4)
    return heading * speed * t[:, None] + (wobble - wobble[0]) * (1, flat, 1)


def roam(rng: Random, t: np.ndarray, speed: float, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Walk or drive on the floor: displacement [S, 3] and heading [S] (yaw, 0 = along z at the start).

    The path is the integral of the heading, so things face where they go. `turn` is the rate in rad/s.
    """
    fine = np.linspace(0.0, max(float(t[-1]), 1e-6), 4 * len(t) + 1)
    heading = turn * fine + wander(rng, fine, 1, 0.15 * abs(turn), 0.3)[:, 0]
    heading -= heading[0]
    steps = np.stack((np.sin(heading), np.zeros_like(heading), np.cos(heading)), -1) * speed
    middle = (steps[1:] + steps[:-1]) / 2 * np.diff(fine)[:, None]
    path = np.concatenate((np.zeros((1, 3)), np.cumsum(middle, 0)))
    at = np.stack([np.interp(t, fine, path[:, i]) for i in range(3)], -1)
    return at, np.interp(t, fine, heading)


def pauses(rng: Random, t: np.ndarray, probability: float = 0.25) -> np.ndarray:
    """[S] a clock that sometimes stands still for a while: things that stop or start during the clip."""
    if rng.random() > probability or len(t) < 3:
        return t
    stop = rng.uniform(0, t[-1])
    length = rng.uniform(0.2, 1.0) * t[-1]
    return np.minimum(t, stop) + np.maximum(t - stop - length, 0.0)


def camera_path(rng: Random, kind: str, t: np.ndarray, start: np.ndarray, target: np.ndarray) -> np.ndarray:
    """world_from_cam [S, 4, 4] of one camera.

    Args:
        kind: one of CAMERA_KINDS.
        t: [S] seconds from 0.
        start: [3] where the camera is at t = 0.
        target: [3] a point of interest that it faces at first.
    """
    yaw0, pitch0 = look_at(start, target)
    position, angles = _CAMERAS[kind](rng, t, start, target, np.array([yaw0, pitch0, rng.normal(0, 0.04)]))
    return pose(yaw_pitch_roll(angles[:, 0], angles[:, 1], angles[:, 2]), position)


def _shake(rng: Random, t: np.ndarray, strength: float) -> np.ndarray:
    """[S, 3] yaw, pitch, roll of a hand: slow sway and a little tremor, zero at the start."""
    sway = wander(rng, t, 3, 0.05 * strength, 0.5) + wander(rng, t, 3, 0.008 * strength, 3.0)
    return sway - sway[0]


def _handheld(rng: Random, t: np.ndarray, start: np.ndarray, target: np.ndarray, angles: np.ndarray):
    position = start + drift(rng, t, np.exp(rng.uniform(np.log(0.08), np.log(0.9))), 0.5)
    aim = target + drift(rng, t, rng.uniform(0, 0.6), 0.4)
    yaw, pitch = look_at(position, aim)
    return position, np.stack((yaw, pitch, np.full_like(yaw, angles[2])), -1) + _shake(rng, t, rng.uniform(0.3, 2))


def _walk(rng: Random, t: np.ndarray, start: np.ndarray, target: np.ndarray, angles: np.ndarray):
    steps, turn = roam(rng, t, rng.uniform(0.6, 1.7), rng.normal(0, 0.35))
    side = rng.normal(0, 0.35) + (np.pi if rng.random() < 0.15 else 0.0)  # sometimes backwards
    position = start + steps @ rotation("y", angles[0] + side).T
    bob = np.sin(2 * np.pi * rng.uniform(1.6, 2.1) * t + rng.uniform(0, 6.28)) * rng.uniform(0.005, 0.035)
    position[:, 1] += bob - bob[0]
    look = angles + np.stack((turn, 0 * turn, 0 * turn), -1)
    return position, look + _shake(rng, t, rng.uniform(0.5, 2))


def _drive(rng: Random, t: np.ndarray, start: np.ndarray, target: np.ndarray, angles: np.ndarray):
    speed = rng.uniform(2, 15) * (-1 if rng.random() < 0.08 else 1)
    steps, turn = roam(rng, t, speed, rng.normal(0, 0.12))
    position = start + steps @ rotation("y", angles[0]).T
    angles = np.array(
        [angles[0] + rng.choice([0.0, 0.0, 0.0, 1.2, -1.2]), rng.normal(-0.02, 0.03), rng.normal(0, 0.01)]
    )
    return position, angles + np.stack((turn, 0 * turn, 0 * turn), -1) + _shake(rng, t, 0.15)


def _orbit(rng: Random, t: np.ndarray, start: np.ndarray, target: np.ndarray, angles: np.ndarray):
    rate = rng.choice([-1, 1]) * np.exp(rng.uniform(np.log(0.08), np.log(0.9)))
    arm = (start - target) * (1 + rng.normal(0, 0.1) * t[:, None])
    position = target + (rotation("y", rate * t) @ arm[..., None])[..., 0]
    yaw, pitch = look_at(position, target)
    return position, np.stack((yaw, pitch, np.full_like(yaw, angles[2])), -1) + _shake(rng, t, rng.uniform(0, 0.6))


def _pan(rng: Random, t: np.ndarray, start: np.ndarray, target: np.ndarray, angles: np.ndarray):
    rate = np.array([rng.normal(0, 0.6), rng.normal(0, 0.15), 0.0])
    turned = rate * np.sin(np.minimum(t, 4.0) * np.pi / 8)[:, None] * 8 / np.pi
    hand = wander(rng, t, 3, rng.choice([0.0, 0.01, 0.04]), 0.5)
    return start + hand - hand[0], angles + turned + _shake(rng, t, rng.uniform(0, 0.3))


def _slide(rng: Random, t: np.ndarray, start: np.ndarray, target: np.ndarray, angles: np.ndarray):
    """Dolly, truck or crane: a straight move with the view held."""
    position = start + drift(rng, t, np.exp(rng.uniform(np.log(0.2), np.log(1.8))), 0.4)
    turned = rng.normal(0, 0.08, 3) * (1, 0.5, 0.1) * t[:, None]
    return position, angles + turned


def _still(rng: Random, t: np.ndarray, start: np.ndarray, target: np.ndarray, angles: np.ndarray):
    """A tripod half of the time, otherwise a hand that tries to hold still."""
    strength = 0.0 if rng.random() < 0.5 else rng.uniform(0.02, 0.2)
    hand = wander(rng, t, 3, 0.02 * strength, 0.6)
    return start + hand - hand[0], angles + _shake(rng, t, strength)


_CAMERAS = {
    "handheld": _handheld,
    "walk": _walk,
    "drive": _drive,
    "orbit": _orbit,
    "pan": _pan,
    "slide": _slide,
    "still": _still,
}
