"""Processes and how the network is spread over them: one process, DDP, or FSDP2.

Choices
- torchrun's environment variables decide; without them the run is a single process.
- FSDP2 shards per block and head. Blocks are entered through `open` and `close`, which are registered as forward
  methods. Parameters stay gathered between forward and backward: gradients and optimiser state are what fills memory
  (16 of 18 bytes per parameter), and each block would otherwise be gathered four times a step.
- Mixed precision is autocast's in all cases; parameters and reductions are float32.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from openmore.errors import ConfigError
from openmore.model.weights.load import check_device
from openmore.training.network_pass import TrainingPass

Parallel = Literal["none", "ddp", "fsdp"]


@dataclass(frozen=True)
class Ranks:
    """This process among its peers."""

    rank: int
    world: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the process group of torchrun (or of srun, see examples/slurm_train.sh) for the block; a group that is
    there already is used and left alone. Raises ConfigError when the device is not there.
    """
    world, local_rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = pick_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size(), chosen)
    elif world == 1:
        yield Ranks(0, 1, chosen)
    else:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        try:
            yield Ranks(dist.get_rank(), world, chosen)
        finally:
            dist.destroy_process_group()


def pick_device(device: str, local_rank: int) -> torch.device:
    """ "auto" is this process's GPU where there is one. Raises ConfigError when a device is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = check_device(f"cuda:{local_rank}" if device == "cuda" else device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"{chosen} was asked for, but this machine has {torch.cuda.device_count()} GPUs: start at most one process "
            "per GPU, or set run.device=cpu"
        )
    return chosen


def pick_parallel(parallel: str, world: int) -> Parallel:
    """Resolve "auto"; a single process may still use fsdp (a rehearsal), but not ddp."""
    if parallel == "auto":
        return "ddp" if world > 1 else "none"
    if parallel == "ddp" and world == 1:
        return "none"
    if parallel == "none" and world > 1:
        raise ConfigError(f"run.parallel=none, but torchrun started {world} processes: use ddp or fsdp")
    return parallel  # type: ignore[return-value]


def spread(step: TrainingPass, parallel: Parallel, ranks: Ranks) -> nn.Module:
    """Wrap the pass; `step.model` stays usable for names and checkpoints."""
    if parallel == "ddp":
        ids = [ranks.device.index] if ranks.device.type == "cuda" else None
        # A mixed pass leaves the duplicate token unused on some steps.
        mixed = step.config.attention == "mixed"
        return nn.parallel.DistributedDataParallel(step, device_ids=ids, find_unused_parameters=mixed)
    if parallel == "fsdp":
        shard(step, ranks)
    return step


def shard(step: TrainingPass, ranks: Ranks) -> None:
    """FSDP2 in place."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    if not dist.is_initialized():
        raise ConfigError(
            "run.parallel=fsdp needs torchrun: torchrun --nproc-per-node N -m openmore.cli.main train ..."
        )
    # Outputs of blocks are views; nothing here writes to them in place, which is what the warning is about.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(ranks.device.type, (ranks.world,))
    model = step.model
    for block in [*model.aggregator.frame_blocks, *model.aggregator.global_blocks]:
        fully_shard(block, mesh=mesh, reshard_after_forward=False)
        for method in ("open", "close"):
            register_fsdp_forward_method(block, method)
    for block in model.aggregator.patch_embed.blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=False)
    for name, head in model.named_children():
        if name != "aggregator":
            fully_shard(head, mesh=mesh, reshard_after_forward=False)
    fully_shard(step, mesh=mesh, reshard_after_forward=False)


@contextmanager
def without_sync(wrapped: nn.Module, skip: bool) -> Iterator[None]:
    """Keep gradients local (all but the last batch of an accumulated step)."""
    if not skip:
        yield
    elif isinstance(wrapped, nn.parallel.DistributedDataParallel):
        with wrapped.no_sync():
            yield
    elif hasattr(wrapped, "set_requires_gradient_sync"):
        wrapped.set_requires_gradient_sync(False)  # type: ignore[operator]
        try:
            yield
        finally:
            wrapped.set_requires_gradient_sync(True)  # type: ignore[operator]
    else:
        yield


def agree(values: Tensor, op: Literal["sum", "max"] = "sum") -> Tensor:
    """Reduce over all ranks in place (a no-op for one process)."""
    if dist.is_initialized():
        dist.all_reduce(values, dist.ReduceOp.SUM if op == "sum" else dist.ReduceOp.MAX)
    return values


def meet() -> None:
    """Wait for the others."""
    if dist.is_initialized():
        dist.barrier()
