"""The training loop of the fusion network.

Choices
- A step draws a few frames of a few clips of one shape, mirrored or not, backwards or not, and recoloured; the draw
  hangs on seed, step and process alone, so a stopped run goes on exactly.
- The first steps are rehearsals on scenes drawn for them (`rehearsal`), small at first; the examples follow.
- Several processes share a step by averaging gradients: two of one thread do more than one of two.
- bf16 convolutions where the processor has them, float32 weights; AdamW, warm-up and cosine to zero, EMA.
- Validation is AbsRel after one scale a clip and IoU, beside those of the cues before settling.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed

from openmore.errors import DataError, InputError
from openmore.io.atomic import atomic_file
from openmore.progress import ProgressCallback, silent
from openmore.refinement.dense import appearance
from openmore.refinement.dense.cues import CHANNELS
from openmore.refinement.dense.fusion import FILE, FusionNet
from openmore.training.fusion.examples import UNKNOWN, Example, load
from openmore.training.fusion.losses import losses, total
from openmore.training.fusion.rehearsal import FRAMES, rehearse

CHECKPOINT = "checkpoint.pt"
AHEAD = 4  # batches read ahead
REHEARSAL_SHAPES = ((84, 112), (112, 160), (112, 160), (168, 224))  # a quarter of the rehearsals each
COMPLETED, RAY_X = CHANNELS.index("completed"), CHANNELS.index("ray_x")
MINUTES = 10  # after which processes no longer wait for one another
BACKWARDS = [  # where the channels of a clip come from when time runs backwards
    CHANNELS.index(name if name not in appearance.CHANNELS else name.translate(str.maketrans("+-", "-+")))
    for name in CHANNELS
]


@dataclass(frozen=True)
class FitConfig:
    """Settings of a run."""

    steps: int = 3200
    rehearsal: int = 0  # of the steps
    jobs: int = 1  # processes; each draws clips of its own
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


def fit(
    files: list[Path], run: Path, config: FitConfig, validate: list[Path], progress: ProgressCallback = silent
) -> dict[str, float]:
    """Train on `files`, leave checkpoints, a log and the weights in `run`; the last validation is returned."""
    run.mkdir(parents=True, exist_ok=True)
    if config.jobs == 1:
        return _run(0, files, run, config, validate, progress)
    spawn = torch.multiprocessing.get_context("spawn")
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        meet = Path(folder) / "meet"
        others = [
            spawn.Process(target=_join, args=(rank, meet, files, run, config), daemon=True)
            for rank in range(1, config.jobs)
        ]
        for other in others:
            other.start()
        try:
            _meet(0, meet, config)
            return _run(0, files, run, config, validate, progress)
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()
            for other in others:
                other.terminate()
            torch.set_num_threads(threads)


def _meet(rank: int, meet: Path, config: FitConfig) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // config.jobs))
    distributed.init_process_group(
        "gloo", init_method=meet.as_uri(), rank=rank, world_size=config.jobs, timeout=timedelta(minutes=MINUTES)
    )


def _join(rank: int, meet: Path, files: list[Path], run: Path, config: FitConfig) -> None:
    """The process of another rank."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    _meet(rank, meet, config)
    _run(rank, files, run, config, [], silent)


