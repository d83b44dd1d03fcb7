from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from openmore.geometry.camera import (
    K_from_fov,
    depth_to_world,
    fov_from_K,
    pixel_grid,
    project,
    scale_K,
    unproject,
)
from openmore.geometry.pose_code import decode_pose, encode_pose
from openmore.geometry.rigid import invert, rigid
from openmore.geometry.rotation import rotation_angle
from tests.geometry.random import Batch, assert_close, batches, intrinsics, normal, seeds, transforms, uniform

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))


def test_pixel_centres_are_integers() -> None:
    grid = pixel_grid((2, 3))
    assert grid.shape == (2, 3, 2) and grid[1, 2].tolist() == [2, 1]  # (u, v) = (column, row)


def test_by_hand() -> None:
    """The pixel at the principal point looks along z; one pixel to the right is z / fx away."""
    K = torch.tensor([[10.0, 0, 1], [0, 5, 0], [0, 0, 1]])
    points = unproject(torch.full((2, 3), 20.0), K)
    assert points[0, 1].tolist() == [0, 0, 20] and points[1, 2].tolist() == [2, 4, 20]


@given(batches, shapes, seeds)
def test_unproject_and_project_are_inverse(batch: Batch, shape: tuple[int, int], seed: int) -> None:
    depth, K = uniform(seed, 0.1, 50, *batch, *shape), intrinsics(seed, batch, shape)
    uv, z = project(unproject(depth, K), K)
    assert uv.shape == (*batch, *shape, 2)
    assert_close(z, depth)
    assert_close(uv, pixel_grid(shape, dtype=torch.float64).expand_as(uv))


@given(batches, batches, seeds)
def test_project_is_K_times_x(batch: Batch, extra: Batch, seed: int) -> None:
    points, K = normal(seed, *batch, *extra, 3), intrinsics(seed, batch, (8, 8))
    points[..., 2] = points[..., 2].abs() + 0.1
    uv, z = project(points, K)
    flat = points.reshape(*batch, -1, 3) if points.numel() else points.new_zeros(*batch, 0, 3)
    homogeneous = flat @ K.transpose(-1, -2)
    expected = homogeneous[..., :2] / homogeneous[..., 2:]
    assert_close(uv.reshape(expected.shape), expected)
    assert_close(z, points[..., 2])


def test_points_behind_or_in_the_camera_stay_finite() -> None:
    points = torch.tensor([[1.0, 1, 0], [1, 1, -1], [0, 0, 0]])
    uv, z = project(points, torch.eye(3))
    assert uv.isfinite().all() and z.tolist() == [0, -1, 0]


@given(batches, shapes, seeds)
def test_world_points_lie_on_the_rays_of_their_camera(batch: Batch, shape: tuple[int, int], seed: int) -> None:
    depth, K = uniform(seed, 0.1, 9, *batch, *shape), intrinsics(seed, batch, shape)
    world_from_cam = transforms(seed, batch)
    world = depth_to_world(depth, K, world_from_cam)
    R, t = (part.unflatten(-2, (1, 1, -1)) for part in (world_from_cam[..., :3, :3], world_from_cam[..., :3, 3:]))
    cam = (R.transpose(-1, -2) @ (world[..., None] - t)).squeeze(-1)
    assert_close(cam, unproject(depth, K))


@given(batches, shapes, seeds)
def test_fov_and_K_are_inverse(batch: Batch, shape: tuple[int, int], seed: int) -> None:
    fov = uniform(seed, 0.05, 3.0, *batch, 2)
    K = K_from_fov(fov, shape)
    assert K.shape == (*batch, 3, 3)
    assert_close(fov_from_K(K, shape), fov)
    assert_close(K[..., :2, 2], torch.tensor([shape[1] / 2, shape[0] / 2]).double().expand(*batch, 2))


def test_the_vertical_fov_comes_first() -> None:
    K = K_from_fov(torch.tensor([torch.pi / 2, torch.pi / 3]), (100, 200))
    assert K[1, 1] == pytest.approx(50) and K[0, 0] == pytest.approx(100 * 3**0.5)


