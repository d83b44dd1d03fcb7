"""The displacement loss: its truth is the projection, its minimum the truth."""

from __future__ import annotations

import torch

from openmore.data.synthetic.rooms import make_rooms
from openmore.training.losses.displacement import UNIT, anchor_frames, displacement_loss, displacement_truth

PATCH = 14


def truth(causal: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    made = make_rooms(range(4), frames=3, shape=(56, 70), objects=0)
    static = made.motion == 0
    return displacement_truth(made.depth, made.K, made.world_from_cam, static, PATCH, causal)


def test_frames_point_to_the_first_and_the_first_to_the_second() -> None:
    assert anchor_frames(4).tolist() == [1, 0, 0, 0]
    assert anchor_frames(1).tolist() == [0]


def test_a_still_camera_displaces_nothing() -> None:
    made = make_rooms(range(2), frames=2, shape=(28, 42), objects=0)
    still = made.world_from_cam[:, :1].expand(-1, 2, -1, -1)
    depth = made.depth[:, :1].expand(-1, 2, -1, -1)
    displacement, valid = displacement_truth(depth, made.K, still, made.motion == 0, PATCH)
    assert valid.all()
    torch.testing.assert_close(displacement, torch.zeros_like(displacement), atol=1e-4, rtol=0)


def test_the_truth_has_no_loss_and_descent_leads_to_it() -> None:
    displacement, valid = truth()
    tokens = torch.zeros(*displacement.shape[:3], 8)
    tokens[..., :2] = displacement / UNIT
    assert displacement_loss(tokens, displacement, valid) < 1e-5
    zero = torch.zeros_like(tokens, requires_grad=True)
    displacement_loss(zero, displacement, valid).backward()
    assert zero.grad is not None
    towards = -(zero.grad[..., :2] * displacement)[valid]
    assert (towards >= 0).all() and zero.grad[..., 2:].abs().sum() == 0


def test_in_a_causal_pass_the_first_frame_is_left_out() -> None:
    assert truth(causal=True)[1][:, 0].sum() == 0 and truth(causal=False)[1][:, 0].any()
