"""Rehearsal: cues that no reconstruction gave, made from the truth of scenes that are drawn for the occasion.

Choices
- Reconstructing a clip costs many times what rendering it does; what a picture alone says of depth, and two pictures of
  motion, needs many scenes. So the network first learns from scenes that are rendered once and seen once.
- True cameras, slightly turned; the completed depth is the truth, blurred, bent and flattened the more the less
  parallax there is. What neighbours show is looked up in earnest; flow, triangulation and residuals stay unknown: they
  come with the examples.
"""

from __future__ import annotations

import numpy as np

from openmore.data.sample import Sample
from openmore.data.synthetic import make_clip
from openmore.refinement.adjustment.rotations import exp_so3
from openmore.refinement.dense.cues import CHANNELS, MOST, looked_up
from openmore.training.fusion.examples import Example

FRAMES = 4  # enough for both of the offsets at which neighbours are looked at
FIRST_SEED = 2_000_000
TURN = np.radians(0.1)  # standard deviation of the camera's error between two frames
FLOW_PX = 0.5  # of parallax, at which depth is known to about its own size


def rehearse(seed: int, shape: tuple[int, int], textures: str | None = None) -> Example:
    """The cues of one clip of FRAMES frames of `shape` (H, W) pixels."""
    clip = make_clip(FIRST_SEED + seed, FRAMES, shape, textures=textures)
    rng = np.random.default_rng((seed, 1))
    true = _log_inverse(clip)
    parallax = np.stack([_parallax(clip, s, true[s]) for s in range(FRAMES)])
    known = bool(np.median(parallax) > rng.uniform(0.05, 0.5))
    completed = _guessed(true, parallax, known, rng)
    turns = np.tile(np.eye(4), (FRAMES, 1, 1))
    turns[:, :3, :3] = exp_so3(rng.normal(0, TURN, (FRAMES, 3)))
    cues = np.zeros((FRAMES, len(CHANNELS), *shape), np.float32)
    level = np.median(completed, axis=(1, 2))
    for s in range(FRAMES):
        _fill(cues[s], clip, s, completed[s], float(level[s]), parallax[s], known, turns)
    return Example(cues, level, _true_depth(clip), np.asarray(clip.motion), np.full(FRAMES, known))


def _fill(
    cues: np.ndarray, clip: Sample, s: int, completed: np.ndarray, level: float, parallax: np.ndarray, known: bool,
    turns: np.ndarray,
) -> None:  # fmt: skip
    """Write the cues [C, H, W] of frame s; `turns` [S, 4, 4] are the cameras' errors."""

    def other(offset: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        if not 0 <= s + offset < FRAMES:
            return None
        return clip.images[s + offset], clip.K[s + offset], turns[s + offset] @ _other_from(clip, s, s + offset)

    height, width = completed.shape
    v, u = np.mgrid[:height, :width]
    K = clip.K[s]
    channels = {
        "ray_x": (u - K[0, 2]) / K[0, 0],
        "ray_y": (v - K[1, 2]) / K[1, 1],
        "completed": completed - level,
        "completed_trust": np.log1p(parallax / FLOW_PX) / 3 if known else 0,
        "has_depth": known,
        "parallax": np.log1p(parallax),
    }
    cues[:3] = clip.images[s].transpose(2, 0, 1) / 127.5 - 1
    for name, value in channels.items():
        cues[CHANNELS.index(name)] = np.clip(value, -MOST, MOST)
    beside = looked_up(clip.images[s], other, K, np.exp(completed))
    cues[-len(beside) :] = beside


def _log_inverse(clip: Sample) -> np.ndarray:
    """Log inverse depth [S, H, W]; the sky is half as near as the farthest surface."""
    depth = _true_depth(clip)
    farthest = float(depth.max()) or 1.0
    return -np.log(np.where(depth > 0, depth, 2 * farthest)).astype(np.float32)


def _true_depth(clip: Sample) -> np.ndarray:
    """[S, H, W] float32, 0 = none."""
    return np.where(np.asarray(clip.valid), np.asarray(clip.depth), 0).astype(np.float32)


def _other_from(clip: Sample, s: int, other: int) -> np.ndarray:
    return np.linalg.inv(clip.world_from_cam[other]) @ clip.world_from_cam[s]


def _parallax(clip: Sample, s: int, log_inverse: np.ndarray) -> np.ndarray:
    """Pixels [H, W] between where the next frame (the one before, at the end) has a pixel and where it has infinity."""
    pose = _other_from(clip, s, s + 1 if s + 1 < FRAMES else s - 1)
    return (clip.K[s][0, 0] * np.linalg.norm(pose[:3, 3]) * np.exp(log_inverse)).astype(np.float32)


def _guessed(true: np.ndarray, parallax: np.ndarray, known: bool, rng: np.random.Generator) -> np.ndarray:
    """What a reconstruction might have made of log inverse depth [S, H, W]."""
    import cv2

    height, width = true.shape[1:]
    flat = np.median(true)
    blur = np.exp(rng.uniform(0, np.log(width / (24 if known else 8))))
    bend = rng.uniform(0.02, 0.3)
    out = np.empty_like(true)
    for s, frame in enumerate(true):
        soft = cv2.GaussianBlur(frame, (0, 0), blur)
        knots = rng.normal(0, bend, (4, 5)).astype(np.float32)
        wave = cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC)
        share = np.square(parallax[s]) / (np.square(parallax[s]) + FLOW_PX**2) if known else rng.uniform(0, 0.6)
        out[s] = flat + share * (soft - flat) + wave * (1 - share)
    return out
