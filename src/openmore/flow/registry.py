"""Flow backends by name, for the command line and for settings files."""

from __future__ import annotations

from typing import Any

from openmore.errors import ConfigError
from openmore.flow.base import FlowEstimator
from openmore.flow.dis import DISFlow

NAMES = ("dis", "dis-ultrafast", "dis-fast", "dis-medium")


def get_flow(name: str = "dis", **options: Any) -> FlowEstimator:
    """The backend called `name`; `options` go to its constructor. Raises ConfigError listing the names."""
    if name == "dis":
        return DISFlow(**options)
    if name.startswith("dis-"):
        return DISFlow(name.removeprefix("dis-"), **options)
    raise ConfigError(f"flow backend {name!r} is unknown: choose one of {', '.join(NAMES)}")
