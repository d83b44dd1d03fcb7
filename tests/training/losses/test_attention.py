"""Which way attention forcing pushes: the sign, and the silence where nothing moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from openmore.training.losses.attention import AttentionForcingConfig, attention_forcing

FORMS = {
    "release": AttentionForcingConfig("release"),
    "baseline": AttentionForcingConfig("baseline", c0=0.5),
    "baseline per head": AttentionForcingConfig("baseline", c0=0.5, per_head=True),
    "baseline score": AttentionForcingConfig("baseline", gate="score", c0=0.5),
    "kl": AttentionForcingConfig("kl"),
}
MOVING = torch.tensor([1.0, 1, 0, 0, 0, 0, 0, 0])


def loss_of(logits: Tensor, share: Tensor, config: AttentionForcingConfig, known: Tensor | None = None) -> Tensor:
    """Loss of the softmax of logits [B, heads, rows, K]."""
    known = torch.ones_like(share, dtype=torch.bool) if known is None else known
    return attention_forcing(logits.softmax(-1), share, known, logits.shape[-1], config)


def gradient(share: Tensor, config: AttentionForcingConfig) -> tuple[Tensor, Tensor]:
    logits = torch.zeros(1, 2, 1, 8, requires_grad=True)
    loss = loss_of(logits, share[None], config)
    return loss, torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("config", FORMS.values(), ids=FORMS.keys())
def test_descent_lowers_attention_on_moving_patches(config: AttentionForcingConfig) -> None:
    logits = torch.zeros(1, 2, 1, 8, requires_grad=True)
    loss = loss_of(logits, MOVING[None], config)
    slope = torch.autograd.grad(loss, logits)[0]
    assert (slope[..., :2] > 0).all()
    assert (slope[..., 2:] <= 0).all()
    before, after = logits.softmax(-1), (logits - slope).softmax(-1)
    assert (after[..., :2] < before[..., :2]).all()


@pytest.mark.parametrize("name", ["release", "baseline", "baseline per head", "baseline score"])
def test_a_static_clip_gives_exactly_nothing(name: str) -> None:
    torch.manual_seed(1)
    logits = torch.randn(2, 3, 2, 8, requires_grad=True)
    loss = loss_of(logits, torch.zeros(2, 8), FORMS[name])
    assert loss.item() == 0
    assert torch.autograd.grad(loss, logits)[0].abs().max() == 0


def test_kl_pulls_a_static_clip_towards_uniform() -> None:
    torch.manual_seed(1)
    logits = torch.randn(2, 3, 2, 8, requires_grad=True)
    loss = loss_of(logits, torch.zeros(2, 8), FORMS["kl"])
    assert loss > 0.01
    assert torch.autograd.grad(loss, logits)[0].abs().max() > 1e-3


def test_the_baseline_leaves_patches_alone_that_are_hardly_looked_at() -> None:
    logits = torch.zeros(1, 1, 1, 8)
    logits[..., 0], logits[..., 4] = -3.0, 2.0  # the mover gets less than uniform attention
    logits.requires_grad_()
    loss = loss_of(logits, MOVING[None] * torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0]), AttentionForcingConfig("baseline"))
    assert loss.item() == 0
    assert loss_of(logits, MOVING[None], FORMS["release"]) > 0


@pytest.mark.parametrize("config", FORMS.values(), ids=FORMS.keys())
def test_unknown_patches_do_not_enter(config: AttentionForcingConfig) -> None:
    torch.manual_seed(2)
    logits = torch.randn(1, 2, 1, 8)
    known = torch.tensor([[True, False, True, True, True, True, False, True]])
    losses = [loss_of(logits, torch.where(known, MOVING, fill)[None][0], config, known) for fill in (0.0, 1.0)]
    assert losses[0] == losses[1]


def test_relative_attention_does_not_shrink_with_the_number_of_frames() -> None:
    """Uniform attention over N keys has the same loss for every N: r = attention * N."""
    config = AttentionForcingConfig("baseline", c0=0.25)
    values = [loss_of(torch.zeros(1, 1, 1, n), torch.ones(1, n), config) for n in (8, 800)]
    assert values[0] == pytest.approx(0.75) == values[1]
