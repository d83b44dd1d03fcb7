"""From a name, file or folder to a ready network; saving and converting.

`source` is one of: a registry name; "untrained:PRESET" (random, seed 0); "hf:owner/repo"; a file; a folder with one
weights file; or "PRESET:FILE" to say which published architecture a file has (VGGT, StreamVGGT and STream3R files
carry the same names and cannot be told apart).

Choices
- A named preset decides what no tensor tells (UNTOLD), against a stored configuration too: a file may have been
  converted under the wrong one. Where it contradicts the rest, that is an error.
"""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openmore.errors import CheckpointError, ConfigError
from openmore.io.atomic import atomic_file
from openmore.model.config import PRESETS, ModelConfig, preset
from openmore.model.more import MoRe
from openmore.model.weights.hub import download_repo, ensure_local
from openmore.model.weights.keymaps import KeyMatch, guess_preset, match_keys, require_exact
from openmore.model.weights.registry import REGISTRY, Entry, find
from openmore.model.weights.states import CONFIG_KEY, PROVENANCE_KEY, State, open_state, sha256, stored_config
from openmore.model.weights.verified import file_hash

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
UNTOLD = ("attention", "camera_trunk", "layer_scale")  # two modes, and a gain that only matters to fresh weights


def load_pretrained(source: str | Path, device: str | torch.device = "cpu", dtype: str = "auto") -> MoRe:
    """See `MoRe.from_pretrained`."""
    device = check_device(device)
    text = str(source)
    if text.startswith("untrained:"):
        model = untrained(text.removeprefix("untrained:"))
    else:
        path, preset_name, entry = locate(text)
        model = load_file(path, preset_name)
        model.provenance = _provenance(model, path, entry)
    model.eval().requires_grad_(False)
    if _wants_bf16(dtype, device):
        model.half_precision()
    if device.type == "cpu":
        model.channels_last()
    return model.to(device)


