"""Clips of the synthetic world as a data set: one sequence per seed, nothing on disk, exact truth of every kind.

Seeds below one million are never drawn by training (openmore.training.sources); evaluation uses those from 900,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from openmore.data.sample import Sample
from openmore.data.synthetic.layout import Recipe
from openmore.data.synthetic.make import make_clip
from openmore.errors import DataError

FIRST_SEED = 900_000


class SyntheticClips:
    """`count` clips of `frames` frames from consecutive seeds."""

    name = "synthetic"

    def __init__(
        self,
        count: int = 20,
        frames: int = 16,
        shape: tuple[int, int] = (168, 224),
        first_seed: int = FIRST_SEED,
        recipe: Recipe | None = None,
    ):
        self.count, self.frames, self.shape, self.first_seed, self.recipe = count, frames, shape, first_seed, recipe
        self._make = lru_cache(maxsize=2)(self._render)

    def __len__(self) -> int:
        return self.count

    def names(self) -> list[str]:
        return [f"{self.first_seed + i:06d}" for i in range(self.count)]

    def frame_ids(self, sequence: str) -> list[int]:
        return list(range(self.frames))

    def truth(self, sequence: str) -> dict[str, str]:
        """Everything is exact."""
        return dict.fromkeys(("cameras", "intrinsics", "depth", "motion"), "true")

    def load(self, sequence: str, frame_ids: Sequence[int]) -> Sample:
        """Render the clip and take some of its frames. Raises DataError for another sequence."""
        if sequence not in self.names():
            raise DataError(f"synthetic clip {sequence!r} is not among the seeds {self.names()[0]}..{self.names()[-1]}")
        return self._make(int(sequence)).select(list(frame_ids))

    def _render(self, seed: int) -> Sample:
        return make_clip(seed, self.frames, self.shape, recipe=self.recipe)
