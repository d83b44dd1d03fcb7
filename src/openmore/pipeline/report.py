"""What a run says about itself: seconds per stage, and what scene.json holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmore.io.sizing import Sizing
from openmore.model.more import MoRe
from openmore.pipeline.options import Options
from openmore.types import SceneInfo


@dataclass
class Clock:
    """Seconds spent per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begun, 4)


def scene_info(
    source: Any,
    model: MoRe,
    options: Options,
    sizing: Sizing,
    clock: Clock,
    warnings: list[str],
    skipped: list[dict[str, Any]],
) -> SceneInfo:
    """What scene.json will say."""
    if str(model.provenance.get("name", "")).startswith("untrained"):
        warnings = ["untrained weights: every output is noise", *warnings]
    return SceneInfo(
        source=str(source) if isinstance(source, str | Path) else f"{type(source).__name__} in memory",
        weights=dict(model.provenance),
        mode=options.mode,
        model_shape=sizing.model_shape,
        original_shape=sizing.original_shape,
        timings_s=clock.seconds,
        warnings=warnings,
        skipped=skipped,
    )
