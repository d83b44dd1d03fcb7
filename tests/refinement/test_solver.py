"""The bundle adjustment: derivatives, exact answers, outliers, priors, and the same answer as pycolmap's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from openmore.refinement.adjustment import blocktri, terms
from openmore.refinement.adjustment.blocktri import CameraSystem
from openmore.refinement.adjustment.bundle import Observations, State, linearise, residuals, tangent_basis
from openmore.refinement.adjustment.coupling import Coupling
from openmore.refinement.adjustment.rotations import exp_so3
from openmore.refinement.adjustment.solver import Settings, camera_covariance, solve
from openmore.refinement.adjustment.terms import DepthPrior
from openmore.refinement.cameras.shot import world_from_cam
from openmore.refinement.matching.tracks import table
from tests.refinement.world import points_problem, position_error, rotation_errors_deg, shaken


def all_but_first(frames: int) -> np.ndarray:
    return np.arange(frames) > 0


def rms(state: State, obs: Observations) -> float:
    return float(np.sqrt(np.square(residuals(state, obs)[0]).sum(1).mean()))


def test_derivatives_are_those_of_the_residuals() -> None:
    state, obs = points_problem(3, 8)
    state = shaken(state, 0.05)
    lin, h = linearise(state, obs), 1e-6
    for k in range(6):
        step = np.zeros((3, 6))
        step[:, k] = h
        moved = residuals(state.moved(step, np.zeros(1), np.zeros((8, 3))), obs)[0]
        np.testing.assert_allclose((moved - lin.residual) / h, lin.camera[:, :, k], rtol=1e-4, atol=5e-3)
    for k in range(3):
        step = np.zeros((8, 3))
        step[:, k] = h
        moved = residuals(state.moved(np.zeros((3, 6)), np.zeros(1), step), obs)[0]
        np.testing.assert_allclose((moved - lin.residual) / h, lin.point[:, :, k], rtol=1e-4, atol=5e-3)
    moved = residuals(state.moved(np.zeros((3, 6)), np.array([h]), np.zeros((8, 3))), obs)[0]
    np.testing.assert_allclose((moved - lin.residual) / h, lin.shared[:, :, 0], rtol=1e-4, atol=5e-3)


def test_the_depth_prior_descends_its_own_cost() -> None:
    """b of the blocks is minus half the gradient of the cost, where the loss is not yet robust."""
    state, obs = points_problem(3, 6)
    state = replace(shaken(state, 0.01), depth_scale=np.full(3, 0.02), depth_shift=np.full(3, -0.01))
    prior, h = DepthPrior(sigma=1.0), 1e-5
    rows, blocks = terms.depth_blocks(state, obs, prior, 1)
    b = np.zeros((3, 8))
    np.add.at(b, obs.frame[rows], blocks.bc)
    held = np.zeros((3, 8, 8))
    prior.hold(state, held, b)

    def cost(k: int, size: float) -> float:
        step = np.zeros((3, 8))
        step[1, k] = size
        moved = state.moved(step, np.zeros(1), np.zeros((6, 3)))
        return prior.cost(moved, obs, residuals(moved, obs)[1])

    for k in range(8):
        assert -(cost(k, h) - cost(k, -h)) / (4 * h) == pytest.approx(b[1, k], rel=1e-3, abs=1e-4)


def test_exact_observations_give_exact_cameras() -> None:
    truth, obs = points_problem()
    start = shaken(truth)
    assert rms(start, obs) > 5
    solution = solve(start, obs, Settings(all_but_first(6), iterations=40, tolerance=0.0))
    assert rms(solution.state, obs) < 1e-5 and solution.cost < 1e-6 < solution.initial_cost
    ours, true = world_from_cam(solution.state), world_from_cam(truth)
    assert rotation_errors_deg(ours, true).max() < 1e-4 and position_error(ours, true) < 1e-5


def test_cameras_that_are_not_free_do_not_move() -> None:
    truth, obs = points_problem(5, 40)
    free = np.array([False, True, False, True, True])
    moved = solve(shaken(truth), obs, Settings(free)).state
    np.testing.assert_array_equal(moved.R[~free], shaken(truth).R[~free])
    np.testing.assert_array_equal(moved.t[~free], shaken(truth).t[~free])


def test_a_fifth_of_gross_errors_does_not_matter() -> None:
    truth, obs = points_problem(6, 80, noise_px=0.2)
    rng = np.random.default_rng(3)
    uv = obs.uv.copy()
    wrong = rng.random(len(obs)) < 0.2
    uv[wrong] += rng.uniform(-60, 60, (int(wrong.sum()), 2))
    spoiled = replace(obs, uv=uv)
    robust, plain = (
        solve(shaken(truth, 0.005), spoiled, Settings(all_but_first(6), robust_px=width, iterations=60)).state
        for width in (1.0, 1e3)
    )
    assert rotation_errors_deg(world_from_cam(robust), world_from_cam(truth)).max() < 0.3
    assert rotation_errors_deg(world_from_cam(plain), world_from_cam(truth)).max() > 1


def test_an_observation_of_weight_zero_is_not_there() -> None:
    truth, obs = points_problem(4, 30)
    rng = np.random.default_rng(0)
    off = rng.random(len(obs)) < 0.3
    spoiled = replace(obs, uv=obs.uv + 30.0 * off[:, None], weight=1.0 - off)
    settings = Settings(all_but_first(4), iterations=40, tolerance=0.0)
    solved = solve(shaken(truth, 0.003), spoiled, settings).state
    assert rms(solved, spoiled.select(~off)) < 1e-4


def test_a_free_focal_length_is_found_and_a_given_one_stays() -> None:
    truth, obs = points_problem(6, 80)
    start = replace(shaken(truth, 0.005), focal=260.0)
    settings = Settings(all_but_first(6), free_focal=True, iterations=60, tolerance=0.0)
    assert solve(start, obs, settings).state.focal == pytest.approx(210.0, rel=1e-3)
    assert solve(start, obs, replace(settings, free_focal=False)).state.focal == 260.0


def test_depth_and_its_scale_and_shift_are_one_geometry() -> None:
    """Predicted depth with another scale and shift in every frame: the solver finds both, and the truth stays best."""
    truth, obs = points_problem(5, 60)
    scale, shift = np.array([1.0, 1.2, 0.9, 1.1, 0.95]), np.array([0, 0.05, -0.05, 0.02, 0.0])
    predicted = replace(obs, depth=(obs.depth - shift[obs.frame]) / scale[obs.frame])
    prior = DepthPrior(sigma=0.02, scale_sigma=1.0, shift_sigma=1.0)
    settings = Settings(all_but_first(5), iterations=60, tolerance=0.0, depth=prior)
    solved = solve(shaken(truth, 0.005), predicted, settings).state
    np.testing.assert_allclose(np.exp(solved.depth_scale) / np.exp(solved.depth_scale[0]), scale / scale[0], rtol=0.03)
    assert position_error(world_from_cam(solved), world_from_cam(truth)) < 5e-3


SHARED = np.array([[30.0, 1, 2], [1, 40, 3], [2, 3, 50]])


def random_system(rng: np.random.Generator, group: int) -> tuple[CameraSystem, np.ndarray]:
    """A banded positive definite system of 11 frames, one of them held, and its dense matrix without the border."""
    S, c, span = 11, 6, 3
    free = np.arange(S) != 4
    A = np.zeros((S, c, S, c))
    for i in range(S):
        for k in range(max(0, i - span), i):
            A[i, :, k, :] = rng.normal(size=(c, c)) * 0.3
            A[k, :, i, :] = A[i, :, k, :].T
        own = rng.normal(size=(c, c))
        A[i, :, i, :] = own @ own.T + 20 * np.eye(c)
    diagonal = np.stack([A[i, :, i, :] for i in range(S)])
    b, g = rng.normal(size=(S, c)), rng.normal(size=(S, c, 3))
    system = CameraSystem(diagonal, b, g, SHARED, np.array([0.7, -0.4, 0.2]), free, np.array([True, False, True]), span)
    later, earlier = np.array([(i, k) for i in range(S) for k in range(max(0, i - span), i) if free[i] and free[k]]).T
    system.subtract(later, earlier, -A[later, :, earlier, :])
    return system, A[free][:, :, free].reshape(60, 60)


@pytest.mark.parametrize("group", [3, 24])
def test_the_banded_system_is_the_dense_one(monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    monkeypatch.setattr(blocktri, "GROUP", group)
    system, dense = random_system(np.random.default_rng(0), group)
    assert len(system.D) == (4 if group == 3 else 1)
    solved = system.solve()
    assert solved is not None
    g = system.g[system.free][..., [0, 2]].reshape(60, 2)
    bordered = np.block([[dense, g], [g.T, SHARED[::2, ::2]]])
    expected = np.linalg.solve(bordered, np.r_[system.b[system.free].ravel(), 0.7, 0.2])
    np.testing.assert_allclose(np.r_[solved[0][system.free].ravel(), solved[1][[0, 2]]], expected, atol=1e-10)
    assert (solved[0][4] == 0).all() and solved[1][1] == 0
    inverse = np.linalg.inv(dense).reshape(10, 6, 10, 6)
    covariance = system.covariance()
    np.testing.assert_allclose(covariance[system.free], inverse[np.arange(10), :, np.arange(10), :], atol=1e-10)


def test_uncertainty_is_the_scatter_of_many_solves() -> None:
    truth, obs = points_problem(4, 40)
    settings = Settings(all_but_first(4), robust_px=50.0, iterations=6)
    sigma = np.sqrt(np.einsum("sii->si", camera_covariance(truth, obs, settings)))
    assert (sigma[0] == 0).all()
    rng, turns = np.random.default_rng(0), []
    for _ in range(40):
        noisy = replace(obs, uv=obs.uv + 0.3 * rng.normal(size=obs.uv.shape))
        turn = solve(truth, noisy, settings).state.R @ truth.R.swapaxes(1, 2)
        turns.append(np.stack((turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]), 1))
    np.testing.assert_allclose(np.std(turns, axis=0)[1:], 0.3 * sigma[1:, :3], rtol=0.5)


def test_tangent_directions_are_orthonormal() -> None:
    unit = np.random.default_rng(0).normal(size=(50, 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    B = tangent_basis(unit)
    np.testing.assert_allclose(B.swapaxes(1, 2) @ B, np.tile(np.eye(3), (50, 1, 1)), atol=1e-12)
    np.testing.assert_allclose((B.swapaxes(1, 2) @ unit[..., None])[..., 0], 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(exp_so3(unit[:, :3])), 1, atol=1e-12)


@pytest.mark.parametrize("largest", [10, 4_000_000])
def test_coupling_is_the_sum_over_all_pairs_of_observations(monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    """Gaps in tracks, fixed cameras, a track of fixed cameras only, and matrices cut into pieces."""
    monkeypatch.setattr("openmore.refinement.adjustment.coupling.LARGEST", largest)
    rng, S, c = np.random.default_rng(0), 23, 6
    seen = rng.random((40, S)) < 0.3
    seen[7], free = np.arange(S) < 2, np.arange(S) > 1
    point, frame = np.nonzero(seen)
    obs = table(point, frame, np.zeros((len(point), 2)), np.ones(len(point)))
    cp, L_inverse = rng.normal(size=(len(obs), c, 3)), rng.normal(size=(40, 3, 3))
    Y = cp @ L_inverse[obs.point].swapaxes(1, 2)
    expected, found = np.zeros((2, S, S, c, c))
    for i in range(len(obs)):
        for k in range(len(obs)):
            if obs.point[i] == obs.point[k] and obs.frame[i] >= obs.frame[k] and free[obs.frame[[i, k]]].all():
                expected[obs.frame[i], obs.frame[k]] += Y[i] @ Y[k].T
    coupling = Coupling(obs, free)
    for later, earlier, blocks in coupling.shares(cp, L_inverse):
        found[later, earlier] += blocks
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert coupling.span >= S - 5
    assert Coupling(obs, np.zeros(S, bool)).span == 0


def test_slices_of_the_observations_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, obs = points_problem(6, 40, noise_px=0.5)
    settings = Settings(all_but_first(6), free_focal=True, iterations=3)
    whole = solve(shaken(truth), obs, settings)
    monkeypatch.setattr("openmore.refinement.adjustment.normal.SLICE", 7)
    cut = solve(shaken(truth), obs, settings)
    assert cut.cost == pytest.approx(whole.cost, rel=1e-9)
    np.testing.assert_allclose(cut.state.t, whole.state.t, atol=1e-9)
