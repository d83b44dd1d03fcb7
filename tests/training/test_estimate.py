from __future__ import annotations

import pytest

from openmore.training.estimate import Accelerator, estimate
from tests.training.toy import toy_config


def test_counting_agrees_with_the_network() -> None:
    plain, again = (estimate(toy_config(f"run.checkpointing={c}")) for c in ("false", "true"))
    assert plain.parameters == again.parameters > plain.trained
    (a,), (b,) = plain.batches, again.batches
    assert (a.clips, a.frames, a.shape) == (2, 2, (28, 42))
    assert a.recomputed_gib == 0 < b.recomputed_gib
    assert b.kept_gib < 0.3 * a.kept_gib and b.kept_gib + b.recomputed_gib < a.kept_gib
    assert a.tflop < b.tflop < 1.5 * a.tflop  # one more forward pass of what is recomputed


def test_sharding_divides_the_state_and_time_follows_the_rate() -> None:
    replicated = estimate(toy_config("run.parallel=ddp"), 8)
    sharded = estimate(toy_config("run.parallel=fsdp"), 8, Accelerator("twice as fast", 624.0))
    assert sharded.state_gib == pytest.approx(replicated.state_gib / 8)
    assert sharded.step_seconds == pytest.approx(replicated.step_seconds / 2)
    assert "device hours" in sharded.lines()[-1]
