"""What the camera losses see and what they are blind to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from openmore.geometry.pose_code import decode_pose, encode_pose
from openmore.geometry.rotation import matrix_to_quaternion, so3_exp
from openmore.training.losses.camera import CameraConfig, CameraForm, camera_terms

PAPER, RELEASE = CameraConfig(form="relative_paper"), CameraConfig(form="relative_release")


def random_codes(B: int = 2, S: int = 4) -> Tensor:
    rotation = matrix_to_quaternion(so3_exp(torch.randn(B, S, 3)))
    return torch.cat((torch.randn(B, S, 3), rotation, torch.rand(B, S, 2) + 0.5), -1)


@pytest.mark.parametrize("form", ["absolute", "relative_release", "relative_paper"])
def test_truth_costs_nothing(form: CameraForm) -> None:
    truth = random_codes()
    terms = camera_terms([truth, truth], truth, CameraConfig(form=form))
    assert max(terms.translation, terms.rotation, terms.fov) < 1e-5


def test_the_papers_pair_loss_does_not_know_the_world() -> None:
    truth, config = random_codes(), replace(PAPER, gauge=1.0)
    moved = random_codes(1, 1)
    cam_from_world, K = decode_pose(truth, (100, 120))
    world_from_other = decode_pose(moved, (100, 120))[0]
    elsewhere = encode_pose(cam_from_world @ world_from_other, K, (100, 120))
    terms = camera_terms([elsewhere], truth, config)
    assert max(terms.translation, terms.rotation) < 1e-4
    assert terms.gauge > 0.01  # which is why there is a gauge term


@pytest.mark.parametrize("config", [PAPER, RELEASE], ids=lambda c: c.form)
def test_detached_earlier_frames_get_no_gradient_from_later_ones(config: CameraConfig) -> None:
    truth, code = random_codes(), random_codes().requires_grad_()

    def slope(c: CameraConfig) -> Tensor:
        return torch.autograd.grad(camera_terms([code], truth, c).total(c), code)[0]

    assert slope(config)[:, 0, :7].abs().max() > 0
    truncated = slope(replace(config, detach_earlier=True))
    assert truncated[:, 0].abs().max() == 0  # frame 0 is the earlier one of every pair
    assert truncated[:, 1:, :7].abs().amax(-1).min() > 0
    assert slope(replace(config, detach_first_frames=2))[:, :2].abs().max() == 0


def test_the_geodesic_angle_has_finite_gradients_at_zero_and_half_a_turn() -> None:
    truth = random_codes()
    half_turn = truth.clone()
    half_turn[:, 1, 3:7] = matrix_to_quaternion(
        so3_exp(torch.tensor([torch.pi, 0, 0])) @ decode_pose(truth, (9, 9))[0][:, 1, :3, :3]
    )
    for code in (truth.clone().requires_grad_(), half_turn.requires_grad_()):
        terms = camera_terms([code], truth, PAPER)
        assert torch.autograd.grad(terms.rotation, code)[0].isfinite().all()
    assert terms.rotation > 0.5


def test_later_stages_count_more() -> None:
    truth, code = random_codes(), random_codes()
    first = camera_terms([code, truth], truth, CameraConfig()).translation
    last = camera_terms([truth, code], truth, CameraConfig()).translation
    torch.testing.assert_close(first, 0.6 * last)


@pytest.mark.parametrize("form", ["absolute", "relative_release", "relative_paper"])
def test_no_usable_clip_is_zero_and_keeps_the_graph(form: CameraForm) -> None:
    code = random_codes().requires_grad_()
    nothing = torch.zeros(2, dtype=torch.bool)
    config = CameraConfig(form=form)
    loss = camera_terms([code[nothing]], random_codes()[nothing], config).total(config)
    assert loss.item() == 0
    loss.backward()
    assert code.grad is not None and code.grad.abs().max() == 0
