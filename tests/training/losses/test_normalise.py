from __future__ import annotations

import torch

from openmore.geometry.camera import K_from_fov, depth_to_world
from openmore.geometry.rigid import rigid
from openmore.geometry.rotation import so3_exp
from openmore.training.losses.normalise import normalise_truth, unit_distance


def clip() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    depth = torch.rand(2, 3, 8, 10) * 4 + 1
    cameras = rigid(so3_exp(torch.randn(2, 3, 3)), torch.randn(2, 3, 3) * 5)
    return cameras, depth, K_from_fov(torch.full((2, 3, 2), 1.0), (8, 10)), torch.rand(2, 3, 8, 10) < 0.7


def test_the_first_camera_is_the_world_and_the_mean_distance_is_one() -> None:
    cameras, depth, K, valid = clip()
    truth = normalise_truth(cameras, depth, K, valid)
    torch.testing.assert_close(truth.world_from_cam[:, 0], torch.eye(4).expand(2, 4, 4), atol=1e-5, rtol=0)
    for b in range(2):
        assert abs(truth.points[b][valid[b]].norm(dim=-1).mean() - 1) < 1e-4
    torch.testing.assert_close(truth.points, depth_to_world(truth.depth, K, truth.world_from_cam), atol=1e-5, rtol=1e-4)


def test_neither_units_nor_the_choice_of_world_matter() -> None:
    cameras, depth, K, valid = clip()
    elsewhere = rigid(so3_exp(torch.randn(3)), torch.randn(3))
    scaled = rigid(cameras[..., :3, :3], cameras[..., :3, 3] * 7)
    one, other = normalise_truth(cameras, depth, K, valid), normalise_truth(elsewhere @ scaled, depth * 7, K, valid)
    torch.testing.assert_close(one.depth, other.depth, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.points, other.points, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(other.scale / one.scale, torch.full((2,), 7.0), rtol=1e-4, atol=0)


def test_a_clip_without_depth_stays_finite() -> None:
    cameras, depth, K, valid = clip()
    truth = normalise_truth(cameras, depth * 0, K, torch.zeros_like(valid))
    assert truth.points.isfinite().all()


def test_unit_distance_removes_the_scale_of_a_prediction() -> None:
    points, valid = torch.randn(2, 3, 8, 10, 3), torch.ones(2, 3, 8, 10, dtype=torch.bool)
    torch.testing.assert_close(unit_distance(points * 9, valid)[0], unit_distance(points, valid)[0])
