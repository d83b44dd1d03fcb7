from __future__ import annotations

import pytest

from openmore.training.estimate import Accelerator, estimate
from tests.training.toy import toy_config


def test_counting_agrees_with_the_network() -> None:
    plain = estimate(toy_config("run.checkpointing=false", "run.parallel=ddp"), 8)
    again = estimate(toy_config("run.checkpointing=true", "run.parallel=fsdp"), 8, Accelerator("twice", 624.0))
    assert plain.parameters == again.parameters > plain.trained
    (a,), (b,) = plain.batches, again.batches
    assert (a.clips, a.frames, a.shape) == (2, 2, (28, 42))
    assert a.recomputed_gib == 0 < b.recomputed_gib
    assert b.kept_gib < 0.3 * a.kept_gib and b.kept_gib + b.recomputed_gib < a.kept_gib
    assert a.tflop < b.tflop < 1.5 * a.tflop  # one more forward pass of what is recomputed
    assert again.state_gib == pytest.approx(plain.state_gib / 8)
    assert again.step_seconds == pytest.approx(plain.step_seconds / 2 * b.tflop / a.tflop)
    assert "device hours" in again.lines()[-1]