def test_a_field_of_view_of_zero_stays_finite() -> None:
    assert K_from_fov(torch.zeros(2), (14, 14)).isfinite().all()


@given(batches, seeds, st.floats(0.1, 9), st.floats(0.1, 9))
def test_scaled_K_projects_to_scaled_pixels(batch: Batch, seed: int, x: float, y: float) -> None:
    K, points = intrinsics(seed, batch, (8, 8)), normal(seed, *batch, 4, 3) + torch.tensor([0.0, 0, 9])
    uv, _ = project(points, K)
    scaled, _ = project(points, scale_K(K, x, y))
    assert_close(scaled, uv * torch.tensor([x, y], dtype=torch.float64))


@given(batches, shapes, seeds)
def test_pose_code_goes_there_and_back(batch: Batch, shape: tuple[int, int], seed: int) -> None:
    cam_from_world, fov = transforms(seed, batch), uniform(seed, 0.1, 3.0, *batch, 2)
    K = K_from_fov(fov, shape)
    code = encode_pose(cam_from_world, K, shape)
    assert code.shape == (*batch, 9) and (code[..., 6] >= 0).all()
    assert_close(code[..., :3], cam_from_world[..., :3, 3])
    assert_close(code[..., 7:], fov)
    back, K_back = decode_pose(code, shape)
    assert_close(back, cam_from_world)
    assert_close(K_back, K)
    assert_close(encode_pose(cam_from_world[..., :3, :], K, shape), code)


def test_reference_pose_codes(golden: Path) -> None:
    path = golden / "pose_encoding.safetensors"
    with safe_open(path, "pt") as file:
        shape = tuple(json.loads(file.metadata()["json"])["image_size_hw"])
    data = load_file(path)
    close = {"rtol": 1e-6, "atol": 1e-6}

    code = encode_pose(data["in/extrinsics"], data["in/intrinsics"], shape)
    expected = data["out/pose_enc"]
    torch.testing.assert_close(code[..., [0, 1, 2, 7, 8]], expected[..., [0, 1, 2, 7, 8]], **close)
    # An exact half turn has two quaternions: compare the rotations they mean.
    ours, theirs = decode_pose(code, shape)[0][..., :3, :3], decode_pose(expected, shape)[0][..., :3, :3]
    assert rotation_angle(ours.transpose(-1, -2) @ theirs).max() < 1e-5
    ordinary = expected[..., 6].abs() > 1e-3
    torch.testing.assert_close(code[ordinary], expected[ordinary], **close)

    off_centre = encode_pose(data["in/extrinsics"], data["in/intrinsics_offcentre"], shape)
    torch.testing.assert_close(off_centre[..., 7:], data["out/pose_enc_offcentre"][..., 7:], **close)

    for name in ("", "raw_"):
        source = expected if not name else data["in/raw_pose_enc"]
        cam_from_world, K = decode_pose(source, shape)
        torch.testing.assert_close(cam_from_world[..., :3, :], data[f"out/{name}decoded_extrinsics"], rtol=0, atol=1e-5)
        torch.testing.assert_close(K, data[f"out/{name}decoded_intrinsics"], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(encode_pose(cam_from_world, K, shape), data["out/raw_reencoded"], rtol=1e-5, atol=1e-5)


def test_reference_unprojection(golden: Path) -> None:
    data = load_file(golden / "unprojection.safetensors")
    depth, K, extrinsics = data["in/depth"].squeeze(-1), data["in/intrinsics"], data["in/extrinsics"]
    assert (depth == 0).any()  # zero depth is not masked: it maps to the camera centre
    points = unproject(depth, K)
    assert_relative(points, data["out/camera_points"])
    world_from_cam = invert(rigid(extrinsics[..., :3], extrinsics[..., 3]))
    assert_relative(world_from_cam, data["out/camera_to_world"])
    assert_relative(depth_to_world(depth, K, world_from_cam), data["out/world_points"].float())


def assert_relative(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
