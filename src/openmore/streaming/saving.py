"""A running stream as one file: cached keys and values plus the little that describes them.

The file is a safetensors with a JSON header: it holds no code, survives versions of Python, and names the weights
it belongs to. Only slots in use are written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmore.errors import StreamError
from openmore.io.atomic import atomic_file
from openmore.io.sizing import Sizing
from openmore.model.more import MoRe
from openmore.streaming.cache import StreamCache, TokenStore
from openmore.streaming.policy import Kept
from openmore.streaming.stream import StreamOptions, TensorStream

VERSION = 1
HEADER = "openmore_stream"


def save_stream(stream: TensorStream, path: Path, sizing: Sizing, world_from_first: Tensor) -> None:
    """Write atomically. Raises InputError when the place cannot be written."""
    from safetensors.torch import save

    tensors = {"world_from_first": world_from_first}
    slots: dict[str, dict[str, list[int]]] = {}
    for name, store in _stores(stream.cache).items():
        store.compact()
        slots[name] = {str(frame): indices for frame, indices in store.slots.items()}
        for layer in range(len(store.k)):
            k, v = store.view(layer)
            tensors[f"{name}.{layer}.k"], tensors[f"{name}.{layer}.v"] = k.contiguous().cpu(), v.contiguous().cpu()
    header = {
        "version": VERSION,
        **_identity(stream),
        "original_shape": list(sizing.original_shape),
        "long_side": max(sizing.model_shape),
        "frames_seen": stream.frames_seen,
        "whole": list(stream.cache.held.whole),
        "specials": list(stream.cache.held.specials),
        "slots": slots,
    }
    with atomic_file(path) as handle:
        handle.write(save(tensors, {HEADER: json.dumps(header)}))


def load_stream(model: MoRe, options: StreamOptions, path: Path) -> tuple[TensorStream, Sizing, Tensor]:
    """Raises StreamError when the file is damaged or belongs to other weights or options."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            header = json.loads((handle.metadata() or {})[HEADER])
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
        height, width = header["original_shape"]
        sizing = Sizing.fit((height, width), header["long_side"], model.config.patch_size)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StreamError(f"{path} is not a saved stream: {error}") from error
    stream = TensorStream(model, sizing.model_shape, options)
    for key, value in {"version": VERSION, **_identity(stream)}.items():
        if header.get(key) != value:
            raise StreamError(f"{path} was saved with {key} {header.get(key)!r}, this session has {value!r}")
    try:
        _restore(stream, header, tensors)
        return stream, sizing, tensors["world_from_first"]
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise StreamError(f"{path} is not a whole saved stream: {error}") from error


def _restore(stream: TensorStream, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    for name, store in _stores(stream.cache).items():
        for layer in range(len(store.k)):
            k, v = tensors[f"{name}.{layer}.k"], tensors[f"{name}.{layer}.v"]
            store.reserve(k.shape[2])
            index = torch.arange(k.shape[2], device=store.device)
            store.write(layer, index, k.to(store.device), v.to(store.device))
        store.slots = {int(frame): indices for frame, indices in header["slots"][name].items()}
        store.used, store.free = k.shape[2], []
        if sorted(slot for indices in store.slots.values() for slot in indices) != list(range(store.used)):
            raise ValueError(f"its frames do not fill the {store.used} slots of {name}")
    stream.cache.held = Kept(tuple(header["whole"]), tuple(header["specials"]))
    stream.frames_seen = header["frames_seen"]


def _identity(stream: TensorStream) -> dict[str, Any]:
    """What must agree for a saved stream to go on."""
    o = stream.options
    return {
        "weights": stream.model.provenance.get("sha256") or stream.model.provenance.get("name"),
        "config": stream.model.config.to_dict(),
        "policy": repr(stream.policy),
        "refinable": o.refinable,
        "batch": o.batch,
        "iterations": o.iterations,
        "cache_dtype": str(stream.cache.tokens.k[0].dtype),
    }


def _stores(cache: StreamCache) -> dict[str, TokenStore]:
    stores = {"tokens": cache.tokens, "cameras": cache.cameras}
    return stores if cache.inside is None else {**stores, "inside": cache.inside}
