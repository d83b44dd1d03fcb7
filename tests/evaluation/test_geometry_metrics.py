"""Intrinsics, clouds and consistency: zero on truth, the right size on known mistakes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from openmore.errors import DataError
from openmore.evaluation.consistency import consistency, flow_residual
from openmore.evaluation.intrinsics import intrinsics_errors
from openmore.evaluation.points import align_to, cloud_errors
from openmore.geometry.ego_flow import ego_flow
from tests.scenes import camera, render

ORIGINAL, SHAPE = (96, 128), (96, 128)


def scene(count: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Exact depth, K, cameras and static masks of the ray-cast scene."""
    cameras = [camera(i, ORIGINAL) for i in range(count)]
    rendered = [render(c, c.K_at(SHAPE), SHAPE, i) for i, c in enumerate(cameras)]
    depth = np.stack([d for _, d, _ in rendered])
    static = np.stack([~moving for _, _, moving in rendered])
    return depth, np.stack([c.K for c in cameras]), np.stack([c.world_from_cam for c in cameras]), static


def test_focal_and_fov_errors() -> None:
    truth = np.tile(np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]]), (3, 1, 1))
    estimate = truth.copy()
    estimate[:, 0, 0] = estimate[:, 1, 1] = 110
    estimate[:, 0, 2] += 3
    errors = intrinsics_errors(estimate, truth, (80, 100))
    assert errors.focal_relative == pytest.approx(0.1)
    expected = np.degrees(2 * np.abs(np.arctan(np.array([0.5, 0.4])) - np.arctan(np.array([50, 40]) / 110))).mean()
    assert errors.fov_deg == pytest.approx(expected)
    assert errors.principal_point == pytest.approx(3 / np.hypot(80, 100))
    with pytest.raises(DataError, match="must be positive"):
        intrinsics_errors(-estimate, truth, (80, 100))


def test_clouds() -> None:
    pytest.importorskip("scipy")
    truth = np.random.default_rng(0).uniform(0, 10, (500, 3))
    same = cloud_errors(truth, truth, radius=0.01)
    assert (same.chamfer, same.f_score) == (0.0, 1.0)
    half = cloud_errors(truth[:250], truth, radius=0.01)
    assert half.accuracy_mean == 0.0
    assert half.completeness_mean > 0.1
    assert half.f_score == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="0 points"):
        cloud_errors(truth[:0], truth, radius=0.01)


def test_clouds_align_through_correspondences() -> None:
    truth = np.random.default_rng(1).uniform(0, 10, (50, 3))
    moved = 0.3 * truth @ np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0.0]]) + 4
    assert align_to(moved, truth) == pytest.approx(truth)


def test_true_depth_and_cameras_are_consistent() -> None:
    depth, K, pose, static = scene()
    result = consistency(depth, K, pose, static, stride=1)
    assert result.depth_relative < 0.003  # b's depth is read at the nearest pixel
    assert result.round_trip_px < 0.15
    assert result.within_5_percent > 0.97
    assert result.hidden < 0.1


def test_cameras_turned_wrong_are_inconsistent() -> None:
    depth, K, pose, static = scene()
    right = consistency(depth, K, pose, static, stride=1)
    for i in range(len(pose)):
        pose[i, :3, :3] = pose[i, :3, :3] @ Rotation.from_euler("y", 8 * i, degrees=True).as_matrix()
    wrong = consistency(depth, K, pose, static, stride=1)
    assert wrong.depth_relative > 10 * right.depth_relative


def test_flow_sees_a_camera_that_slides_along_a_wall() -> None:
    depth, K, pose, static = scene()
    flow, _ = ego_flow(*(torch.from_numpy(x) for x in (depth[:-1], K[:-1], pose[:-1], K[1:], pose[1:])))
    assert flow_residual(depth, K, pose, flow.numpy(), static) < 1e-6
    sliding = pose.copy()
    sliding[:, 0, 3] *= -1
    assert consistency(depth, K, sliding, static).depth_relative < 0.02
    assert flow_residual(depth, K, sliding, flow.numpy(), static) > 3


def test_movers_spoil_it_unless_they_are_masked() -> None:
    depth, K, pose, static = scene()
    moving_only = consistency(depth, K, pose, ~static, stride=1)
    assert moving_only.round_trip_px > 5 * consistency(depth, K, pose, static, stride=1).round_trip_px


def test_nothing_to_compare_is_said() -> None:
    depth, K, pose, static = scene(2)
    with pytest.raises(DataError, match="no static pixel"):
        consistency(depth, K, pose, np.zeros_like(static))
    with pytest.raises(DataError, match="more frames"):
        consistency(depth, K, pose, gap=2)
