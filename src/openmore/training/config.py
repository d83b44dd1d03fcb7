"""All settings of a training run: network, pass, objective, data, optimiser, housekeeping.

A recipe (recipes.py) is a function that returns a `TrainConfig`; `openmore train RECIPE --set a.b=c` changes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from openmore.training.network_pass import PassConfig
from openmore.training.objective import ObjectiveConfig


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
    on_bad: Literal["skip", "stop"] = "skip"  # data sets: what a damaged clip does; skipping names it in the log
    workers: int | None = None  # processes that prepare batches; None: 0 on the CPU, else up to 8 per GPU

    def __post_init__(self) -> None:
        if not 1 <= self.frames[0] <= self.frames[1]:
            raise ValueError("frames must be two numbers, 1 <= fewest <= most")
        if not 1 <= self.interval[0] <= self.interval[1]:
            raise ValueError("interval must be two numbers, 1 <= smallest <= largest")
        if self.images_per_rank < 1 or not self.aspects or min(self.aspects) <= 0 or max(self.aspects) > 1:
            raise ValueError("images_per_rank must be positive and aspects in 0..1")


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
        if self.steps < 1 or self.accumulate < 1:
            raise ValueError("steps and accumulate must be at least 1")
        if not 0 <= self.ema < 1 or not 0 <= self.warmup < 1:
            raise ValueError("ema and warmup must lie in 0..1")


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
    metrics_every: int = 100  # steps between comparisons of poses, depth and masks with the truth
    sheet_every: int = 1000  # steps between picture sheets; 0 writes none
    max_skips: int = 50  # consecutive steps without a finite loss before the run stops
    tensorboard: bool = False
    seed: int = 0


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
