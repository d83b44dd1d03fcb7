"""Bare rooms: exact geometry, honest masks, the same bytes for the same seed."""

from __future__ import annotations

import torch

from openmore.data.synthetic.rooms import make_rooms
from openmore.geometry.camera import depth_to_world, project
from openmore.geometry.rigid import invert, transform_points


def test_static_points_of_frame_0_land_where_later_frames_see_them() -> None:
    made = make_rooms(range(6), frames=4, shape=(42, 56), objects=0)
    points = depth_to_world(made.depth, made.K, made.world_from_cam)[:, 0]
    uv, z = project(transform_points(invert(made.world_from_cam[:, 3]), points), made.K[:, 3])
    column, row = uv.round().long().unbind(-1)
    inside = (z > 0.1) & (column >= 0) & (column < 56) & (row >= 0) & (row < 42)
    there = made.depth[:, 3].flatten(1).gather(1, (row.clamp(0, 41) * 56 + column.clamp(0, 55)).flatten(1))
    error = ((there.view_as(z) - z).abs() / z)[inside]
    assert inside.float().mean() > 0.2
    assert error.median() < 0.02  # nearest pixel of a slanted wall, not the exact point


def test_only_movers_are_marked_and_the_first_camera_is_the_world() -> None:
    made = make_rooms(range(20), frames=2, shape=(28, 42))
    torch.testing.assert_close(made.world_from_cam[:, 0], torch.eye(4).expand(20, 4, 4), atol=1e-5, rtol=0)
    assert (made.instances[made.motion == 1] > 0).all()  # the room itself never moves
    assert 0 < made.motion.float().mean() < 0.5
    assert (make_rooms(range(3), frames=2, shape=(28, 42), objects=0).motion == 0).all()


def test_a_seed_fixes_every_byte_whatever_shares_its_batch() -> None:
    alone, together = make_rooms([7], 3, (28, 42)), make_rooms([5, 7, 9], 3, (28, 42))
    for name in ("images", "depth", "motion", "K", "world_from_cam"):
        a, b = getattr(alone, name)[0], getattr(together, name)[1]
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    again = make_rooms([7], 3, (28, 42))
    assert torch.equal(alone.images, again.images)
