"""Flow backends by name, for the command line and for settings files."""

from __future__ import annotations

from typing import Any

from openmore.errors import ConfigError
from openmore.flow.base import FlowEstimator
from openmore.flow.dis import DISFlow

NAMES = ("dis", "dis-ultrafast", "dis-fast", "dis-medium", "sea-raft-s", "sea-raft-m", "sea-raft-l")


def require_name(name: str) -> None:
    """Raise ConfigError listing the names unless `name` is one of them, with or without a weights file."""
    kind, _, weights = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind not in NAMES or (weights and not kind.startswith("sea-raft")):
        raise ConfigError(f"flow backend {name!r} is unknown: choose one of {', '.join(NAMES)} (sea-raft-m:FILE)")


def get_flow(name: str = "dis", device: Any = "cpu", **options: Any) -> FlowEstimator:
    """The backend called `name`; `options` go to its constructor, and `device` where a network computes it.

    "sea-raft-m:FILE" loads a weights file; "sea-raft-m:untrained" is random. Raises ConfigError listing the names,
    CheckpointError for weights that cannot be had.
    """
    require_name(name)
    kind, _, weights = name.partition(":")
    if kind == "dis":
        return DISFlow(**options)
    if kind.startswith("dis-"):
        return DISFlow(kind.removeprefix("dis-"), **options)
    from openmore.flow.sea_raft.estimator import SEARaftFlow

    return SEARaftFlow(kind.removeprefix("sea-raft-"), weights or None, device, **options)
