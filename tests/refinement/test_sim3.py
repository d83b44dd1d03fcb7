"""Similarities: the exponential map against the matrix exponential, and the robust fit."""

from __future__ import annotations

import numpy as np
import torch

from openmore.refinement.loops import sim3


def tangents(count: int = 40) -> np.ndarray:
    """Tangent vectors of all sizes: large ones, tiny ones, ones without rotation or without scale."""
    xi = np.random.default_rng(0).normal(size=(count, 7))
    xi[:10] *= 1e-6
    xi[10:20, 3:6] = 0
    xi[20:25, 6] = 0
    xi[30] = 0
    return xi


def generator(xi: np.ndarray) -> np.ndarray:
    """[4, 4] whose matrix exponential is the similarity."""
    x, y, z = xi[3:6]
    out = np.zeros((4, 4))
    out[:3, :3] = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) + xi[6] * np.eye(3)
    out[:3, 3] = xi[:3]
    return out


def test_exp_is_the_matrix_exponential_and_log_undoes_it() -> None:
    xi = tangents()
    S = sim3.exp(xi)
    wanted = torch.linalg.matrix_exp(torch.from_numpy(np.stack([generator(x) for x in xi]))).numpy()
    np.testing.assert_allclose(S, wanted, atol=1e-12, rtol=1e-12)
    short = np.linalg.norm(xi[:, 3:6], axis=1) < 3
    np.testing.assert_allclose(sim3.log(S)[short], xi[short], atol=1e-9)
    np.testing.assert_allclose(sim3.inverse(S) @ S, np.tile(np.eye(4), (len(S), 1, 1)), atol=1e-12)


def test_derivatives_agree_with_differences() -> None:
    xi, d = 0.3 * tangents(), 1e-6 * tangents()[::-1]
    S = sim3.exp(xi)
    carried = (sim3.adjoint(S) @ d[..., None])[..., 0]
    np.testing.assert_allclose(S @ sim3.exp(d), sim3.exp(carried) @ S, atol=1e-11)
    change = sim3.log(S @ sim3.exp(d)) - xi
    np.testing.assert_allclose((sim3.right_jacobian_inverse(xi) @ d[..., None])[..., 0], change, atol=1e-8)


def test_between_goes_from_one_to_the_other() -> None:
    a, b = sim3.exp(0.5 * tangents())[:-1], sim3.exp(0.5 * tangents())[1:]
    n = len(a)
    np.testing.assert_allclose(sim3.between(a, b, np.zeros(n)), a, atol=1e-9)
    np.testing.assert_allclose(sim3.between(a, b, np.ones(n)), b, atol=1e-9)
    half = sim3.between(a, b, np.full(n, 0.5))
    np.testing.assert_allclose(np.square(sim3.scale_of(half)), sim3.scale_of(a) * sim3.scale_of(b), rtol=1e-9)


def test_the_similarity_of_points_is_found_among_wrong_matches() -> None:
    rng = np.random.default_rng(1)
    truth = sim3.exp(np.array([[1.0, -2, 0.5, 0.4, 1.2, -0.7, 0.9]]))[0]
    a = rng.normal(size=(60, 3))
    b = sim3.apply(truth, a)
    b[:36] += rng.normal(size=(36, 3)) * 3
    found, inlier = sim3.ransac(a, b, np.full(60, 0.02))
    np.testing.assert_allclose(found, truth, atol=1e-9)
    assert inlier[36:].all() and not inlier[:36].any()
    assert not sim3.ransac(a[:2], b[:2], np.ones(2))[1].any()


def test_a_mirror_image_is_no_similarity() -> None:
    a = np.random.default_rng(2).normal(size=(1, 30, 3))
    found = sim3.align(a, a * np.array([1, 1, -1.0]))
    assert np.linalg.det(found[0, :3, :3]) > 0
