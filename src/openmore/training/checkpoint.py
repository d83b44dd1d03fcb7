"""Checkpoints: everything a run needs to go on as if it had not stopped.

Choices
- `torch.distributed.checkpoint`: every rank writes its shards; a run may resume on another number of processes.
- Written under a temporary name and renamed when complete: a full disk or a kill never touches the older ones.
- Newest complete folder wins on resume. Random states are per rank; a rank without one starts its own.
- Learning rates, decay and what is frozen are the resuming run's: of the optimiser only the moments are read, and a
  parameter that has none yet (it was frozen) begins with fresh ones, its average with its weights.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException  # derives from BaseException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from openmore.errors import CheckpointError
from openmore.training.optim import Average
from openmore.training.ranks import Ranks, meet

PATTERN = re.compile(r"step_(\d{8})$")
META = "run.json"


@dataclass
class TrainState:
    """The live objects a checkpoint fills or is filled from."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average | None


def folder_of(root: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return root / f"step_{step:08d}"


def complete(root: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if PATTERN.search(p.name) and (p / META).is_file())


def save(root: Path, step: int, state: TrainState, ranks: Ranks, meta: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint of `step`, then delete all but the newest `keep`.

    Raises CheckpointError on every rank when any of them cannot write; older checkpoints are then untouched.
    """
    target = folder_of(root, step)
    partial = target.with_name(f".{target.name}.partial")
    try:
        _prepare(root, partial, ranks)
        with _alone_without_warning() as alone:
            dcp.save(_collect(state, ranks), checkpoint_id=str(partial), no_dist=alone)
        _finish(partial, target, {"step": step, **meta}, ranks)
    except (Exception, CheckpointException) as error:  # the disk's answer on any rank, in many wrappings
        if ranks.main:
            shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"cannot write checkpoint {target}: {_cause(error)}; older checkpoints are untouched, free some space"
        ) from error
    if ranks.main:
        for old in complete(root)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    return target


def _prepare(root: Path, partial: Path, ranks: Ranks) -> None:
    if ranks.main:
        root.mkdir(parents=True, exist_ok=True)
        for left in root.glob(".step_*.partial"):  # what a killed run had begun
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir()
    meet()


def _finish(partial: Path, target: Path, meta: dict[str, Any], ranks: Ranks) -> None:
    if ranks.main:
        (partial / META).write_text(json.dumps(meta, indent=1) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    meet()


@contextmanager
def _alone_without_warning() -> Iterator[bool]:
    """Whether this is a run of one process, which DCP would remark upon at every save."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield not dist.is_initialized()


def _cause(error: BaseException) -> str:
    """The first line of the first rank's reason."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return next(iter(str(error).splitlines()), type(error).__name__)


def _collect(state: TrainState, ranks: Ranks) -> dict[str, Any]:
    model, optimizer = get_state_dict(state.model, state.optimizer)
    collected: dict[str, Any] = {"model": model, "optimizer": optimizer, "random": {str(ranks.rank): random_state()}}
    if state.average is not None:
        collected["average"] = dict(state.average.values)
        collected["updates"] = torch.tensor(state.average.updates)
    return collected


def read_meta(path: Path) -> dict[str, Any]:
    """What `save` was told, and the step. Raises CheckpointError when it cannot be read."""
    try:
        return json.loads((path / META).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / META} cannot be read: {error}") from error


def load(path: Path, state: TrainState, ranks: Ranks) -> dict[str, Any]:
    """Fill `state` and this rank's random generators; returns the meta data.

    Raises CheckpointError when the checkpoint is damaged or belongs to another network.
    """
    meta = read_meta(path)
    own = _collect(state, ranks)
    try:
        stored = _wanted(own, path)
        with _alone_without_warning() as alone:
            dcp.load(stored, checkpoint_id=str(path), no_dist=alone)
    except (Exception, CheckpointException) as error:
        raise CheckpointError(
            f"cannot resume from {path}: {_cause(error)}; remove it to go on from the checkpoint before it"
        ) from error
    moments = own["optimizer"]["state"] | stored["optimizer"]["state"]
    set_state_dict(
        state.model,
        state.optimizer,
        model_state_dict=stored["model"],
        optim_state_dict={**own["optimizer"], "state": moments},
    )
    set_random_state(stored["random"].get(str(ranks.rank), {}))
    if state.average is not None:
        state.average.updates = int(stored.get("updates", 0))
        state.average.begin(state.average.values.keys() - stored.get("average", {}).keys())
    return meta


def _wanted(collected: dict[str, Any], path: Path) -> dict[str, Any]:
    """Without what a checkpoint may lack: random states of ranks it did not have, moments and averages of parameters
    that were frozen, an average it did not keep. Parameter groups are never read.
    """
    stored = dcp.FileSystemReader(str(path)).read_metadata().state_dict_metadata
    (rank, states), *_ = collected["random"].items()
    moments = collected["optimizer"]["state"]
    wanted = {
        "model": collected["model"],
        "optimizer": {"state": {k: v for k, v in moments.items() if f"optimizer.state.{k}.exp_avg" in stored}},
        "random": {rank: {k: v for k, v in states.items() if f"random.{rank}.{k}" in stored}},
    }
    if "updates" in stored and "updates" in collected:
        wanted["average"] = {k: v for k, v in collected["average"].items() if f"average.{k}" in stored}
        wanted["updates"] = collected["updates"]
    return wanted


def random_state() -> dict[str, Tensor]:
    """This process's generators."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_state(states: dict[str, Tensor]) -> None:
    """Inverse of `random_state`; generators without a state go on as they are."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
