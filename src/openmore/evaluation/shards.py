"""A benchmark split over processes or machines: who takes which sequences, and how the parts become one result.

Choices
- Shard i of n takes every n-th job, counted over the same sorted list everywhere; under torchrun i is the rank.
- A part is a JSON file with the rows as measured, raw material of the summary included. The shard that finds all n
  parts of its own run joins them: none waits for another, and one that died is run again alone.
- A run is its method, its benchmark's settings, the folder of its data, and every sequence with its frames. A part of
  another run is not joined; after joining parts stay, because another shard may be joining too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from openmore.errors import ConfigError
from openmore.io.atomic import write_json

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`."""

    index: int
    count: int


WHOLE = Shard(0, 1)


@dataclass
class Part:
    """What one method scored on some of the sequences."""

    description: dict[str, Any]
    measured: str = ""  # `fingerprint` of what the run measures the method on
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)  # sequence -> metrics
    failures: dict[str, str] = field(default_factory=dict)  # sequence -> reason
    seconds: float = 0.0  # of prediction


def take(jobs: Sequence[T], shard: Shard) -> list[T]:
    """Every n-th job. Raises ConfigError for an impossible shard."""
    if not 0 <= shard.index < shard.count:
        raise ConfigError(f"shard {shard.index}/{shard.count} does not exist: give i/n with 0 <= i < n")
    return list(jobs[shard.index :: shard.count])


def fingerprint(*parts: Any) -> str:
    """A hash of what is given, by its text."""
    return hashlib.sha1(repr(parts).encode()).hexdigest()


def of_environment() -> Shard:
    """(rank, world size) under torchrun, else the whole."""
    return Shard(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


def local_device(device: str) -> str:
    """`cuda` under torchrun is the GPU of the process's rank on its machine."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


def write_part(folder: Path, shard: Shard, part: Part) -> None:
    """Leave this shard's part for whoever joins."""
    path = path_of(folder, shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(part))


def join(folder: Path, shard: Shard, own: Part, order: Sequence[str]) -> Part | None:
    """All parts together, sequences in the given order; None while another shard's is absent or of another run."""
    mine = json.loads(json.dumps(own.description))
    whole = Part(own.description, own.measured)
    for index in range(shard.count):
        path = path_of(folder, Shard(index, shard.count))
        if not path.is_file():
            return None
        part = Part(**json.loads(path.read_text()))
        if (part.description, part.measured) != (mine, own.measured):
            return None
        whole.rows |= part.rows
        whole.failures |= part.failures
        whole.seconds += part.seconds
    whole.rows = {name: whole.rows[name] for name in order if name in whole.rows}
    return whole


def path_of(folder: Path, shard: Shard) -> Path:
    """Where a part lies."""
    return folder / "parts" / f"{shard.index}of{shard.count}.json"
