"""From a configuration to trained weights on disk: join the processes, build, resume, train, export.

The run's folder:
    config.json            all settings, as resolved
    log.jsonl              one line per event (train, metrics, saved, skipped, ...)
    checkpoints/step_N/    everything needed to go on
    sheets/N.png           picture sheets
    weights.safetensors    the network when the run stopped (the running average if there is one), for inference
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from openmore.errors import InputError
from openmore.io.atomic import write_json
from openmore.model.more import MoRe
from openmore.model.weights.load import save as save_weights
from openmore.training import checkpoint, settings
from openmore.training.config import TrainConfig
from openmore.training.initial import build
from openmore.training.ranks import Ranks, joined, meet
from openmore.training.sources import Source
from openmore.training.trainer import Trainer
from openmore.training.window import Report

RUN = {"name", "model", "passes", "objective", "optim"}  # in the config.json of every run
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # SLURM warns with the first two, a person with the last


class StopWatch:
    """Says when to stop: a signal came, or the time budget will not hold another step and a save."""

    def __init__(self, budget_s: float | None, started: float):
        self.budget_s, self.started, self.signalled = budget_s, started, False
        self._previous = time.monotonic()
        self._longest = 0.0

    def __call__(self) -> str | None:
        now = time.monotonic()
        self._longest = max(self._longest, now - self._previous)
        self._previous = now
        if self.signalled:
            return "signal"
        # The longest step so far stands for the next one and for the closing save.
        if self.budget_s is not None and now - self.started + 2 * self._longest > self.budget_s:
            return "time budget"
        return None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals inside the block. A second one acts as if nobody listened."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def heard(number: int, frame: Any) -> None:
            self.signalled = True
            signal.signal(number, before[signal.Signals(number)])

        for number in SIGNALS:
            signal.signal(number, heard)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def train(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    time_budget_s: float | None = None,
    source: Source | None = None,
    on_log: Callable[[int, dict[str, float]], None] = lambda step, values: None,
) -> Report:
    """Train, and leave weights.safetensors. Under torchrun every process calls this.

    Args:
        out: folder of the run; made if missing.
        resume: continue its newest checkpoint; without one, start.
        time_budget_s: stop with a checkpoint before this many seconds have passed since the call.
        source: batches; default what `config.data.source` names.
        on_log: called with (step, values) at every log line, on the main process.

    Raises:
        InputError: `out` holds a run and `resume` was not asked for, or cannot be written.
        ConfigError: contradicting settings, or no finite loss for long.
        CheckpointError: initial weights or the checkpoint cannot be used, or the last save failed.
    """
    watch = StopWatch(time_budget_s, time.monotonic())
    with watch.listening(), joined(config.run.device) as ranks:
        _open_folder(out, resume, config, ranks)
        torch.manual_seed(config.run.seed)  # every rank builds the same network: fsdp keeps a shard of each copy
        model = build(config)
        torch.manual_seed(config.run.seed + ranks.rank)
        trainer = Trainer(config, model, out, ranks, source, watch, on_log if ranks.main else _silent)
        if resume:
            trainer.resume()
        report = trainer.run()
        report.weights = export(trainer)
        return report


def _silent(step: int, values: dict[str, float]) -> None:
    """Only the main process talks."""


def _open_folder(out: Path, resume: bool, config: TrainConfig, ranks: Ranks) -> None:
    if checkpoint.complete(out / "checkpoints") and not resume:
        raise InputError(f"{out} holds a training run already: add --resume to go on, or choose another folder")
    _require_run(out)
    if ranks.main:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write {out}: {error.strerror or error}") from error
        write_json(out / "config.json", settings.to_dict(config))
    meet()


def _require_run(out: Path) -> None:
    """Raise InputError when a run would write over files of `out` that no run wrote."""
    try:
        stored = json.loads((out / "config.json").read_text())
    except (OSError, ValueError):
        stored = None
    if checkpoint.complete(out / "checkpoints") or (isinstance(stored, dict) and stored.keys() >= RUN):
        return
    for name in ("config.json", "weights.safetensors"):
        if (out / name).exists():
            raise InputError(f"{out} holds {name}, which no training run wrote: choose another folder")


def export(trainer: Trainer) -> Path:
    """Write weights.safetensors from live or sharded weights; returns its path on all ranks."""
    path, config = trainer.out / "weights.safetensors", trainer.config
    averaged = trainer.average.swapped() if trainer.average is not None else nullcontext()
    with averaged:
        tensors = full_state(trainer.model)
    if trainer.ranks.main:
        model = MoRe(trainer.model.config)
        model.load_state_dict(tensors)
        provenance = {
            "name": config.name,
            "passes": config.passes.attention,
            "trained_on": config.data.source if config.data.source != "synthetic" else "the synthetic 4D world",
            "initialised_from": config.init,
            "steps": trainer.step,
            "clips": trainer.clips,
        }
        save_weights(model, path, torch.bfloat16, **provenance)
    meet()
    return path


def full_state(model: MoRe) -> dict[str, Any]:
    """All tensors, gathered onto the CPU of the main process (empty elsewhere when sharded)."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
