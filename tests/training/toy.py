"""Batches and settings small enough for tests: random pictures, a camera that shifts, no renderer."""

from __future__ import annotations

import torch
from torch import Tensor

from openmore.geometry.camera import K_from_fov
from openmore.training import settings
from openmore.training.batch import Batch
from openmore.training.config import TrainConfig
from openmore.training.plan import StepPlan
from openmore.training.recipes import recipe


def toy_batch(B: int = 2, S: int = 3, H: int = 28, W: int = 42, seed: int = 0, moving: float = 0.2) -> Batch:
    """Everything valid; the left `moving` of every frame moves."""
    random = torch.Generator().manual_seed(seed)
    world_from_cam = torch.eye(4).repeat(B, S, 1, 1)
    world_from_cam[:, 1:, :3, 3] = torch.randn(B, S - 1, 3, generator=random) * 0.1
    motion = torch.zeros(B, S, H, W, dtype=torch.uint8)
    motion[..., : round(moving * W)] = 1
    return Batch(
        images=torch.rand(B, S, 3, H, W, generator=random),
        depth=torch.rand(B, S, H, W, generator=random) + 1,
        valid=torch.ones(B, S, H, W, dtype=torch.bool),
        K=K_from_fov(torch.ones(B, S, 2), (H, W)),
        world_from_cam=world_from_cam,
        motion=motion,
        names=tuple(f"toy/{seed}/{b}" for b in range(B)),
    )


class ToySource:
    """The same plan gives the same batch; `spoil_step` puts a NaN into its pictures."""

    def __init__(self, spoil_step: int | None = None):
        self.spoil_step = spoil_step

    def prepare(self, plan: StepPlan, rank: int) -> Batch:
        batch = toy_batch(plan.clips, plan.frames, *plan.shape, seed=plan.clip_numbers(rank).start)
        if plan.step == self.spoil_step:
            batch.images[0, 0, 0, 0, 0] = torch.nan
        return batch

    def finish(self, prepared: Batch, device: torch.device) -> Batch:
        return prepared.to(device)


def toy_config(*changes: str) -> TrainConfig:
    """tiny_smoke with two clips of two frames a step, a log line per step."""
    small = [
        "data.frames=2,2",
        "data.images_per_rank=4",
        "data.long_side=42",
        "data.min_short_side=28",
        "optim.steps=4",
        "run.save_every=1000",
        "run.log_every=1",
        "run.sheet_every=0",
        "run.metrics_every=1000",
    ]
    return settings.apply(recipe("tiny_smoke"), [*small, *changes])


def equal_states(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Same names, same bits."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
