from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from openmore.geometry.alignment import Similarity, align_points
from openmore.geometry.rotation import rotation_angle, so3_exp
from tests.geometry.random import Batch, assert_close, batches, normal, rotations, seeds, uniform


def similarity(seed: int, batch: Batch) -> Similarity:
    return Similarity(uniform(seed, 0.05, 20, *batch), rotations(seed, batch), 5 * normal(seed + 1, *batch, 3))


def cost(s: Similarity, source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    return (weights * (s.apply(source) - target).square().sum(-1)).sum(-1)


@given(batches, seeds, st.integers(3, 9))
def test_a_similarity_is_recovered(batch: Batch, seed: int, count: int) -> None:
    truth, source = similarity(seed, batch), normal(seed + 2, *batch, count, 3)
    found = align_points(source, truth.apply(source))
    for ours, theirs in zip(found, truth):
        assert_close(ours, theirs, atol=1e-6)


@given(batches, seeds)
def test_points_in_a_plane_suffice(batch: Batch, seed: int) -> None:
    truth, source = similarity(seed, batch), normal(seed + 2, *batch, 6, 3)
    source[..., 2] = 0.3
    for ours, theirs in zip(align_points(source, truth.apply(source)), truth):
        assert_close(ours, theirs, atol=1e-6)


@given(batches, seeds)
def test_without_scale_the_motion_is_rigid(batch: Batch, seed: int) -> None:
    truth, source = similarity(seed, batch), normal(seed + 2, *batch, 6, 3)
    found = align_points(source, truth.apply(source), with_scale=False)
    assert_close(found.scale, torch.ones(batch, dtype=torch.float64))
    assert_close(found.R, truth.R, atol=1e-6)


@given(batches, seeds, st.sampled_from(["noise", "mirror"]))
def test_the_result_is_a_rotation_even_where_a_mirror_fits_better(batch: Batch, seed: int, kind: str) -> None:
    source = normal(seed, *batch, 8, 3)
    mirrored = source * torch.tensor([1.0, 1, -1], dtype=torch.float64)
    found = align_points(source, mirrored if kind == "mirror" else normal(seed + 1, *batch, 8, 3))
    assert_close(torch.linalg.det(found.R), torch.ones(batch, dtype=torch.float64))
    assert_close(found.R @ found.R.transpose(-1, -2), torch.eye(3, dtype=torch.float64).expand(*batch, 3, 3))
    assert (found.scale >= 0).all()


@given(seeds, st.booleans())
def test_no_neighbour_fits_better(seed: int, mirror: bool) -> None:
    """Least squares: turning, scaling or moving the answer a little only raises the weighted cost."""
    source, weights = normal(seed, 8, 3), uniform(seed, 0.1, 3, 8)
    target = source * torch.tensor([1.0, 1, -1]) if mirror else normal(seed + 1, 8, 3)
    found = align_points(source, target, weights=weights)
    best = cost(found, source, target, weights)
    for k in range(20):
        step = 1e-3 * normal(seed + k, 7)
        near = Similarity(found.scale * (1 + step[0]), so3_exp(step[1:4]) @ found.R, found.t + step[4:])
        assert cost(near, source, target, weights) >= best - 1e-12


@given(batches, seeds)
def test_weights_are_repetitions(batch: Batch, seed: int) -> None:
    source, target = normal(seed, *batch, 5, 3), normal(seed + 1, *batch, 5, 3)
    times = torch.tensor([1, 3, 2, 1, 4])
    weighted = align_points(source, target, weights=times.double().expand(*batch, 5))
    repeated = align_points(source.repeat_interleave(times, -2), target.repeat_interleave(times, -2))
    for a, b in zip(weighted, repeated):
        assert_close(a, b, atol=1e-7)


@given(seeds)
def test_a_weight_of_zero_removes_an_outlier(seed: int) -> None:
    truth, source = similarity(seed, ()), normal(seed + 2, 6, 3)
    target = truth.apply(source)
    target[2] += 1000
    weights = torch.ones(6, dtype=torch.float64)
    weights[2] = 0
    assert_close(align_points(source, target, weights=weights).R, truth.R, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(seeds)
def test_coinciding_points_have_scale_one(dtype: torch.dtype, seed: int) -> None:
    """In rounding, the mean of equal numbers is not always that number."""
    source = (100 * normal(seed, 1, 3)).expand(7, 3).to(dtype)
    found = align_points(source, normal(seed + 1, 7, 3).to(dtype))
    assert found.scale == 1
    assert all(part.isfinite().all() for part in found)


def test_points_on_a_line_leave_a_rotation() -> None:
    line = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2, 3])
    found = align_points(line, 2 * line @ rotations(0, ()).T)
    assert_close(found.scale, torch.tensor(2.0, dtype=torch.float64))
    assert rotation_angle(found.R @ found.R.T) < 1e-6 and torch.linalg.det(found.R) > 0
    assert_close(found.apply(line), 2 * line @ rotations(0, ()).T, atol=1e-7)
