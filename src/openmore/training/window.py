"""Plain records of a run: one step, the steps since the last log line, the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from openmore.model.more import RawOutput
from openmore.training.batch import Batch
from openmore.training.ranks import agree


@dataclass
class StepResult:
    """One optimiser step."""

    terms: dict[str, Tensor]  # losses, means over its micro batches
    norms: dict[str, Tensor]  # gradient norm per part of the network
    clips: int  # of all ranks
    names: tuple[str, ...]  # of this rank's clips
    batch: Batch  # the last micro batch, and what the network made of it
    output: RawOutput
    next_clip: int  # number of the first clip that no rank has seen yet
    finite: bool  # on all ranks; otherwise the step was skipped

    def not_finite(self) -> list[str]:
        """Terms and norms of this rank that are not finite."""
        return sorted(k for k, v in {**self.terms, **self.norms}.items() if not bool(v.isfinite()))


@dataclass
class Report:
    """How a run ended."""

    step: int  # steps done in all
    stopped: str  # "finished", "time budget" or "signal"
    seconds: float  # of this call
    clips: int = 0  # seen by all ranks in this call
    skipped: int = 0  # steps without a finite loss in this call
    checkpoint: Path | None = None
    weights: Path | None = None
    last: dict[str, float] = field(default_factory=dict)  # the last logged values


@dataclass
class Window:
    """Sums since the last log line."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    clips: int = 0
    frames: int = 0
    skipped: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, result: StepResult) -> None:
        """One step; a skipped one counts for throughput only."""
        self.clips += result.clips
        self.frames += result.clips * result.batch.frames
        self.skipped += not result.finite
        if result.finite:
            for name, value in {**result.terms, **{f"norm_{k}": v for k, v in result.norms.items()}}.items():
                self.sums[name] = self.sums.get(name, 0) + value.detach().float()  # type: ignore[operator]
                self.counts[name] = self.counts.get(name, 0) + 1

    def means(self, world: int) -> dict[str, float]:
        """Means over steps and ranks; all ranks must ask together."""
        names = sorted(self.sums)
        if not names:
            return {}
        local = torch.stack([self.sums[name] / self.counts[name] for name in names])
        return dict(zip(names, (agree(local) / world).tolist()))

    def rates(self) -> dict[str, float]:
        """Throughput of all ranks together."""
        seconds = max(time.monotonic() - self.since, 1e-9)
        return {"clips_per_s": self.clips / seconds, "frames_per_s": self.frames / seconds}
