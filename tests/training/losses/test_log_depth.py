from __future__ import annotations

import torch

from openmore.training.losses.log_depth import log_depth_loss


def maps(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    truth = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(seed)) + 0.5
    return truth, torch.ones_like(truth, dtype=torch.bool)


def test_scale_per_clip_costs_nothing_and_scale_per_frame_does() -> None:
    truth, valid = maps()
    assert log_depth_loss(truth * torch.tensor([3.0, 0.2])[:, None, None, None], truth, valid) < 1e-5
    assert log_depth_loss(truth * torch.tensor([1.0, 2.0, 4.0])[:, None, None], truth, valid) > 0.1


def test_a_relative_error_counts_the_same_near_and_far() -> None:
    truth, valid = maps()
    far = truth.clone()
    far[..., 8:] *= 100
    wrong = torch.ones_like(truth)
    wrong[..., ::3] = 1.2
    torch.testing.assert_close(
        log_depth_loss(truth * wrong, truth, valid), log_depth_loss(far * wrong, far, valid), rtol=1e-4, atol=1e-5
    )


def test_the_sky_must_lie_behind_the_scene() -> None:
    truth, valid = maps()
    valid[:, :, :4] = False
    near, beyond = truth.clone(), truth.clone()
    near[:, :, :4], beyond[:, :, :4] = 0.1, 50.0
    assert log_depth_loss(beyond, truth, valid, unknown_is_sky=True) < 1e-5
    assert log_depth_loss(near, truth, valid, unknown_is_sky=True) > 0.1
    assert log_depth_loss(near, truth, valid) < 1e-5  # elsewhere unknown stays unknown


def test_nothing_valid_is_zero_with_a_gradient() -> None:
    truth, valid = maps()
    depth = truth.clone().requires_grad_()
    loss = log_depth_loss(depth, truth, torch.zeros_like(valid), unknown_is_sky=True)
    loss.backward()
    assert loss == 0 and depth.grad is not None and float(depth.grad.abs().sum()) == 0
