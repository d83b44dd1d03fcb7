"""Reading state dicts safely and lazily, whatever file they come in.

Choices
- safetensors are read tensor by tensor; pickles are memory-mapped with `weights_only=True`: loading a 5 GB file
  needs 5 GB once, not twice, and a pickle that wants to run code is refused.
- Wrappers of training code are taken off here: a state under `model` or `state_dict`, a `net.` or `module.` prefix.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmore.errors import CheckpointError

PREFIXES = ("module.", "net.", "_orig_mod.")
WRAPPERS = ("model", "state_dict")
CONFIG_KEY = "openmore_config"  # safetensors metadata: ModelConfig as JSON
PROVENANCE_KEY = "openmore_provenance"


@dataclass(frozen=True)
class State:
    """Names, shapes and a way to fetch one tensor at a time."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    fetch: Callable[[str], Tensor]
    metadata: Mapping[str, str]


def open_state(path: Path) -> State:
    """Open a checkpoint file without reading its tensors. Raises CheckpointError in one line."""
    if not path.is_file():
        raise CheckpointError(f"no weights file at {path}")
    return _open_safetensors(path) if path.suffix == ".safetensors" else _open_pickle(path)


def _open_safetensors(path: Path) -> State:
    from safetensors import SafetensorError, safe_open

    try:
        handle = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    names = strip_prefixes(handle.keys())
    shapes = {name: tuple(handle.get_slice(key).get_shape()) for name, key in names.items()}
    return State(path, shapes, lambda name: handle.get_tensor(names[name]), handle.metadata() or {})


def _open_pickle(path: Path) -> State:
    tensors = _unwrap(_load_pickle(path), path)
    names = strip_prefixes(tensors)
    shapes = {name: tuple(tensors[key].shape) for name, key in names.items()}
    return State(path, shapes, lambda name: tensors[names[name]], {})


# Bytes that are no pickle end anywhere in the unpickler: /etc/passwd pops from an empty stack.
_DAMAGED = (RuntimeError, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError)


def _load_pickle(path: Path) -> Any:
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)  # legacy format cannot be mapped
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is refused: it holds more than tensors and could run code when opened; "
            "ask its publisher for safetensors"
        ) from error
    except _DAMAGED as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error says, in one line; some say nothing (an empty file's EOFError)."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise CheckpointError(f"{path} holds no state dict: expected tensors at the top level or under 'model'")
    return tensors


def strip_prefixes(keys: Any) -> dict[str, str]:
    """Clean name -> key in the file, with the prefixes that every key shares taken off."""
    names = {key: key for key in keys}
    while prefix := next((p for p in PREFIXES if names and all(n.startswith(p) for n in names)), None):
        names = {name.removeprefix(prefix): key for name, key in names.items()}
    return names


def stored_config(state: State) -> dict[str, Any] | None:
    """The ModelConfig written into the file or lying beside it as config.json, if any."""
    text = state.metadata.get(CONFIG_KEY)
    beside = state.path.parent / "config.json"
    if text is None and beside.is_file():
        text = json.dumps(json.loads(beside.read_text()).get(CONFIG_KEY)) if CONFIG_KEY in beside.read_text() else None
    return json.loads(text) if text else None


def sha256(path: Path) -> str:
    """Hash of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
