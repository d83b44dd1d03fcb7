from __future__ import annotations

import torch

from openmore.training.losses.motion import motion_loss, pool_motion
from openmore.types import UNKNOWN


def test_unknown_pixels_never_enter() -> None:
    logits = torch.randn(1, 2, 8, 8, requires_grad=True)
    labels = torch.randint(0, 2, (1, 2, 8, 8), dtype=torch.uint8)
    labels[..., :3] = UNKNOWN
    loss = motion_loss(logits, labels)
    slope = torch.autograd.grad(loss, logits)[0]
    assert slope[..., :3].abs().max() == 0
    assert slope[..., 3:].abs().min() > 0


def test_a_clip_of_unknown_labels_is_zero() -> None:
    logits = torch.randn(1, 2, 8, 8, requires_grad=True)
    loss = motion_loss(logits, torch.full((1, 2, 8, 8), UNKNOWN, dtype=torch.uint8), balance=True)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, logits)[0].abs().max() == 0


def test_balance_weighs_rare_movers_up_to_ten() -> None:
    logits = torch.zeros(1, 1, 40, 50)
    labels = torch.zeros(1, 1, 40, 50, dtype=torch.uint8)
    labels[0, 0, 0, 0] = 1
    plain = motion_loss(logits, labels, quantile=None)
    balanced = motion_loss(logits, labels, quantile=None, balance=True)
    torch.testing.assert_close(balanced, plain * (1999 + 10) / 2000)


def test_pooling_counts_known_pixels_only() -> None:
    labels = torch.zeros(1, 1, 4, 8, dtype=torch.uint8)
    labels[..., :2, :4] = 1
    labels[..., 2, :4] = UNKNOWN  # first patch: 8 of 12 known pixels move
    labels[..., 4:] = UNKNOWN
    labels[..., 0, 4:6] = 1  # second patch: 2 of 16 pixels are known
    share, known = pool_motion(labels, 4)
    torch.testing.assert_close(share[0, 0, 0], torch.tensor(2 / 3))
    assert known.tolist() == [[[True, False]]]
