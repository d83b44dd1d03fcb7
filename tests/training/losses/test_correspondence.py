from __future__ import annotations

import math

import pytest
import torch

from openmore.geometry.camera import K_from_fov
from openmore.geometry.rigid import rigid
from openmore.training.losses.correspondence import Matches, correspondence_loss, find_matches


def fronto_parallel(shift: float) -> dict[str, torch.Tensor]:
    """A wall at depth 2 seen by cameras that step `shift` to the right: content moves left by fx * shift / 2 pixels."""
    t = torch.tensor([[[0.0, 0, 0], [shift, 0, 0], [2 * shift, 0, 0]]])
    return {
        "depth": torch.full((1, 3, 16, 16), 2.0),
        "K": K_from_fov(torch.full((1, 3, 2), math.pi / 2), (16, 16)),  # focal length 8 pixels
        "world_from_cam": rigid(torch.eye(3).expand(1, 3, 3, 3), t),
        "static": torch.ones(1, 3, 16, 16, dtype=torch.bool),
    }


def test_matches_follow_the_surface() -> None:
    clip = fronto_parallel(1.0)  # 4 pixels, one patch, per frame
    matches = find_matches(**clip, patch=4, count=200)
    column = (matches.patch % 4).float()
    steps = (matches.target - torch.arange(3))[None, :, None]
    torch.testing.assert_close(matches.uv[..., 0], column - steps + 0.125)  # an even patch has no centre pixel
    inside = (column - steps >= 0) & (column - steps < 4)
    assert torch.equal(matches.valid, inside.expand_as(matches.valid))
    assert matches.valid.any() and not matches.valid.all()


def test_movers_occlusions_and_missing_depth_are_no_matches() -> None:
    clip = fronto_parallel(0.0)
    assert find_matches(**clip, patch=4, count=50).valid.all()
    assert not find_matches(**(clip | {"static": ~clip["static"]}), patch=4, count=50).valid.any()
    depth = clip["depth"].clone()
    depth[:, 1] = 1.0  # something stands in front of frame 1: neither side of a pair with it agrees
    matches = find_matches(**(clip | {"depth": depth}), patch=4, count=50)
    alone = (matches.target == 1) | (torch.arange(3) == 1)
    assert not matches.valid[:, alone].any() and matches.valid[:, ~alone].all()
    assert not find_matches(**(clip | {"depth": depth * 0}), patch=4, count=50).valid.any()


def test_causal_targets_are_earlier() -> None:
    for seed in range(5):
        clip = {k: v[:, [0, 1, 2, 1, 0]] for k, v in fronto_parallel(0.0).items()}
        matches = find_matches(**clip, patch=4, count=3, causal=True, generator=torch.Generator().manual_seed(seed))
        assert (matches.target[1:] < torch.arange(1, 5)).all()
        assert not matches.valid[:, 0].any()


def test_matching_attention_is_cheap_and_descent_finds_it() -> None:
    torch.manual_seed(0)
    n = torch.arange(16)
    matches = Matches(
        patch=n.expand(1, 2, 16),
        target=torch.tensor([1, 0]),
        uv=torch.stack((n % 4, n // 4), -1).float().expand(1, 2, 16, 2),
        valid=torch.ones(1, 2, 16, dtype=torch.bool),
        grid=(4, 4),
    )
    q = torch.randn(1, 2, 2 * 17, 8) * 0.1
    q.requires_grad_()
    k = torch.randn(1, 2, 2 * 17, 8)
    before = correspondence_loss(q, k, matches, first_patch=1)
    assert before.item() == pytest.approx(math.log(16), abs=0.1)
    optimizer = torch.optim.Adam([q], lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = correspondence_loss(q, k, matches, first_patch=1)
        loss.backward()
        optimizer.step()
    assert loss < 0.3 * before
    assert q.grad is not None and q.grad[:, :, [0, 17]].abs().max() == 0  # special tokens are not touched


def test_targets_between_patches_and_beyond_the_border_stay_finite() -> None:
    matches = Matches(
        patch=torch.zeros(1, 2, 3, dtype=torch.long),
        target=torch.tensor([1, 0]),
        uv=torch.tensor([[0.5, 0.5], [-40.0, 1e9], [float("nan"), 0]]).expand(1, 2, 3, 2),
        valid=torch.tensor([True, False, False]).expand(1, 2, 3),
        grid=(4, 4),
    )
    loss = correspondence_loss(torch.zeros(1, 2, 2 * 17, 8), torch.randn(1, 2, 2 * 17, 8), matches, first_patch=1)
    assert loss.item() == pytest.approx(math.log(16))