def untrained(preset_name: str) -> MoRe:
    """A network with reproducible random weights. Its outputs mean nothing and say so."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MoRe(preset(preset_name))
    model.provenance["name"] = f"untrained:{preset_name}"
    return model


def locate(source: str) -> tuple[Path, str | None, Entry | None]:
    """Resolve a source to (file, preset name or None, registry entry or None); downloads when that is what it means."""
    head, _, rest = source.partition(":")
    if head in PRESETS and rest:
        return _file_in(Path(rest).expanduser()), head, None
    if source.startswith("hf:"):
        return _file_in(download_repo(rest)), None, None
    if source in REGISTRY:
        entry = REGISTRY[source]
        return ensure_local(entry), entry.preset, entry
    path = Path(source).expanduser()
    if os.path.exists(path) or path.suffix in SUFFIXES:  # never raises, unlike Path.exists
        return _file_in(path), None, None
    find(source)  # raises with the nearest names
    raise AssertionError("find raises for unknown names")


def _file_in(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
    if len(files) != 1:
        found = ", ".join(p.name for p in files) or "none"
        raise CheckpointError(f"expected one weights file in {path}, found {found}: name the file")
    return files[0]


def load_file(path: Path, preset_name: str | None = None) -> MoRe:
    """Strictly load one file; its own stored configuration wins over a guess from its keys."""
    state = open_state(path)
    config, preset_name = configuration(state, preset_name)
    with torch.device("meta"):
        model = MoRe(config)
    require_exact(compare(model, state, preset_name), path, preset_name)
    fill(model, state)
    return model


def configuration(state: State, preset_name: str | None) -> tuple[ModelConfig, str | None]:
    """The architecture of a file and the preset it is read as (None: its own).

    Raises ConfigError when a named preset contradicts the stored configuration in more than UNTOLD.
    """
    values = stored_config(state)
    if values is None:
        name = preset_name or guess_preset(state.shapes)
        return preset(name), name
    try:
        stored = ModelConfig.from_dict(values)
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{state.path}: its stored configuration cannot be read: {error}") from error
    if preset_name is None:
        return stored, None
    named = preset(preset_name)
    config = replace(stored, **{name: getattr(named, name) for name in UNTOLD})
    if config != named:
        name = next(f.name for f in fields(named) if getattr(config, f.name) != getattr(named, f.name))
        raise ConfigError(
            f"{state.path} is not {preset_name}: its stored configuration has {name} {getattr(config, name)}, "
            f"expected {getattr(named, name)}: give the file without a preset"
        )
    return named, preset_name


def compare(model: nn.Module, state: State, preset_name: str | None) -> KeyMatch:
    """Names and shapes of a network against a file."""
    return match_keys({k: tuple(v.shape) for k, v in model.state_dict().items()}, state.shapes, preset_name)


def fill(model: MoRe, state: State) -> None:
    """Give a network made on the meta device its tensors, one at a time, as float32."""
    for name in model.state_dict():
        owner_name, _, leaf = name.rpartition(".")
        owner = model.get_submodule(owner_name)
        old = getattr(owner, leaf)
        tensor = state.fetch(name).to(torch.float32, copy=True)
        setattr(owner, leaf, nn.Parameter(tensor, requires_grad=old.requires_grad))
    model.aggregator.reset_constants()  # no file carries the constants


def save(model: MoRe, path: Path, dtype: torch.dtype | None = None, **provenance: Any) -> None:
    """Write safetensors with the configuration and provenance inside; `dtype` narrows floating tensors."""
    tensors = {k: v.detach().to("cpu", dtype or v.dtype).contiguous() for k, v in model.state_dict().items()}
    _write(path, tensors, model.config, {**model.provenance, **provenance})


def _write(path: Path, tensors: dict[str, Tensor], config: ModelConfig, provenance: dict[str, Any]) -> None:
    from safetensors.torch import save as to_bytes

    metadata = {CONFIG_KEY: json.dumps(config.to_dict()), PROVENANCE_KEY: json.dumps(provenance)}
    with atomic_file(path) as handle:
        handle.write(to_bytes(tensors, metadata))


def convert(source: Path, target: Path, preset_name: str | None = None) -> tuple[KeyMatch, str | None]:
    """Rewrite any readable checkpoint as safetensors with its configuration inside, without what is ignored.

    Tensors keep their number type and the file its provenance. Returns how the keys matched and the preset the file
    was read as (None: its stored configuration).
    """
    if target.suffix != ".safetensors":
        raise CheckpointError(f"{target} must end in .safetensors")
    state = open_state(source)
    config, read_as = configuration(state, preset_name)
    with torch.device("meta"):
        match = compare(MoRe(config), state, read_as)
    require_exact(match, source, read_as)
    # Copies: tensors of a pickle may lie in one storage, which safetensors refuse.
    tensors = {name: state.fetch(name).clone(memory_format=torch.contiguous_format) for name in match.matched}
    _write(target, tensors, config, {"name": source.stem, **_stored(state), "converted_from": sha256(source)})
    return match, read_as


def check_device(device: str | torch.device) -> torch.device:
    """Raise one clear line when the device is not there."""
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"unknown device {device!r}: use cpu, cuda, cuda:1 or mps") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"device {device} is not supported: use cpu, cuda, cuda:1 or mps")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda was asked for, but this torch sees no CUDA GPU: use --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device mps was asked for, but there is no Apple GPU here: use --device cpu")
    return device


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products are fast here (measured: never fp16 on CPU, see docs/performance.md)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def _wants_bf16(dtype: str, device: torch.device) -> bool:
    if dtype not in ("auto", "fp32", "bf16"):
        raise ConfigError(f"dtype {dtype!r} is not one of auto, fp32, bf16")
    return dtype == "bf16" or (dtype == "auto" and fast_bf16(device))


def _stored(state: State) -> dict[str, Any]:
    return json.loads(state.metadata.get(PROVENANCE_KEY, "{}"))


def _provenance(model: MoRe, path: Path, entry: Entry | None) -> dict[str, object]:
    stored, digest = _stored(open_state(path)), file_hash(path)
    if entry is not None:
        stated = {"name": entry.name, "licence": entry.licence, "trained_on": entry.trained_on}
        return {**stored, **stated, "sha256": digest}
    return {**model.provenance, **stored, "name": stored.get("name") or path.name, "sha256": digest}
