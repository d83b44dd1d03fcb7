"""Settings of refinement: few, because what can be measured on the clip is measured."""

from __future__ import annotations

from dataclasses import dataclass

from openmore.errors import ConfigError


@dataclass(frozen=True)
class RefineOptions:
    """How much work to do. The defaults are those the numbers in docs/refinement.md were measured with."""

    long_side: int = 640  # pixels the pictures are matched at, at most
    features: int = 1800  # key points a frame, at most
    tracks_per_cell: int = 4  # longest tracks kept in each of 12 x 12 cells (along the longer side) of every frame
    long_clip: int = 150  # frames above which tracks are cut to `span`, so that time stays linear
    span: int = 40  # frames
    close_loops: bool = True  # in long clips, where cut tracks do not

    def __post_init__(self) -> None:
        for name, least in (("long_side", 64), ("features", 50), ("tracks_per_cell", 1), ("long_clip", 2), ("span", 4)):
            if getattr(self, name) < least:
                raise ConfigError(f"refinement got {name}={getattr(self, name)}: expected at least {least}")
