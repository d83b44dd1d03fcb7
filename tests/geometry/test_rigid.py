from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from openmore.geometry.rigid import invert, relative_to_first, rigid, transform_points
from tests.geometry.random import Batch, assert_close, batches, normal, rotations, seeds, transforms

I = torch.eye(4, dtype=torch.float64)


@given(batches, seeds)
def test_rigid_puts_its_parts_in_place(batch: Batch, seed: int) -> None:
    R, t = rotations(seed, batch), normal(seed, *batch, 3)
    T = rigid(R, t)
    assert T.shape == (*batch, 4, 4)
    assert_close(T[..., :3, :3], R)
    assert_close(T[..., :3, 3], t)
    assert_close(T[..., 3, :], I[3].expand(*batch, 4))


@given(batches, seeds)
def test_inverse(batch: Batch, seed: int) -> None:
    T = transforms(seed, batch)
    assert_close(invert(T) @ T, I.expand_as(T))
    assert_close(invert(T), torch.linalg.inv(T))
    assert_close(invert(invert(T)), T)


@given(batches, batches, seeds)
def test_points_follow_their_batch_over_any_number_of_dimensions(batch: Batch, extra: Batch, seed: int) -> None:
    T, points = transforms(seed, batch), normal(seed, *batch, *extra, 3)
    moved = transform_points(T, points)
    assert moved.shape == points.shape
    flat = points.reshape(*batch, -1, 3) if points.numel() else points.new_zeros(*batch, 0, 3)
    homogeneous = torch.cat((flat, torch.ones_like(flat[..., :1])), -1)
    expected = (homogeneous @ T.transpose(-1, -2))[..., :3]
    assert_close(moved.reshape(expected.shape), expected)


@given(batches, seeds)
def test_transforms_compose(batch: Batch, seed: int) -> None:
    c_from_b, b_from_a, points = transforms(seed, batch), transforms(seed + 9, batch), normal(seed, *batch, 5, 3)
    assert_close(
        transform_points(c_from_b, transform_points(b_from_a, points)), transform_points(c_from_b @ b_from_a, points)
    )


@given(batches, st.integers(1, 4), seeds)
def test_relative_to_first(batch: Batch, count: int, seed: int) -> None:
    world_from_cam = transforms(seed, (*batch, count))
    relative = relative_to_first(world_from_cam)
    assert_close(relative[..., 0, :, :], I.expand(*batch, 4, 4))
    # Another world changes nothing, and neither do the motions between the cameras.
    assert_close(relative_to_first(transforms(seed + 5, batch)[..., None, :, :] @ world_from_cam), relative)
    if count > 1:
        between = [invert(poses[..., :-1, :, :]) @ poses[..., 1:, :, :] for poses in (world_from_cam, relative)]
        assert_close(*between)
