"""Strict loading of SEA-RAFT files: safetensors from the hub, or the authors' .pth.

Choices
- A residual block's shortcut norm carries two names upstream (`bn3`, `downsample.1`); safetensors keep one of them,
  .pth files both. Both are accepted; nothing else may differ.
- Files: MemorySlices/Tartan-C-T-TSKH-spring540x960-{S,M} (BSD-3 code; trained on TartanAir, FlyingChairs,
  FlyingThings, Sintel, KITTI, HD1K and Spring, whose own terms apply to the weights).
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from openmore.errors import CheckpointError
from openmore.flow.sea_raft.network import CONFIGS, SEARaft
from openmore.model.weights.hub import require_network

REPOSITORIES = {size: f"MemorySlices/Tartan-C-T-TSKH-spring540x960-{'S' if size == 's' else 'M'}" for size in CONFIGS}


def build(size: str, weights: str | Path | None = None) -> SEARaft:
    """The network of `size` (s, m, l) in evaluation mode.

    weights: a file, "untrained" (random, seed 0) or None (the published file, from the hub's cache or the hub).
    Raises CheckpointError when the file is missing, damaged or not SEA-RAFT of this size.
    """
    if weights == "untrained":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return SEARaft(CONFIGS[size]).eval().requires_grad_(False)
    path = _published(size) if weights is None else Path(weights).expanduser()
    network = SEARaft(CONFIGS[size])
    state = rename(read_state(path))
    require_same(network.state_dict(), state, path, size)
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a .safetensors or torch file, never running code from it."""
    if not path.is_file():
        raise CheckpointError(
            f"SEA-RAFT weights {path} do not exist: give a file, or leave the weights out to download"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise whatever their parsers do
        line = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise CheckpointError(f"SEA-RAFT weights {path} cannot be read ({line}): download them again") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"SEA-RAFT weights {path} hold no table of tensors: expected a state dict")
    return state


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state under this network's names: one name per shortcut norm, no `module.` of data-parallel training."""
    return {re.sub(r"\.bn3\.", ".downsample.1.", k.removeprefix("module.")): v for k, v in state.items()}


def require_same(expected: dict[str, Tensor], found: dict[str, Tensor], path: Path, size: str) -> None:
    """Raise CheckpointError listing the first differing names and shapes."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    other = [k for k in expected.keys() & found.keys() if expected[k].shape != found[k].shape]
    if not (missing or extra or other):
        return
    parts = [f"{len(keys)} {word} ({', '.join(sorted(keys)[:3])}...)" for word, keys in
             (("missing", missing), ("unknown", extra), ("of another shape", other)) if keys]  # fmt: skip
    raise CheckpointError(f"{path} is not SEA-RAFT {size.upper()}: {'; '.join(parts)}: give the file of this size")


def _published(size: str) -> Path:
    repository = REPOSITORIES[size]
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    here = try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(here, str):
        return Path(here)
    try:
        require_network(f"model.safetensors of {repository}")  # the hub's own retries take long and print each one
        return Path(hf_hub_download(repository, "model.safetensors"))
    except Exception as error:  # offline, refused, not found: the hub has a class for each
        raise CheckpointError(
            f"SEA-RAFT weights of {repository} are not on this machine and cannot be downloaded: "
            "fetch model.safetensors elsewhere and give the file, or use flow dis"
        ) from error
