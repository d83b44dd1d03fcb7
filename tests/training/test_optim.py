from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from openmore.errors import ConfigError
from openmore.model.config import preset
from openmore.model.more import MoRe
from openmore.training.config import OptimConfig
from openmore.training.optim import (
    PEAK,
    Average,
    clip_gradients,
    decays,
    freeze,
    gradient_norms,
    lr_factor,
    make_optimizer,
)

CONFIG = OptimConfig(steps=100, lr=1e-3, start_lr=1e-6, warmup=0.1)


@pytest.fixture(scope="module")
def model() -> MoRe:
    return MoRe(preset("tiny"))


def test_only_matrices_decay(model: MoRe) -> None:
    decaying = {name for name, p in model.named_parameters() if decays(name, p)}
    assert all(name.endswith("weight") for name in decaying)
    assert "aggregator.frame_blocks.0.attn.qkv.weight" in decaying
    resting = {name for name, _ in model.named_parameters()} - decaying
    assert {"aggregator.camera_token", "aggregator.patch_embed.pos_embed"} <= resting
    assert "aggregator.frame_blocks.0.ls1.gamma" in resting


def test_groups_have_their_own_peaks(model: MoRe) -> None:
    config = replace(CONFIG, motion_lr=1e-2, encoder_lr_scale=0.1)
    optimizer = make_optimizer(model, config)
    peaks = sorted({group[PEAK] for group in optimizer.param_groups})
    assert peaks == pytest.approx([1e-4, 1e-3, 1e-2])
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0, 0.05}


def test_the_schedule_warms_up_and_falls() -> None:
    factors = [lr_factor(step, CONFIG) for step in range(101)]
    assert factors[9] == 1 == max(factors)
    assert all(b > a for a, b in pairwise(factors[:10]))
    assert all(b <= a for a, b in pairwise(factors[10:]))
    assert factors[100] == pytest.approx(1e-3)
    assert lr_factor(99, replace(CONFIG, schedule="constant")) == 1
    assert lr_factor(0, replace(CONFIG, warmup=0)) == 1


def test_each_part_is_clipped_by_itself() -> None:
    model = MoRe(preset("tiny"))
    for name, parameter in model.named_parameters():
        parameter.grad = torch.full_like(parameter, 10.0 if name.startswith("camera_head") else 1e-6)
    before = gradient_norms(model)
    clip_gradients(model, before, CONFIG)
    after = gradient_norms(model)
    assert after["camera_head"] == pytest.approx(0.25, rel=1e-3) and before["camera_head"] > 1
    torch.testing.assert_close(after["aggregator"], before["aggregator"])


def test_freezing_needs_a_pattern_that_matches() -> None:
    model = MoRe(preset("tiny"))
    freeze(model, ["aggregator.patch_embed.*"])
    assert not any(p.requires_grad for p in model.aggregator.patch_embed.parameters())
    assert model.aggregator.camera_token.requires_grad
    with pytest.raises(ConfigError, match="matches no parameter"):
        freeze(model, ["agregator.*"])
    freeze(model, ["*"])
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        make_optimizer(model, CONFIG)


def test_the_average_follows_and_swaps() -> None:
    model = torch.nn.Linear(2, 2)
    start = model.weight.detach().clone()
    average = Average(model, 0.99)
    with torch.no_grad():
        model.weight += 1
    average.update()
    first = 1 - 2 / 11  # the first update forgets most of the start
    torch.testing.assert_close(average.values["weight"], start + first)
    with average.swapped():
        torch.testing.assert_close(model.weight.detach(), start + first)
    torch.testing.assert_close(model.weight.detach(), start + 1)
    torch.testing.assert_close(average.values["weight"], start + first)
