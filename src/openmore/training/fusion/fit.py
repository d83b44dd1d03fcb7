"""The training loop of the fusion network.

Choices
- bf16 convolutions where the processor has them, float32 weights; AdamW, warm-up and cosine to zero, EMA.
- Processes of torchrun share a step by averaging gradients: two of one thread do more than one of two.
- A stopped run goes on with the settings and the examples it began with, told by their names: a draw is a place in
  their list, so that one more would change them all.
- What comes out may be averaged with the weights a run began with (`keep`): a few hundred clips teach masks, and make
  depth forget; the average has most of both.
- Validation is AbsRel after one scale a clip and IoU, beside those of the cues before settling.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openmore.errors import InputError
from openmore.io.atomic import atomic_file
from openmore.progress import ProgressCallback, silent
from openmore.refinement.dense.cues import CHANNELS
from openmore.refinement.dense.fusion import FILE, FusionNet, loaded
from openmore.training.fusion.batches import batches, read_ahead
from openmore.training.fusion.config import FitConfig
from openmore.training.fusion.examples import Example, load
from openmore.training.fusion.losses import losses, total
from openmore.training.ranks import Ranks, agree, joined
from openmore.types import UNKNOWN

CHECKPOINT = "checkpoint.pt"
COMPLETED = CHANNELS.index("completed")


def fit(
    files: list[Path], run: Path, config: FitConfig, validate: list[Path], progress: ProgressCallback = silent
) -> dict[str, float]:
    """Train on `files`, leave checkpoints, a log and the weights in `run`; the last validation is returned.

    Raises InputError where a share is to be kept of weights that are not given, and for a checkpoint of other settings
    or examples.
    """
    if config.keep and config.weights is None:
        raise InputError(f"keep={config.keep} is a share of the weights to begin with, and none are given: add weights")
    with joined("cpu") as ranks:
        return _run(ranks, files, run, config, validate, progress)


def _run(
    ranks: Ranks, files: list[Path], run: Path, config: FitConfig, validate: list[Path], progress: ProgressCallback
) -> dict[str, float]:
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    net = FusionNet() if config.weights is None else loaded(config.weights)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = FusionNet().requires_grad_(False)
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    settings = {**asdict(config), "processes": ranks.world}
    names = "\n".join(path.name for path in files)
    examples = {"count": len(files), "names": hashlib.sha256(names.encode()).hexdigest()}
    begin = _resumed(run / CHECKPOINT, net, average, optimizer, settings, examples)
    sums: dict[str, float] = {}
    found: dict[str, float] | None = None
    for step, batch in enumerate(read_ahead(batches(files, config, begin, ranks.rank)), begin):
        terms = _step(net, optimizer, batch, config, step, ranks)
        _follow(average, net, min(config.ema, (1 + step) / (10 + step)))
        sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
        if not ranks.main:
            continue
        progress("fit", step + 1, config.steps)
        if (step + 1) % config.log_every == 0:
            means = {name: round(value / config.log_every, 4) for name, value in sums.items()}
            _log(run / "log.jsonl", {"step": step + 1, "training": means})
            sums = {}
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            _save(run / CHECKPOINT, net, average, optimizer, step + 1, {"config": settings, "examples": examples})
            found = measure(_kept(average, config), validate)
            _log(run / "log.jsonl", {"step": step + 1, "validation": found})
    if not ranks.main:
        return {}
    net = _kept(average, config)
    export(net, run / FILE)
    return measure(net, validate) if found is None else found


def _kept(average: FusionNet, config: FitConfig) -> FusionNet:
    """What comes out of a run: the average of its weights, with the share of those it began with that is kept."""
    if config.weights is None or not config.keep:
        return average
    net = loaded(config.weights).requires_grad_(False)
    for kept, new in zip(net.parameters(), average.parameters()):
        kept.lerp_(new, 1 - config.keep)
    return net


def export(net: FusionNet, path: Path) -> None:
    """The weights as the package ships them: bf16 safetensors."""
    from safetensors.torch import save

    data = save({name: value.to(torch.bfloat16).contiguous() for name, value in net.state_dict().items()})
    with atomic_file(path) as file:
        file.write(data)


def measure(net: FusionNet, files: list[Path]) -> dict[str, float]:
    """Medians and means over clips of AbsRel and IoU, settled and before; of what no clip has, nothing is said."""
    rows = [row for path in files if (row := _measured(net, load(path))) is not None]
    found = {}
    for name in sorted({name for row in rows for name in row}):
        values = [row[name] for row in rows if name in row]
        found |= {name: float(np.median(values)), f"{name}_mean": float(np.mean(values))}
    return found


def _measured(net: FusionNet, example: Example) -> dict[str, float] | None:
    if not (example.depth > 0).any():
        return None
    with torch.inference_mode():
        out = net(torch.from_numpy(example.cues.astype(np.float32))).numpy()
    known, moves = example.motion != UNKNOWN, example.motion == 1
    row = {}
    before = example.channel("moving") > 0
    for name, log_inverse, moving in (
        ("before", example.completed, before),
        ("settled", example.completed + out[:, 0], out[:, 2] > 0),
    ):
        error = abs_rel(log_inverse, example.depth)
        kind = "measured" if example.measured.mean() > 0.5 else "unmeasured"
        row |= {f"abs_rel_{name}": error, f"abs_rel_{name}_{kind}": error}
        row[f"iou_{name}"] = iou(moving & known, moves & known)
    return row


def abs_rel(log_inverse: np.ndarray, depth: np.ndarray) -> float:
    """Mean relative error of a clip's depth [S, H, W] after one scale, the median's; 0 = no truth."""
    valid = depth > 0
    off = -log_inverse[valid] - np.log(depth[valid])
    return float(np.mean(np.abs(np.expm1(off - np.median(off)))))


def iou(moving: np.ndarray, true: np.ndarray) -> float:
    """Mean over frames of masks [S, H, W]; two empty masks agree."""
    both, either = (moving & true).sum((1, 2)), (moving | true).sum((1, 2))
    return float(np.mean(np.where(either == 0, 1, both / np.maximum(either, 1))))


def _step(
    net: FusionNet, optimizer: torch.optim.Optimizer, batch: list[Tensor], config: FitConfig, step: int, ranks: Ranks
) -> dict[str, float]:
    """One optimiser step; skipped, and said by NaN, where the gradient is not finite."""
    for group in optimizer.param_groups:
        group["lr"] = (
            config.lr * min(1, (step + 1) / config.warmup) * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        )
    cues, *truth = batch
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
        out = net(cues.contiguous(memory_format=torch.channels_last))
    terms = losses(out.float(), cues[:, COMPLETED], *truth)
    optimizer.zero_grad(set_to_none=True)
    total(terms).backward()
    _share(net, ranks)
    norm = torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
    if not torch.isfinite(norm):
        return dict.fromkeys(terms, math.nan)
    optimizer.step()
    return {name: float(value.detach()) for name, value in terms.items()}


def _share(net: FusionNet, ranks: Ranks) -> None:
    """The mean of all processes' gradients, in one message."""
    if ranks.world == 1:
        return
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = agree(torch.cat([g.flatten() for g in gradients])) / ranks.world
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view_as(gradient))


def _follow(average: FusionNet, net: FusionNet, keep: float) -> None:
    with torch.no_grad():
        for a, b in zip(average.parameters(), net.parameters()):
            a.lerp_(b, 1 - keep)


def _save(
    path: Path, net: FusionNet, average: FusionNet, optimizer: torch.optim.Optimizer, step: int, given: dict
) -> None:
    state = {"net": net.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
    with atomic_file(path) as file:
        torch.save({**state, "step": step, **given}, file)


def _resumed(
    path: Path,
    net: FusionNet,
    average: FusionNet,
    optimizer: torch.optim.Optimizer,
    settings: dict,
    examples: dict,
) -> int:
    """The step to go on from. Raises InputError for a checkpoint of other settings or examples."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["config"] != settings:
        raise InputError(f"{path} is of a run with {state['config']}: give the same settings, or another folder")
    before = state.get("examples", examples)  # older checkpoints do not say
    if before != examples:
        raise InputError(
            f"{path} is of a run with {before['count']} examples, these {examples['count']} are not the same ones: "
            "give those, or another folder"
        )
    net.load_state_dict(state["net"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _log(path: Path, line: dict) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
