"""What a training step of the fusion network is shown.

Choices
- A step draws a few frames of a few clips of one shape, mirrored or not, backwards or not, and recoloured; the draw
  hangs on seed, step and process alone, so a stopped run goes on exactly.
- The first steps are rehearsals on scenes drawn for them (`rehearsal`), small at first; the examples follow, with some
  rehearsals between them (`mix`), so that what pictures alone say is not forgotten.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openmore.errors import DataError
from openmore.refinement.dense.cues import CHANNELS
from openmore.training.fusion.config import FitConfig
from openmore.training.fusion.examples import Example, load
from openmore.training.fusion.rehearsal import FRAMES, rehearse

AHEAD = 4  # batches
REHEARSAL_SHAPES = ((84, 112), (112, 160), (112, 160), (168, 224))  # a quarter of the rehearsals each
RAY_X = CHANNELS.index("ray_x")
# Where the channels of a clip come from when time runs backwards: only names of neighbours have a sign.
BACKWARDS = [CHANNELS.index(name.translate(str.maketrans("+-", "-+"))) for name in CHANNELS]


def batches(files: list[Path], config: FitConfig, begin: int, rank: int) -> Iterator[list[Tensor]]:
    """Cues, corrections, valid pixels and motion of every step from `begin` on."""
    for step in range(begin, config.steps):
        rng = np.random.default_rng((config.seed, step, rank))
        shape = _rehearsal_shape(step, config)
        rows: list[tuple[np.ndarray, ...]] = []
        for _ in range(1000):
            row = _opened(files, config, rng) if shape is None else _rehearsed(shape, config, rng)
            if row is not None and (not rows or row[0].shape[-2:] == rows[0][0].shape[-2:]):
                rows.append(row)
            if sum(len(row[0]) for row in rows) >= config.clips * config.frames:
                break
        else:
            raise DataError("these examples give no batch of one shape: collect more clips")
        yield [torch.from_numpy(np.concatenate(part)) for part in zip(*rows)]


def _opened(files: list[Path], config: FitConfig, rng: np.random.Generator) -> tuple[np.ndarray, ...] | None:
    return _drawn(load(files[rng.integers(len(files))]), config.frames, rng)


def _rehearsal_shape(step: int, config: FitConfig) -> tuple[int, int] | None:
    """(H, W) of the rehearsals that a step is made of, in all processes: none waits for another; None = examples."""
    if step < config.rehearsal:
        return REHEARSAL_SHAPES[step * len(REHEARSAL_SHAPES) // config.rehearsal]
    rng = np.random.default_rng((config.seed, step))
    if rng.random() < config.mix:
        return REHEARSAL_SHAPES[rng.integers(len(REHEARSAL_SHAPES))]
    return None


def _rehearsed(shape: tuple[int, int], config: FitConfig, rng: np.random.Generator) -> tuple[np.ndarray, ...] | None:
    textures = config.textures if rng.random() < 0.5 else None
    frames = 1 if rng.random() < config.single else FRAMES
    return _drawn(rehearse(int(rng.integers(2**40)), shape, textures, frames), frames, rng)


def _drawn(example: Example, frames: int, rng: np.random.Generator) -> tuple[np.ndarray, ...] | None:
    """Some frames of an example, mirrored or not and recoloured."""
    correction = example.correction()
    if correction is None:
        return None
    at = rng.choice(len(example.level), min(frames, len(example.level)), replace=False)
    step = -1 if rng.random() < 0.5 else 1
    parts = (example.cues, correction, example.depth > 0, example.motion)
    cues, *truth = (np.ascontiguousarray(part[at][..., ::step]) for part in parts)
    cues = cues.astype(np.float32)
    cues[:, RAY_X] *= step
    if rng.random() < 0.5:
        cues = cues[:, BACKWARDS]
    cues[:, :3] = recoloured(cues[:, :3], rng)
    return cues, *truth


def recoloured(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pictures [S, 3, H, W], -1..1, in other light, tint and noise."""
    gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.05, (3, 1, 1)))
    noise = rng.uniform(0, 0.04) * rng.standard_normal(images.shape, np.float32)
    return (np.clip((images + 1) * gain, 0, 2) - 1 + rng.normal(0, 0.05) + noise).astype(np.float32)


def read_ahead(coming: Iterator[list[Tensor]]) -> Iterator[list[Tensor]]:
    """The same batches, read by a thread of their own; what it raises is raised here."""
    waiting: queue.Queue[list[Tensor] | BaseException | None] = queue.Queue(AHEAD)

    def read() -> None:
        try:
            for batch in coming:
                waiting.put(batch)
            waiting.put(None)
        except BaseException as error:
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item
