"""Where batches come from.

Choices
- A source keeps no state: the same plan gives the same clips, whichever process asks and however often. That is what
  makes resuming exact.
- Work is in two halves: `prepare` runs in a loader process and returns something small enough to send, `finish` runs
  in the training process and may use its device (the synthetic world is described by workers, rendered by the GPU).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from openmore.data.synthetic import Recipe, SyntheticBatch, describe, render_batch
from openmore.data.synthetic.rooms import make_rooms
from openmore.data.synthetic.scene import Scene
from openmore.errors import ConfigError
from openmore.training.batch import Batch
from openmore.training.config import DataConfig
from openmore.training.mixture import dataset_source
from openmore.training.plan import StepPlan
from openmore.training.pool import PoolSource
from openmore.training.ranks import Ranks

# Seeds below this are for validation, tests and examples; training never draws them.
FIRST_TRAINING_SEED = 1_000_000
SEED_STRIDE = 10**12  # between data.seed and data.seed + 1


class Source(Protocol):
    """Turns plans into batches."""

    def prepare(self, plan: StepPlan, rank: int) -> Any:
        """The half that runs in a loader process: what one rank needs for one micro step."""
        ...

    def finish(self, prepared: Any, device: torch.device) -> Batch:
        """The half that runs in the training process."""
        ...


class SyntheticSource:
    """The synthetic 4D world, a new clip every time."""

    def __init__(self, config: DataConfig, on_device: bool):
        self.config, self.on_device = config, on_device

    def prepare(self, plan: StepPlan, rank: int) -> list[Scene] | Batch:
        """Described scenes, or rendered clips when the training device does not render."""
        first = FIRST_TRAINING_SEED + SEED_STRIDE * self.config.seed
        scenes = [describe(first + clip, self._recipe(plan)) for clip in plan.clip_numbers(rank)]
        return scenes if self.on_device else self._render(scenes, torch.device("cpu"))

    def finish(self, prepared: list[Scene] | Batch, device: torch.device) -> Batch:
        """Render, or move what a worker rendered."""
        return prepared.to(device) if isinstance(prepared, Batch) else self._render(prepared, device)

    def _recipe(self, plan: StepPlan) -> Recipe:
        """Difficulty slows cameras and movers down and clears the scene; it never changes what is drawn first."""
        full = Recipe(frames=plan.frames, shape=plan.shape, intervals=(plan.interval, plan.interval))
        if plan.difficulty >= 1:
            return full
        speed = 0.25 + 0.75 * plan.difficulty
        movers = round(full.movers[1] * plan.difficulty)
        return replace(full, camera_speed=speed, mover_speed=speed, movers=(0, movers))

    def _render(self, scenes: list[Scene], device: torch.device) -> Batch:
        return from_synthetic(render_batch(scenes, device, self.config.textures))


class RoomsSource:
    """Bare rooms: the fast world for the first stage of training from scratch."""

    def __init__(self, config: DataConfig, on_device: bool):
        self.config, self.on_device = config, on_device

    def prepare(self, plan: StepPlan, rank: int) -> tuple[StepPlan, int] | Batch:
        """What to render when the training device does it, else the rendered clips."""
        return (plan, rank) if self.on_device else self._render(plan, rank, torch.device("cpu"))

    def finish(self, prepared: tuple[StepPlan, int] | Batch, device: torch.device) -> Batch:
        """Render, or move what a worker rendered."""
        return prepared.to(device) if isinstance(prepared, Batch) else self._render(*prepared, device)

    def _render(self, plan: StepPlan, rank: int, device: torch.device) -> Batch:
        first = FIRST_TRAINING_SEED + SEED_STRIDE * self.config.seed
        seeds = [first + clip for clip in plan.clip_numbers(rank)]
        motion = 0.25 + 0.75 * min(plan.difficulty, 1.0)
        return from_synthetic(make_rooms(seeds, plan.frames, plan.shape, device, motion=motion))


def from_synthetic(made: SyntheticBatch) -> Batch:
    """The fields that training uses."""
    return Batch(made.images, made.depth, made.valid, made.K, made.world_from_cam, made.motion, made.names)


def make_source(config: DataConfig, device: torch.device) -> Source:
    """The source a configuration names. Raises ConfigError for one there is not, DataError for a damaged one."""
    worlds = {"synthetic": SyntheticSource, "rooms": RoomsSource}
    if config.source not in worlds:
        return dataset_source(config)
    if config.pool is not None:
        if config.source != "synthetic":
            raise ConfigError(f"data.pool holds the synthetic world: with data.source={config.source} leave it out")
        return PoolSource(config, FIRST_TRAINING_SEED)
    on_device = config.render == "device" or (config.render == "auto" and device.type == "cuda")
    return worlds[config.source](config, on_device)


class Prepared(Dataset[tuple[StepPlan, Any]]):
    """What a source prepares, with plans as indices, so that torch's loader processes can do it."""

    def __init__(self, source: Source, rank: int):
        self.source, self.rank = source, rank

    def __getitem__(self, index: StepPlan) -> tuple[StepPlan, Any]:
        return index, self.source.prepare(index, self.rank)


def batches(source: Source, plans: Iterable[StepPlan], workers: int, ranks: Ranks) -> Iterator[tuple[StepPlan, Batch]]:
    """The planned micro steps of one rank, on its device, prepared by `workers` processes (0: by this one)."""
    loader = DataLoader(
        Prepared(source, ranks.rank),
        batch_size=None,
        sampler=plans,  # type: ignore[arg-type]
        num_workers=workers,
        pin_memory=ranks.device.type == "cuda" and workers > 0,
    )
    for plan, prepared in loader:
        yield plan, source.finish(prepared, ranks.device)


def loader_processes(wanted: int | None, world: int, device: torch.device) -> int:
    """How many processes prepare batches. On the CPU they would only take time from the training itself."""
    if wanted is not None:
        return wanted
    if device.type == "cpu":
        return 0
    return max(1, min(8, (os.cpu_count() or 1) // min(world, torch.cuda.device_count()) - 1))
