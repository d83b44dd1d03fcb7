"""What is drawn for every step: length, interval and size of the clips, and the seeds of everything random.

Choices
- All but the clip numbers is a function of (settings, step, micro step) alone, the same on every rank: step times are
  even, and any step can be drawn again.
- Clips are numbered without gaps, so that a sampler's epoch is drawn whole: a micro step begins where the one before it
  ended. A run on other processes or sizes goes on from the next number (the checkpoint keeps it), and no clip of any
  rank or step has the number of another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from openmore.training.config import DataConfig


@dataclass(frozen=True)
class StepPlan:
    """One micro step, for all ranks."""

    step: int
    micro: int  # number of the batch within the optimiser step
    frames: int  # S
    interval: int  # frames of the sequence per frame of the clip
    shape: tuple[int, int]  # (H, W), multiples of the patch size
    clips: int  # B per rank
    coin: float  # 0..1, for mixed passes
    seed: int  # for draws inside the pass
    first_clip: int  # number of rank 0's first clip; rank r starts `clips * r` later
    difficulty: float  # 0..1

    def clip_numbers(self, rank: int) -> range:
        """The numbers of one rank's clips."""
        start = self.first_clip + rank * self.clips
        return range(start, start + self.clips)

    def next_clip(self, world: int) -> int:
        """The first number after those of all `world` ranks."""
        return self.first_clip + world * self.clips


def plan_steps(
    config: DataConfig, patch: int, steps: range, accumulate: int, world: int, first_clip: int = 0
) -> Iterator[StepPlan]:
    """All micro steps of `steps`, `accumulate` each; `first_clip` is the number of the first clip."""
    for step in steps:
        for micro in range(accumulate):
            plan = plan_step(config, patch, step, micro, first_clip)
            yield plan
            first_clip = plan.next_clip(world)


def spaced_clips(config: DataConfig, micro_steps: int, world: int) -> int:
    """The next number after so many micro steps of a run whose numbers were spaced for the largest batch, as those of
    checkpoints without `next_clip` were."""
    return micro_steps * world * clips_per_rank(config, config.frames[0])


def plan_step(config: DataConfig, patch: int, step: int, micro: int, first_clip: int) -> StepPlan:
    """Draw micro step `micro` of `step` for a network with patches of `patch` pixels."""
    rng = np.random.default_rng((config.seed, step, micro))
    frames = int(rng.integers(config.frames[0], config.frames[1] + 1))
    interval = int(rng.integers(config.interval[0], config.interval[1] + 1))
    shape = draw_shape(config, patch, rng)
    return StepPlan(
        step=step,
        micro=micro,
        frames=frames,
        interval=interval,
        shape=shape,
        clips=clips_per_rank(config, frames),
        coin=float(rng.random()),
        seed=int(rng.integers(2**31)),
        first_clip=first_clip,
        difficulty=min(step / config.difficulty_steps, 1.0) if config.difficulty_steps else 1.0,
    )


def clips_per_rank(config: DataConfig, frames: int) -> int:
    """B: as many clips as the image budget holds, at least one."""
    return min(max(1, config.images_per_rank // frames), config.max_clips)


def draw_shape(config: DataConfig, patch: int, rng: np.random.Generator) -> tuple[int, int]:
    """Landscape size on the patch grid: long side fixed, short side aspect * long side * U(short_scale)."""
    aspect = config.aspects[int(rng.integers(len(config.aspects)))]
    return on_grid(config, patch, aspect * rng.uniform(*config.short_scale))


def largest_shape(config: DataConfig, patch: int) -> tuple[int, int]:
    """The largest size that `draw_shape` can give."""
    return on_grid(config, patch, max(config.aspects) * config.short_scale[1])


def on_grid(config: DataConfig, patch: int, aspect: float) -> tuple[int, int]:
    """(H, W) in whole patches with H about `aspect` * W, between the smallest short side and square."""
    long_side = max(round(config.long_side / patch), 1) * patch
    low = min(-(-config.min_short_side // patch) * patch, long_side)
    return int(np.clip(round(long_side * aspect / patch) * patch, low, long_side)), long_side
