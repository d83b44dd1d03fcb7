from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import pytest
import roma
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from openmore.geometry.rotation import (
    matrix_to_quaternion,
    quaternion_to_matrix,
    rotation_angle,
    skew,
    so3_exp,
    so3_log,
)
from tests.geometry.random import Batch, assert_close, batches, normal, rotations, seeds

I = torch.eye(3, dtype=torch.float64)


def half_turns() -> Tensor:
    """[13, 3, 3]: turns by exactly pi about every axis of a cube: edges, faces and corners."""
    axes = [a for a in product((-1.0, 0.0, 1.0), repeat=3) if a > (0.0, 0.0, 0.0)]
    n = torch.nn.functional.normalize(torch.tensor(axes, dtype=torch.float64), dim=-1)
    return 2 * n[:, :, None] * n[:, None] - I


@given(batches, seeds, st.floats(1e-3, 1e3))
def test_quaternions_of_any_norm_decode_to_rotations(batch: Batch, seed: int, norm: float) -> None:
    xyzw = normal(seed, *batch, 4)
    R = quaternion_to_matrix(norm * xyzw)
    assert R.shape == (*batch, 3, 3)
    assert_close(R, roma.unitquat_to_rotmat(torch.nn.functional.normalize(xyzw, dim=-1)))
    assert_close(R @ R.transpose(-1, -2), I.expand_as(R))
    assert_close(torch.linalg.det(R), torch.ones(batch, dtype=torch.float64))


@given(batches, seeds)
def test_quaternion_round_trip_keeps_w_positive(batch: Batch, seed: int) -> None:
    R = rotations(seed, batch)
    q = matrix_to_quaternion(R)
    assert q.shape == (*batch, 4) and (q[..., 3] >= 0).all()
    assert_close(q.norm(dim=-1), torch.ones(batch, dtype=torch.float64))
    assert_close(quaternion_to_matrix(q), R)


@given(seeds)
def test_quaternion_agrees_with_roma(seed: int) -> None:
    R = rotations(seed, (20,))
    theirs = roma.rotmat_to_unitquat(R)
    assert_close(matrix_to_quaternion(R), torch.where(theirs[:, 3:] < 0, -theirs, theirs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_half_turns_are_exact(dtype: torch.dtype) -> None:
    R = half_turns().to(dtype)
    tolerance = {"rtol": 0.0, "atol": 20 * torch.finfo(dtype).eps}
    torch.testing.assert_close(quaternion_to_matrix(matrix_to_quaternion(R)), R, **tolerance)
    torch.testing.assert_close(so3_exp(so3_log(R)), R, **tolerance)
    angle = rotation_angle(R)  # 5e-13 is what its guard of the gradient costs
    torch.testing.assert_close(angle, torch.full((13,), math.pi, dtype=dtype), rtol=0, atol=1e-12 + tolerance["atol"])


@given(seeds, st.floats(-9, -1))
def test_nearly_half_turns_stay_well_conditioned(seed: int, exponent: float) -> None:
    axis = torch.nn.functional.normalize(normal(seed, 3), dim=-1)
    omega = axis * (math.pi - 10**exponent)
    R = so3_exp(omega)
    assert_close(quaternion_to_matrix(matrix_to_quaternion(R)), R)
    assert_close(so3_log(R), omega, atol=1e-7)


@given(batches, seeds, st.floats(-12, 0.49))
def test_exponential_agrees_with_roma_at_every_size(batch: Batch, seed: int, exponent: float) -> None:
    omega = torch.nn.functional.normalize(normal(seed, *batch, 3), dim=-1) * 10**exponent
    R = so3_exp(omega)
    assert_close(R, roma.rotvec_to_rotmat(omega), atol=1e-12)
    assert_close(so3_log(R), omega, atol=1e-7 if exponent > 0.4 else 1e-12)
    assert_close(rotation_angle(R), omega.norm(dim=-1), atol=1e-7)


@given(seeds)
def test_single_precision_loses_nothing_at_small_angles(seed: int) -> None:
    omega = normal(seed, 50, 3) * torch.logspace(-7, -1, 50, dtype=torch.float64)[:, None]
    torch.testing.assert_close(so3_exp(omega.float()).double(), so3_exp(omega), rtol=0, atol=2e-7)


@given(batches, seeds)
def test_angle_is_geodesic(batch: Batch, seed: int) -> None:
    a, b = rotations(seed, batch), rotations(seed + 1, batch)
    angle = rotation_angle(a.transpose(-1, -2) @ b)
    assert angle.shape == batch
    if 0 not in batch:
        assert_close(angle, roma.rotmat_geodesic_distance(a, b), atol=1e-7)


@given(batches, seeds)
def test_skew_is_the_cross_product(batch: Batch, seed: int) -> None:
    a, b = normal(seed, *batch, 3), normal(seed + 1, *batch, 3)
    assert_close((skew(a) @ b[..., None]).squeeze(-1), torch.linalg.cross(a, b))


def test_identity() -> None:
    zero = torch.zeros(3, dtype=torch.float64)
    assert_close(so3_exp(zero), I)
    assert_close(so3_log(I), zero)
    assert rotation_angle(I) < 1e-11
    assert matrix_to_quaternion(I).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.0, math.pi - 1e-6, math.pi])
def test_gradients_are_finite_and_right(angle: float) -> None:
    omega = (torch.nn.functional.normalize(torch.tensor([1.0, -2.0, 0.5]), dim=0).double() * angle).requires_grad_()
    weights = normal(0, 3, 3)
    assert torch.autograd.gradcheck(lambda w: (so3_exp(w) * weights).sum(), omega, atol=1e-5)
    R = so3_exp(omega).detach().requires_grad_()
    for function in (rotation_angle, matrix_to_quaternion, so3_log):
        (gradient,) = torch.autograd.grad(function(R).sum(), R)
        assert gradient.isfinite().all(), function.__name__


def test_reference_quaternions(golden: Path) -> None:
    data = load_file(golden / "pose_encoding.safetensors")
    R = quaternion_to_matrix(data["in/quats_xyzw_unnormalised"])
    torch.testing.assert_close(R, data["out/quats_to_mat"], rtol=0, atol=1e-6)
    torch.testing.assert_close(
        matrix_to_quaternion(data["out/quats_to_mat"]), data["out/mat_to_quat"], rtol=0, atol=1e-6
    )
