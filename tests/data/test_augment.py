"""Augmentation keeps the geometry: cameras, depth, flow and pictures change together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openmore.data.augment import ColourJitter, draw_shape, jitter_colours, resize_and_crop
from openmore.data.sample import Sample
from openmore.data.synthetic import Recipe, make_clip
from openmore.errors import ConfigError
from openmore.geometry.camera import depth_to_world, project
from openmore.geometry.ego_flow import ego_flow
from openmore.geometry.rigid import invert, transform_points
from tests.data.test_sample import make_sample


def sloped_plane(shape: tuple[int, int], cx: float, cy: float) -> Sample:
    """Three views of the plane n . X = 4 with exact depth and flow, principal point anywhere."""
    sample = make_sample(3, shape)
    K = np.array([[shape[1] * 0.9, 0, cx], [0, shape[1] * 0.9, cy], [0, 0, 1.0]])
    n = np.array([0.3, -0.2, 0.9])
    v, u = np.mgrid[: shape[0], : shape[1]]
    rays = np.stack(((u - cx) / K[0, 0], (v - cy) / K[1, 1], np.ones(shape)), -1)
    world_from_cam = np.tile(np.eye(4), (3, 1, 1))
    world_from_cam[:, :3, 3] = [[0, 0, 0], [0.3, 0.1, 0], [0.5, 0.1, 0.2]]
    depth = np.stack([(4 - n @ t) / (rays @ n) for t in world_from_cam[:, :3, 3]]).astype(np.float32)
    sample = replace(sample, depth=depth, K=np.tile(K, (3, 1, 1)), world_from_cam=world_from_cam, motion=None)
    D, k, w = (torch.from_numpy(x).double() for x in (depth, sample.K, world_from_cam))
    flow, _ = ego_flow(D[:-1], k[:-1], w[:-1], k[1:], w[1:])
    forward = np.full((3, 2, *shape), np.nan, np.float32)
    forward[:-1] = flow.numpy()
    return replace(sample, flow_forward=forward, flow_backward=None, valid=None).check()


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(20, 60), width=st.integers(20, 60), target=st.tuples(st.integers(8, 48), st.integers(8, 48)),
    off=st.tuples(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15)),
)  # fmt: skip
def test_points_stay_on_their_surface_and_flow_follows_the_new_cameras(height, width, target, off) -> None:
    sample = sloped_plane((height, width), (0.5 + off[0]) * width, (0.5 + off[1]) * height)
    out = resize_and_crop(sample, target).check()
    assert out.shape == target
    depth, K, pose = (torch.from_numpy(x).double() for x in (out.depth, out.K, out.world_from_cam))
    points = depth_to_world(depth, K, pose)
    # Nearest depth is off by at most half a source pixel along the slope.
    pixel = float(depth.max()) / sample.K[0, 0, 0]
    n = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
    assert (points @ n - 4).abs().max() < 1.2 * pixel
    uv, z = project(transform_points(invert(pose), points), K)
    grid = np.stack(np.meshgrid(np.arange(target[1]), np.arange(target[0])), -1)
    np.testing.assert_allclose(uv.numpy(), np.broadcast_to(grid, uv.shape), atol=1e-6)
    np.testing.assert_allclose(z.numpy(), out.depth, rtol=1e-6)
    flow, _ = ego_flow(depth[:-1], K[:-1], pose[:-1], K[1:], pose[1:])
    scale = out.K[0, 0, 0] / sample.K[0, 0, 0]
    assert np.abs(flow.numpy() - out.flow_forward[:-1]).max() < 0.1 * max(scale, 1.0) + 0.1
    assert out.K[0, 0, 0] / out.K[0, 1, 1] == pytest.approx(1.0, abs=1.5 / min(height, width) + 1.5 / min(target))


def test_the_principal_point_ends_in_the_middle() -> None:
    out = resize_and_crop(sloped_plane((60, 80), 34.0, 33.0), (28, 42))
    assert abs(out.K[0, 0, 2] + 0.5 - 21) <= 0.51 and abs(out.K[0, 1, 2] + 0.5 - 14) <= 0.51


def test_pictures_move_with_their_camera() -> None:
    """A bright dot drawn where a point projects is still there after the change."""
    sample = sloped_plane((60, 80), 41.0, 28.0)
    images = np.zeros_like(sample.images)
    images[:, 30:33, 50:53] = 255
    out = resize_and_crop(replace(sample, images=images), (35, 49))
    weight = out.images[0, ..., 0].astype(float)
    v, u = np.mgrid[:35, :49]
    centre = np.array([(weight * u).sum(), (weight * v).sum()]) / weight.sum()
    K, new = sample.K[0], out.K[0]
    expected = (np.array([51, 31]) - K[:2, 2]) / np.diag(K)[:2] * np.diag(new)[:2] + new[:2, 2]
    np.testing.assert_allclose(centre, expected, atol=0.1)


def test_a_synthetic_clip_keeps_its_labels() -> None:
    sample = make_clip(2, 2, (42, 56), recipe=Recipe(movers=(4, 6)))
    out = resize_and_crop(sample, (28, 28)).check()
    assert set(np.unique(out.motion)) <= {0, 1}
    assert set(np.unique(out.instances)) <= set(np.unique(sample.instances))
    assert np.array_equal(out.depth == 0, out.sky)


def test_the_drawn_size_keeps_the_long_side_and_the_patch_grid() -> None:
    rng = np.random.default_rng(0)
    shapes = [draw_shape(rng, (480, 640)) for _ in range(200)]
    assert {w for _, w in shapes} == {518}
    assert all(h % 14 == 0 and 300 <= h <= 476 for h, _ in shapes) and len({h for h, _ in shapes}) > 5
    assert draw_shape(rng, (640, 480))[0] == 518
    assert draw_shape(rng, (10, 1000)) == (140, 518)
    with pytest.raises(ConfigError, match="not a multiple"):
        draw_shape(rng, (480, 640), long_side=500)


def test_colours_change_per_clip_or_per_frame_and_geometry_never() -> None:
    sample = make_sample(4, (16, 16))
    sample.images[:] = sample.images[0]
    always = ColourJitter(probability=1.0, per_clip=1.0)
    together = jitter_colours(sample, np.random.default_rng(1), always)
    assert (together.images == together.images[0]).all() and (together.images != sample.images).any()
    apart = jitter_colours(sample, np.random.default_rng(1), replace(always, per_clip=0.0))
    assert (apart.images[0] != apart.images[1]).any()
    assert apart.depth is sample.depth and apart.K is sample.K
    never = jitter_colours(sample, np.random.default_rng(1), replace(always, probability=0.0))
    assert np.array_equal(never.images, sample.images)
    grey = jitter_colours(sample, np.random.default_rng(1), replace(always, grey=1.0)).images.astype(int)
    assert np.ptp(grey, axis=-1).max() <= 1
