"""All settings of a training run: network, pass, objective, data, optimiser, housekeeping.

A recipe (recipes.py) is a function that returns a `TrainConfig`; `openmore train RECIPE --set a.b=c` changes it.
Values that cannot train are refused where they are given, with a ConfigError that names the setting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

from openmore.checks import Expected, finite, one_of, optional, require, whole
from openmore.training.network_pass import PassConfig
from openmore.training.objective import ObjectiveConfig


def _numbers(value: Any, kind: type, count: int | None = None) -> bool:
    """Whether this is `count` numbers, or at least one."""
    if not isinstance(value, tuple | list) or len(value) != (count or max(len(value), 1)):
        return False
    return all(isinstance(v, kind) and not isinstance(v, bool) and math.isfinite(v) for v in value)


COUNT = whole(1)
SHARE = finite(0, 1)
DECAY = Expected(lambda v: SHARE.fits(v) and v < 1, "a number of 0 or more, below 1")
RATE = Expected(lambda v: finite(0).fits(v) and v > 0, "a number above 0")
LIMIT = Expected(lambda v: v == math.inf or RATE.fits(v), "a number above 0; inf is no limit")
RANGE = Expected(lambda v: _numbers(v, Integral, 2) and 1 <= v[0] <= v[1], "two whole numbers, 1 <= fewest <= most")
SIZE = Expected(lambda v: _numbers(v, Integral, 2) and min(v) >= 1, "two whole numbers of at least 1")
SCALE = Expected(lambda v: _numbers(v, Real, 2) and 0 < v[0] <= v[1], "two numbers, 0 < smallest <= largest")
ASPECTS = Expected(lambda v: _numbers(v, Real) and min(v) > 0 and max(v) <= 1, "numbers above 0, at most 1")
BETAS = Expected(lambda v: _numbers(v, Real, 2) and all(map(DECAY.fits, v)), "two numbers of 0 or more, below 1")

DATA = {
    "seed": whole(0),
    "frames": RANGE,
    "interval": RANGE,
    "long_side": COUNT,
    "aspects": ASPECTS,
    "short_scale": SCALE,
    "min_short_side": COUNT,
    "images_per_rank": COUNT,
    "max_clips": COUNT,
    "difficulty_steps": whole(0),
    "render": one_of("auto", "worker", "device"),
    "pool_scenes": COUNT,
    "pool_frames": COUNT,
    "pool_shape": SIZE,
    "shuffle": SHARE,
    "colour": SHARE,
    "colour_per_clip": SHARE,
    "on_bad": one_of("skip", "stop"),
    "workers": optional(whole(0)),
}
OPTIM = {
    "steps": COUNT,
    "lr": RATE,
    "warmup": DECAY,
    "start_lr": finite(0),
    "schedule": one_of("cosine", "constant"),
    "betas": BETAS,
    "weight_decay": finite(0),
    "motion_lr": optional(finite(0)),
    "encoder_lr_scale": finite(0),
    "clip_aggregator": LIMIT,
    "clip_camera": LIMIT,
    "clip_dense": LIMIT,
    "accumulate": COUNT,
    "ema": DECAY,
}
RUN = {
    "parallel": one_of("auto", "none", "ddp", "fsdp"),
    "precision": one_of("bf16", "fp32"),
    "save_every": COUNT,
    "keep": COUNT,
    "log_every": COUNT,
    "metrics_every": whole(0),
    "sheet_every": whole(0),
    "max_skips": COUNT,
}


@dataclass(frozen=True)
class DataConfig:
    """Which clips, how many, how large. Drawn anew at every step, the same on all ranks."""

    source: str = "synthetic"  # the synthetic world, or data sets as name:folder,name:folder*weight (mixture.py)
    seed: int = 0
    frames: tuple[int, int] = (2, 24)  # per clip, both ends included
    interval: tuple[int, int] = (1, 5)  # frames of the sequence from one frame of the clip to the next
    long_side: int = 518  # pixels
    aspects: tuple[float, ...] = (0.75, 0.5625)  # short / long side before scaling; one is drawn per step
    short_scale: tuple[float, float] = (0.8, 1.2)  # factor on the short side
    min_short_side: int = 140  # pixels
    images_per_rank: int = 36  # clips per step = this / frames, at least one
    max_clips: int = 1024  # per rank and step
    difficulty_steps: int = 0  # synthetic: steps over which motion and clutter grow from easy to full
    textures: str | None = None  # synthetic: a folder of photographs instead of procedural textures
    render: Literal["auto", "worker", "device"] = "auto"  # synthetic: where; auto is the training device if a GPU
    pool: str | None = None  # synthetic: a folder that keeps rendered clips, to train on each many times (pool.py)
    pool_scenes: int = 8192  # clips in the pool
    pool_frames: int = 4  # frames of each; a step draws some of them
    pool_shape: tuple[int, int] = (168, 224)  # their size (H, W)
    shuffle: float = 0.0  # data sets: probability that a clip loses its order, but for its first frame
    colour: float = 0.9  # data sets: probability of colour jitter
    colour_per_clip: float = 0.3  # data sets: probability of one jitter for all frames of a clip
    on_bad: Literal["skip", "stop"] = "skip"  # data sets: what a damaged clip does; skipped ones are named on stderr
    workers: int | None = None  # processes that prepare batches; None: 0 on the CPU, else up to 8 per GPU

    def __post_init__(self) -> None:
        require(vars(self), DATA)


@dataclass(frozen=True)
class OptimConfig:
    """Who moves how fast."""

    steps: int = 100_000
    lr: float = 1e-6  # peak
    warmup: float = 0.05  # share of the steps
    start_lr: float = 1e-8  # where the warm-up begins and the cosine ends
    schedule: Literal["cosine", "constant"] = "cosine"  # after the warm-up
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05  # not on biases, norms, tokens and position embeddings
    motion_lr: float | None = None  # peak for the motion head alone; a fresh head cannot be trained at 1e-6
    encoder_lr_scale: float = 1.0  # factor for the patch embedder
    freeze: tuple[str, ...] = ()  # patterns of parameter names that stay as they are
    clip_aggregator: float = 1.0  # largest gradient norm per part of the network
    clip_camera: float = 0.25
    clip_dense: float = 1.0  # each dense head
    accumulate: int = 1  # batches per optimiser step
    ema: float = 0.0  # decay of the running average of the weights; 0 keeps none

    def __post_init__(self) -> None:
        require(vars(self), OPTIM)


@dataclass(frozen=True)
class RunConfig:
    """Precision, parallelism, saving, logging."""

    device: str = "auto"  # "auto": cuda where there is one
    parallel: Literal["auto", "none", "ddp", "fsdp"] = "auto"  # auto: ddp when there are several processes
    precision: Literal["bf16", "fp32"] = "bf16"  # of matrix products; weights and losses are float32
    half_heads: bool = False  # bf16 in the dense heads too: on a processor half the precision costs half the time
    checkpointing: bool = True  # recompute blocks in the backward pass
    save_every: int = 1000  # steps
    keep: int = 2  # newest checkpoints kept
    log_every: int = 10
    metrics_every: int = 100  # steps between comparisons of poses, depth and masks with the truth; 0 makes none
    sheet_every: int = 1000  # steps between picture sheets; 0 writes none
    max_skips: int = 50  # consecutive steps without a finite loss before the run stops
    tensorboard: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        require(vars(self), RUN)


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    name: str
    model: str  # preset name
    init: str | None = None  # weights to start from (a `--weights` source); None: random
    passes: PassConfig = field(default_factory=PassConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)
