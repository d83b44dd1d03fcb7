"""Rehearsal: cues that no reconstruction gave, made from the truth of scenes that are drawn for the occasion.

Choices
- Reconstructing a clip costs many times what rendering it does; what a picture alone says of depth, and two pictures of
  motion, needs many scenes. So the network first learns from scenes that are rendered once and seen once.
- True cameras, slightly turned; the completed depth is the blurred truth where there is parallax, and what `small`
  guesses of the picture where there is none: a guess made from the truth says more than any that is met later.
- What neighbours show is looked up in earnest; flow, triangulation and residuals stay unknown: they come with the
  examples.
- A single frame costs a third to a sixth of a clip of four, and what a picture alone says of depth wants many scenes.
"""

from __future__ import annotations

import numpy as np
import torch

from openmore.data.sample import Sample
from openmore.data.synthetic import make_clip
from openmore.io.sizing import Sizing
from openmore.model.output import to_images
from openmore.refinement.adjustment.rotations import exp_so3
from openmore.refinement.dense.cues import CHANNELS, MOST, looked_up
from openmore.training.fusion.examples import Example, network

FRAMES = 4  # enough for both of the offsets at which neighbours are looked at
FIRST_SEED = 2_000_000
TURN = np.radians(0.1)  # standard deviation of the camera's error between two frames
FLOW_PX = 0.5  # of parallax, at which depth is known to about its own size


def rehearse(seed: int, shape: tuple[int, int], textures: str | None = None, frames: int = FRAMES) -> Example:
    """The cues of one clip of `frames` frames of `shape` (H, W) pixels."""
    clip = make_clip(FIRST_SEED + seed, frames, shape, textures=textures)
    rng = np.random.default_rng((seed, 1))
    true = _log_inverse(clip)
    predicted = _predicted(clip)
    parallax = np.stack([_parallax(clip, s, true[s]) for s in range(frames)])
    known = bool(np.median(parallax) > rng.uniform(0.05, 0.5))
    completed = _completed(true, predicted, parallax, rng) if known else predicted
    turns = np.tile(np.eye(4), (frames, 1, 1))
    turns[:, :3, :3] = exp_so3(rng.normal(0, TURN, (frames, 3)))
    cues = np.zeros((frames, len(CHANNELS), *shape), np.float32)
    level = np.median(completed, axis=(1, 2))
    for s in range(frames):
        _fill(cues[s], clip, s, completed[s], predicted[s], float(level[s]), parallax[s], known, turns)
    return Example(cues, level, _true_depth(clip), np.asarray(clip.motion), np.full(frames, known))


def _fill(
    cues: np.ndarray, clip: Sample, s: int, completed: np.ndarray, predicted: np.ndarray, level: float,
    parallax: np.ndarray, known: bool, turns: np.ndarray,
) -> None:  # fmt: skip
    """Write the cues [C, H, W] of frame s; `turns` [S, 4, 4] are the cameras' errors."""

    def other(offset: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        if not 0 <= s + offset < len(turns):
            return None
        return clip.images[s + offset], clip.K[s + offset], turns[s + offset] @ _other_from(clip, s, s + offset)

    height, width = completed.shape
    v, u = np.mgrid[:height, :width]
    K = clip.K[s]
    off = predicted - completed
    channels = {
        "ray_x": (u - K[0, 2]) / K[0, 0],
        "ray_y": (v - K[1, 2]) / K[1, 1],
        "completed": completed - level,
        "completed_trust": np.log1p(parallax / FLOW_PX) / 3 if known else 0,
        "predicted": off - np.median(off),
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
    frames = len(clip.images)
    other = s + 1 if s + 1 < frames else s - 1
    if other < 0:
        return np.zeros_like(log_inverse)
    pose = _other_from(clip, s, other)
    return (clip.K[s][0, 0] * np.linalg.norm(pose[:3, 3]) * np.exp(log_inverse)).astype(np.float32)


def _predicted(clip: Sample) -> np.ndarray:
    """Log inverse depth [S, H, W] as the network guesses it, in the scale of the truth."""
    import cv2

    model, (height, width) = network(), clip.shape
    to = Sizing.fit((height, width), min(width, model.config.image_size), model.config.patch_size).model_shape
    pictures = [cv2.resize(image, to[::-1], interpolation=cv2.INTER_AREA) for image in clip.images]
    with torch.inference_mode():
        depth = model(to_images(pictures).to(model.device), outputs=("depth",)).depth
    assert depth is not None
    guessed = -np.log(np.stack([cv2.resize(z, (width, height)) for z in depth[0].float().cpu().numpy()]))
    valid, true = np.asarray(clip.valid), _log_inverse(clip)
    return (guessed + np.median((true - guessed)[valid if valid.any() else ...])).astype(np.float32)


def _completed(true: np.ndarray, predicted: np.ndarray, parallax: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Log inverse depth [S, H, W] as a reconstruction has it: the measured one or the predicted one, by parallax."""
    import cv2

    blur = np.exp(rng.uniform(0, np.log(true.shape[2] / 24)))
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), blur) for frame in true])
    share = np.square(parallax) / (np.square(parallax) + FLOW_PX**2)
    return predicted + share * (soft - predicted)
