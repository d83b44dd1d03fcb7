from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from openmore.geometry.ego_flow import ego_flow
from openmore.geometry.rigid import rigid
from openmore.geometry.rotation import so3_exp
from tests.geometry.random import Batch, assert_close, batches, intrinsics, normal, seeds, transforms, uniform

I = torch.eye(4, dtype=torch.float64)


@given(st.tuples(st.integers(1, 5), st.integers(1, 5)), seeds)
def test_agrees_with_projection_pixel_by_pixel(shape: tuple[int, int], seed: int) -> None:
    K_a, K_b = intrinsics(seed, (), shape), intrinsics(seed + 7, (), shape)
    depth, cam_a = uniform(seed, 0.5, 9, *shape), transforms(seed, ())
    # Camera b stands near camera a, so that some pixels stay in sight.
    cam_b = cam_a @ rigid(so3_exp(0.02 * normal(seed, 3)), 0.05 * normal(seed + 1, 3))
    flow, valid = ego_flow(depth, K_a, cam_a, K_b, cam_b)
    assert flow.shape == (2, *shape) and valid.shape == shape
    a, b, Ka, Kb = (x.numpy() for x in (cam_a, cam_b, K_a, K_b))
    for v in range(shape[0]):
        for u in range(shape[1]):
            ray = np.linalg.inv(Ka) @ (u, v, 1)
            world = a @ (*(ray * depth[v, u].item()), 1)
            x, y, z = Kb @ (np.linalg.inv(b) @ world)[:3]
            np.testing.assert_allclose(flow[:, v, u], (x / z - u, y / z - v), atol=1e-7)
            inside = 0 <= x / z <= shape[1] - 1 and 0 <= y / z <= shape[0] - 1
            assert valid[v, u].item() == (z > 1e-6 and inside)


@given(batches, seeds)
def test_a_still_camera_has_no_flow(batch: Batch, seed: int) -> None:
    depth, K, cam = uniform(seed, 0.5, 9, *batch, 3, 4), intrinsics(seed, batch, (3, 4)), transforms(seed, batch)
    flow, valid = ego_flow(depth, K, cam, K, cam)
    assert flow.shape == (*batch, 2, 3, 4)
    assert_close(flow, torch.zeros_like(flow), atol=1e-7)
    assert valid[..., 1:-1, 1:-1].all()  # rounding may push the border out


@given(batches, seeds)
def test_the_world_does_not_matter(batch: Batch, seed: int) -> None:
    depth, K = uniform(seed, 0.5, 9, *batch, 3, 4), intrinsics(seed, batch, (3, 4))
    cam_a, elsewhere = transforms(seed, batch), transforms(seed + 5, batch)
    cam_b = cam_a @ rigid(so3_exp(0.05 * normal(seed, *batch, 3)), 0.1 * normal(seed + 2, *batch, 3))
    here, there = ego_flow(depth, K, cam_a, K, cam_b)[0], ego_flow(depth, K, elsewhere @ cam_a, K, elsewhere @ cam_b)[0]
    assert_close(here, there, atol=1e-5)


def test_a_step_to_the_right_moves_pixels_left_by_focal_over_depth() -> None:
    K = torch.tensor([[100.0, 0, 2], [0, 100, 1], [0, 0, 1]], dtype=torch.float64)
    step = I.clone()
    step[0, 3] = 0.02
    flow, valid = ego_flow(torch.full((3, 5), 4.0, dtype=torch.float64), K, I, K, step)
    assert_close(flow[0], torch.full((3, 5), -0.5, dtype=torch.float64))
    assert valid[:, 1:].all() and not valid[:, 0].any()  # the left column leaves the picture


def test_unknown_depth_and_points_behind_the_camera_are_invalid() -> None:
    K = torch.tensor([[10.0, 0, 1], [0, 10, 1], [0, 0, 1]], dtype=torch.float64)
    depth = torch.ones(3, 3, dtype=torch.float64)
    depth[0, 0] = 0
    assert not ego_flow(depth, K, I, K, I)[1][0, 0]
    past = I.clone()
    past[2, 3] = 2.0  # camera b stands behind the surface
    flow, valid = ego_flow(depth, K, I, K, past)
    assert not valid.any() and flow.isfinite().all()