def _run(
    rank: int, files: list[Path], run: Path, config: FitConfig, validate: list[Path], progress: ProgressCallback
) -> dict[str, float]:
    torch.manual_seed(config.seed)
    net = FusionNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = FusionNet().requires_grad_(False)
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    begin = _resumed(run / CHECKPOINT, net, average, optimizer, config)
    sums: dict[str, float] = {}
    for step, batch in enumerate(_ahead(_batches(files, config, begin, rank)), begin):
        terms = _step(net, optimizer, batch, config, step)
        _follow(average, net, min(config.ema, (1 + step) / (10 + step)))
        sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
        progress("fit", step + 1, config.steps)
        if rank > 0:
            continue
        if (step + 1) % config.log_every == 0:
            means = {name: round(value / config.log_every, 4) for name, value in sums.items()}
            _log(run / "log.jsonl", {"step": step + 1, "training": means})
            sums = {}
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            _save(run / CHECKPOINT, net, average, optimizer, step + 1, config)
            _log(run / "log.jsonl", {"step": step + 1, "validation": measure(average, validate)})
    if rank > 0:
        return {}
    export(average, run / FILE)
    return measure(average, validate)


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
    net: FusionNet, optimizer: torch.optim.Optimizer, batch: list[Tensor], config: FitConfig, step: int
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
    _share(net, config)
    norm = torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
    if not torch.isfinite(norm):
        return dict.fromkeys(terms, math.nan)
    optimizer.step()
    return {name: float(value.detach()) for name, value in terms.items()}


def _share(net: FusionNet, config: FitConfig) -> None:
    """The mean of all processes' gradients."""
    if config.jobs == 1:
        return
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients]) / config.jobs
    distributed.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view_as(gradient))


def _follow(average: FusionNet, net: FusionNet, keep: float) -> None:
    with torch.no_grad():
        for a, b in zip(average.parameters(), net.parameters()):
            a.lerp_(b, 1 - keep)


def _batches(files: list[Path], config: FitConfig, begin: int, rank: int) -> Iterator[list[Tensor]]:
    """Cues, corrections, valid pixels and motion of every step from `begin` on."""
    for step in range(begin, config.steps):
        rng = np.random.default_rng((config.seed, step, rank))
        rows: list[tuple[np.ndarray, ...]] = []
        for _ in range(1000):
            row = _rehearsed(step, config, rng) if step < config.rehearsal else _opened(files, config, rng)
            if row is not None and (not rows or row[0].shape[-2:] == rows[0][0].shape[-2:]):
                rows.append(row)
            if sum(len(row[0]) for row in rows) >= config.clips * config.frames:
                break
        else:
            raise DataError("these examples give no batch of one shape: collect more clips")
        yield [torch.from_numpy(np.concatenate(part)) for part in zip(*rows)]


def _opened(files: list[Path], config: FitConfig, rng: np.random.Generator) -> tuple[np.ndarray, ...] | None:
    return _drawn(load(files[rng.integers(len(files))]), config.frames, rng)


def _rehearsed(step: int, config: FitConfig, rng: np.random.Generator) -> tuple[np.ndarray, ...] | None:
    shape = REHEARSAL_SHAPES[step * len(REHEARSAL_SHAPES) // config.rehearsal]
    textures = config.textures if rng.random() < 0.5 else None
    return _drawn(rehearse(int(rng.integers(2**40)), shape, textures), FRAMES, rng)


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


def _ahead(batches: Iterator[list[Tensor]]) -> Iterator[list[Tensor]]:
    """The same batches, read by a thread of their own; what it raises is raised here."""
    waiting: queue.Queue[list[Tensor] | BaseException | None] = queue.Queue(AHEAD)

    threads = torch.get_num_threads()

    def read() -> None:
        torch.set_num_threads(threads)  # a thread of its own would take all cores
        try:
            for batch in batches:
                waiting.put(batch)
            waiting.put(None)
        except BaseException as error:
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


def _save(
    path: Path, net: FusionNet, average: FusionNet, optimizer: torch.optim.Optimizer, step: int, config: FitConfig
) -> None:
    state = {"net": net.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
    with atomic_file(path) as file:
        torch.save({**state, "step": step, "config": asdict(config)}, file)


def _resumed(
    path: Path, net: FusionNet, average: FusionNet, optimizer: torch.optim.Optimizer, config: FitConfig
) -> int:
    """The step to go on from. Raises InputError for a checkpoint of other settings."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["config"] != asdict(config):
        raise InputError(f"{path} is of a run with {state['config']}: give the same settings, or another folder")
    net.load_state_dict(state["net"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _log(path: Path, line: dict) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
