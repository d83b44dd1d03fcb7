"""Parameter groups, learning-rate schedule, clipping per part of the network, running average of the weights.

Choices
- No weight decay on vectors (biases, norms, layer scales), tokens and position embeddings.
- The learning rate is a function of the step alone, so a resumed run needs no scheduler state.
- Norms are clipped per part (aggregator, camera head, each dense head): one exploding head cannot starve the others.
- The average keeps one detached tensor per parameter, sharded exactly like it; nothing is copied before sharding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch

import torch
from torch import Tensor, nn

from openmore.errors import ConfigError
from openmore.training.config import OptimConfig

PEAK = "peak_lr"  # key of a parameter group: what the schedule scales


def freeze(model: nn.Module, patterns: Iterable[str]) -> None:
    """Switch off gradients of parameters whose names match. Raises ConfigError for a pattern that matches nothing."""
    names = dict(model.named_parameters())
    for pattern in patterns:
        matched = [name for name in names if fnmatch(name, pattern)]
        if not matched:
            raise ConfigError(f"freeze pattern {pattern!r} matches no parameter: names look like {next(iter(names))}")
        for name in matched:
            names[name].requires_grad_(False)


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over groups of equal decay and peak learning rate. Raises ConfigError when everything is frozen."""
    groups: dict[tuple[bool, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((decays(name, parameter), peak_lr(name, config)), []).append(parameter)
    if not groups:
        raise ConfigError("every parameter is frozen: nothing to train (optim.freeze)")
    settings = [
        {"params": members, "weight_decay": config.weight_decay * decay, PEAK: lr, "lr": lr}
        for (decay, lr), members in groups.items()
    ]
    optimizer = torch.optim.AdamW(settings, betas=config.betas)
    # All state exists from the start: a parameter that has had no gradient yet would be missing from checkpoints.
    for parameter in (p for group in settings for p in group["params"]):
        moments = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {"step": torch.tensor(0.0), **moments}
    return optimizer


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies."""
    return parameter.dim() >= 2 and "token" not in name and "pos_embed" not in name


def peak_lr(name: str, config: OptimConfig) -> float:
    """Peak learning rate of a parameter by its name."""
    if name.startswith("motion_head.") and config.motion_lr is not None:
        return config.motion_lr
    return config.lr * (config.encoder_lr_scale if name.startswith("aggregator.patch_embed.") else 1.0)


def lr_factor(step: int, config: OptimConfig) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then cosine or constant."""
    floor = min(config.start_lr / config.lr, 1.0)
    warmup = round(config.warmup * config.steps)
    if step < warmup:
        return floor + (1 - floor) * (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    progress = min((step - warmup) / max(config.steps - warmup, 1), 1.0)
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group its share of its own peak."""
    for group in optimizer.param_groups:
        group["lr"] = group[PEAK] * factor


def gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """Gradient norm per part of the network (the first word of the parameter's name)."""
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            parts.setdefault(name.split(".")[0], []).append(parameter.grad)
    return {part: _full(nn.utils.get_total_norm(gradients)) for part, gradients in parts.items()}


def clip_gradients(model: nn.Module, norms: dict[str, Tensor], config: OptimConfig) -> None:
    """Scale the gradients of each part down to its limit."""
    limits = {"aggregator": config.clip_aggregator, "camera_head": config.clip_camera}
    factors = {part: (limits.get(part, config.clip_dense) / (norm + 1e-6)).clamp(max=1) for part, norm in norms.items()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            local(parameter.grad).mul_(factors[name.split(".")[0]])


def _full(value: Tensor) -> Tensor:
    """A plain tensor from a sharded one (gathers)."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value  # type: ignore[attr-defined]


def local(value: Tensor) -> Tensor:
    """This rank's shard of a sharded tensor; a plain tensor as it is."""
    return value.to_local() if hasattr(value, "to_local") else value  # type: ignore[attr-defined]


class Average:
    """Exponential moving average of the trained parameters."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self._live = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.values = {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the live weights; the first updates use a shorter memory, so that the start is forgotten."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        values, live = [local(v) for v in self.values.values()], [local(p) for p in self._live.values()]
        torch._foreach_lerp_(values, live, 1 - decay)

    @torch.no_grad()
    def begin(self, names: Iterable[str]) -> None:
        """Let the averages of these parameters begin with the live weights."""
        for name in names:
            local(self.values[name]).copy_(local(self._live[name]))

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The network with averaged weights inside the block; the live ones return after it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._live.items():
            live, average = local(parameter.data), local(self.values[name])
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)
