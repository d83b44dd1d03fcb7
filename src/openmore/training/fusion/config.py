"""Settings of a run that trains the fusion network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitConfig:
    """Settings of a run."""

    steps: int = 3200
    weights: str | None = None  # weights to begin with: a file, or "shipped"; None = from scratch
    keep: float = 0.0  # share of these weights in those that come out
    rehearsal: int = 0  # of the steps: the first ones
    mix: float = 0.0  # share of the other steps that are rehearsals too
    single: float = 0.5  # share of the rehearsed clips that are a single frame
    clips: int = 5  # a step and process
    frames: int = 3  # of each
    textures: str | None = None  # photographs that half of the rehearsals wear
    lr: float = 1e-3
    warmup: int = 100
    weight_decay: float = 1e-2
    ema: float = 0.998
    clip_norm: float = 1.0
    seed: int = 0
    log_every: int = 100
    save_every: int = 500
    bf16: bool = False
