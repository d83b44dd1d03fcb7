"""Named training runs.

- `more_full`, `more_stream`: what the paper states (supplement, section 1; weights of the losses from the authors'
  release). Where both are silent, training_recipe.md's proposals: see the comments.
- `small_full`, `small_stream`, `small`: the embedded default, from scratch on the synthetic world. `small` trains one
  set of weights for both modes.
- `small_cpu`, `small_cpu_depth`, `small_cpu_finish`: the stages that made the weights shipped today, on a processor.
- `tiny_smoke`: does training work on this machine; under a minute on two cores.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace

from openmore.errors import ConfigError
from openmore.training.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from openmore.training.losses.attention import AttentionForcingConfig
from openmore.training.losses.camera import CameraConfig
from openmore.training.losses.dense import DenseConfig
from openmore.training.network_pass import PassConfig
from openmore.training.objective import ObjectiveConfig, Weights


def more_full() -> TrainConfig:
    """The full-attention model: 100K iterations of AdamW at 1e-6 from VGGT-1B, 64 GPUs, about two days."""
    return TrainConfig(
        name="more_full",
        model="more-full",
        init="vggt-1b",
        passes=PassConfig(attention="full", duplicates=False),
        objective=ObjectiveConfig(weights=Weights(duplicate=0.0)),
        data=DataConfig(
            source="",  # the paper's twelve data sets, where the user keeps them: --set data.source=name:folder,...
            frames=(2, 24),
            interval=(1, 5),
            long_side=518,
            short_scale=(0.8, 1.2),
            images_per_rank=36,  # release
        ),
        optim=OptimConfig(
            steps=100_000,
            lr=1e-6,
            warmup=0.05,  # the supplement says "a warm-up phase"; the share is the release's
            motion_lr=None,  # 1e-4 trains a fresh motion head, which 1e-6 cannot (recipe, section 6); off as stated
            freeze=("aggregator.patch_embed.*",),  # as every model of the family does
        ),
        run=RunConfig(precision="bf16", checkpointing=True, parallel="auto"),
    )


def more_stream() -> TrainConfig:
    """The streaming model: the same with grouped causal attention and duplicate camera tokens."""
    full = more_full()
    return replace(
        full,
        name="more_stream",
        model="more-stream",
        passes=PassConfig(attention="causal", duplicates=True),
        objective=ObjectiveConfig(),
        data=replace(full.data, colour_per_clip=0.7),  # neighbouring frames of a video share their light
    )


def small() -> TrainConfig:
    """One set of weights for both modes, from scratch on the synthetic world; made for one modern GPU."""
    return TrainConfig(
        name="small",
        model="small",
        passes=PassConfig(attention="mixed", camera_trunk="causal"),
        objective=from_scratch(),
        data=DataConfig(
            frames=(2, 8),
            long_side=224,
            aspects=(0.75, 0.5625, 1.0),
            short_scale=(1.0, 1.0),
            min_short_side=112,
            images_per_rank=512,
            max_clips=128,
            difficulty_steps=4000,
        ),
        optim=OptimConfig(
            steps=60_000,
            lr=5e-4,
            warmup=0.02,
            start_lr=1e-7,
            motion_lr=None,
            clip_camera=1.0,
            ema=0.999,
        ),
        run=RunConfig(checkpointing=False, save_every=500, sheet_every=500, metrics_every=50),
    )


def from_scratch() -> ObjectiveConfig:
    """Losses for a network that starts at random: field of view supervised, matches taught, forcing at the baseline."""
    camera = CameraConfig(rotation=5.0, fov=0.5)
    return ObjectiveConfig(
        weights=Weights(camera=5.0, duplicate=2.5, motion=1.0, attention=0.02, correspondence=0.3, displacement=0.3),
        camera=camera,
        duplicate=replace(camera, form="relative_paper", rotation=2.0, gauge=0.1),
        depth=DenseConfig(alpha=0.1),
        attention=AttentionForcingConfig("baseline"),
        motion_balance=True,
    )


def small_cpu() -> TrainConfig:
    """Stage A of the shipped `small` (docs/training_log.md): pairs of small pictures on a processor, matches taught.

    Give it a folder that keeps rendered clips: `--set data.pool=FOLDER`, and photographs with `data.textures=FOLDER`.
    """
    base = small()
    weights = Weights(
        camera=1.0,
        duplicate=0.0,
        depth=0.3,
        log_depth=2.0,
        motion=0.5,
        attention=0.02,
        correspondence=0.1,
        displacement=0.1,
    )
    return replace(
        base,
        name="small_cpu",
        passes=PassConfig(attention="full", duplicates=False),
        objective=replace(
            base.objective,
            weights=weights,
            unknown_is_sky=True,
            motion_quantile=None,
            correspondence_points=24,
            correspondence_layers=(2,),
        ),
        data=DataConfig(
            frames=(2, 2),
            interval=(1, 5),
            long_side=112,
            aspects=(0.75, 0.75, 0.5625, 1.0, 0.3),
            short_scale=(1.0, 1.0),
            min_short_side=32,
            images_per_rank=10,
            pool_scenes=2976,
        ),
        optim=replace(base.optim, steps=1900, lr=1e-3, warmup=0.05, start_lr=1e-5, schedule="constant", ema=0.995),
        run=replace(base.run, half_heads=True, save_every=300, sheet_every=300),
    )


def small_cpu_depth() -> TrainConfig:
    """Stage B: without the auxiliary losses, down to a standstill; `--set init=FILE` of stage A."""
    base = small_cpu()
    weights = replace(base.objective.weights, camera=0.5, correspondence=0.0, displacement=0.0)
    return replace(
        base,
        name="small_cpu_depth",
        objective=replace(base.objective, weights=weights, motion_balance=False),
        data=replace(base.data, seed=1, images_per_rank=12, aspects=(0.75, 0.75, 0.5625, 0.75, 1.0, 0.35)),
        optim=replace(base.optim, steps=1200, lr=8e-4, warmup=0.03, start_lr=2e-5, schedule="cosine"),
    )


def small_cpu_finish() -> TrainConfig:
    """Stage C: larger pictures, longer clips, both modes; `--set init=FILE` of stage B."""
    base = small_cpu_depth()
    return replace(
        base,
        name="small_cpu_finish",
        passes=PassConfig(attention="mixed", camera_trunk="causal"),
        objective=replace(base.objective, weights=replace(base.objective.weights, duplicate=0.15)),
        data=replace(base.data, frames=(2, 4), long_side=176, min_short_side=48, seed=3),
        optim=replace(base.optim, steps=720, lr=6e-4, warmup=0.04, start_lr=5e-6, ema=0.98),
    )


def small_full() -> TrainConfig:
    """`small` with full attention only."""
    base = small()
    return replace(base, name="small_full", passes=PassConfig(attention="full", duplicates=False))


def small_stream() -> TrainConfig:
    """`small` with grouped causal attention only; start it from full-attention weights with `--set init=FILE`."""
    base = small()
    return replace(base, name="small_stream", passes=PassConfig(attention="causal", camera_trunk="causal"))


def tiny_smoke() -> TrainConfig:
    """A minute of training on two cores: every loss, both modes, a checkpoint, a sheet."""
    base = small()
    return replace(
        base,
        name="tiny_smoke",
        model="tiny",
        data=DataConfig(
            frames=(2, 4),
            long_side=56,
            aspects=(0.75,),
            short_scale=(1.0, 1.0),
            min_short_side=42,
            images_per_rank=16,
            render="worker",
        ),
        optim=replace(base.optim, steps=24, lr=2e-3, warmup=0.1, ema=0.9),
        run=RunConfig(
            precision="fp32", checkpointing=False, save_every=12, log_every=4, metrics_every=12, sheet_every=24
        ),
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    recipe.__name__: recipe
    for recipe in (
        more_full,
        more_stream,
        small,
        small_full,
        small_stream,
        small_cpu,
        small_cpu_depth,
        small_cpu_finish,
        tiny_smoke,
    )
}


def recipe(name: str) -> TrainConfig:
    """A recipe by name. Raises ConfigError with the nearest names there are."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(RECIPES)}"
        raise ConfigError(f"unknown recipe {name!r}: {hint}")
    return RECIPES[name]()
