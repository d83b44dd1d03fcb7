"""OpenMoRe: motion-aware feed-forward 4D reconstruction (MoRe, CVPR 2026).

The public names, imported on first use so that `import openmore` stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "reconstruct": "openmore.pipeline",
    "frames": "openmore.io.frames",
    "MoRe": "openmore.model.more",
    "ModelConfig": "openmore.model.config",
    "StreamingSession": "openmore.streaming.session",
    "Camera": "openmore.types",
    "FramePrediction": "openmore.types",
    "Reconstruction": "openmore.types",
    "OpenMoReError": "openmore.errors",
}
__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - the names are strings by construction

if TYPE_CHECKING:  # for type checkers and editors; keep in step with _PUBLIC
    from openmore.errors import OpenMoReError
    from openmore.io.frames import frames
    from openmore.model.config import ModelConfig
    from openmore.model.more import MoRe
    from openmore.pipeline import reconstruct
    from openmore.streaming.session import StreamingSession
    from openmore.types import Camera, FramePrediction, Reconstruction


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'openmore' has no attribute {name!r}; it has {', '.join(sorted(_PUBLIC))}")


def __dir__() -> list[str]:
    return sorted(__all__)
