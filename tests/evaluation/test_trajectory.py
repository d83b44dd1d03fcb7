"""Trajectory metrics: invariances, agreement with evo (the tables' tool), and the ways input can be unusable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from openmore.errors import DataError
from openmore.evaluation.trajectory import TrajectoryErrors, associate, trajectory_errors


def random_trajectory(rng: np.random.Generator, count: int = 40) -> np.ndarray:
    """A smooth random walk of cameras, world_from_cam [count, 4, 4]."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.cumsum(rng.normal(0, 0.1, (count, 3)), 0)).as_matrix()
    poses[:, :3, 3] = np.cumsum(rng.normal(0, 1, (count, 3)), 0)
    return poses


def perturb(rng: np.random.Generator, poses: np.ndarray, noise: float = 0.05) -> np.ndarray:
    out = poses.copy()
    out[:, :3, :3] = out[:, :3, :3] @ Rotation.from_rotvec(rng.normal(0, noise, (len(poses), 3))).as_matrix()
    out[:, :3, 3] += rng.normal(0, noise, (len(poses), 3))
    return out


def similarity(rng: np.random.Generator, poses: np.ndarray) -> np.ndarray:
    R, t, scale = Rotation.random(random_state=rng).as_matrix(), rng.normal(0, 5, 3), rng.uniform(0.1, 10)
    out = poses.copy()
    out[:, :3, :3] = R @ poses[:, :3, :3]
    out[:, :3, 3] = scale * poses[:, :3, 3] @ R.T + t
    return out


def evo_errors(estimate: np.ndarray, truth: np.ndarray, scale: bool = True) -> tuple[float, float, float]:
    from evo.core import metrics
    from evo.core.trajectory import PosePath3D

    est, ref = PosePath3D(poses_se3=list(estimate)), PosePath3D(poses_se3=list(truth))
    est.align(ref, correct_scale=scale)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((ref, est))
    values = [ape.get_statistic(metrics.StatisticsType.rmse)]
    for relation in (metrics.PoseRelation.translation_part, metrics.PoseRelation.rotation_angle_deg):
        rpe = metrics.RPE(relation, delta=1, delta_unit=metrics.Unit.frames, all_pairs=True, rel_delta_tol=0.01)
        rpe.process_data((ref, est))
        values.append(rpe.get_statistic(metrics.StatisticsType.rmse))
    return tuple(values)


def values(errors: TrajectoryErrors) -> list[float]:
    return [errors.ate, errors.rpe_translation, errors.rpe_rotation_deg]


def test_truth_against_itself_is_zero() -> None:
    truth = random_trajectory(np.random.default_rng(0))
    assert values(trajectory_errors(truth, truth)) == pytest.approx([0, 0, 0], abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_similarity_of_the_truth_costs_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_trajectory(rng)
    errors = trajectory_errors(similarity(rng, truth), truth)
    assert values(errors) == pytest.approx([0, 0, 0], abs=1e-6)


def test_agrees_with_evo_on_a_hundred_random_trajectories() -> None:
    rng = np.random.default_rng(7)
    for _ in range(100):
        truth = random_trajectory(rng, int(rng.integers(3, 60)))
        estimate = similarity(rng, perturb(rng, truth, rng.uniform(0.001, 0.5)))
        assert values(trajectory_errors(estimate, truth)) == pytest.approx(evo_errors(estimate, truth), abs=1e-6)
        rigid = values(trajectory_errors(estimate, truth, align="se3"))
        assert rigid == pytest.approx(evo_errors(estimate, truth, scale=False), abs=1e-6)


def kitti(path: Path) -> np.ndarray:
    rows = np.loadtxt(path).reshape(-1, 3, 4)
    return np.concatenate((rows, np.tile([[[0, 0, 0, 1.0]]], (len(rows), 1, 1))), 1)


def test_agrees_with_evo_on_kitti(clips: Path) -> None:
    folder = clips / "trajectories_evo"
    estimate, truth = kitti(folder / "KITTI_00_ORB.txt"), kitti(folder / "KITTI_00_gt.txt")
    errors = trajectory_errors(estimate, truth)
    assert values(errors) == pytest.approx(evo_errors(estimate, truth), abs=1e-6)
    assert errors.ate == pytest.approx(0.822468, abs=1e-6)  # as published beside the files


def test_agrees_with_evo_on_tum_with_association(clips: Path) -> None:
    from evo.core import sync
    from evo.tools import file_interface

    folder = clips / "trajectories_evo"
    ref = file_interface.read_tum_trajectory_file(folder / "fr2_desk_groundtruth.txt")
    est = file_interface.read_tum_trajectory_file(folder / "fr2_desk_ORB.txt")
    pairs = associate(est.timestamps, ref.timestamps, 0.01)
    estimate = np.stack(est.poses_se3)[pairs[:, 0]]
    truth = np.stack(ref.poses_se3)[pairs[:, 1]]
    matched_ref, matched_est = sync.associate_trajectories(ref, est, max_diff=0.01)
    assert len(pairs) == matched_ref.num_poses
    oracle = evo_errors(np.stack(matched_est.poses_se3), np.stack(matched_ref.poses_se3))
    assert values(trajectory_errors(estimate, truth)) == pytest.approx(oracle, abs=1e-6)
    assert trajectory_errors(estimate, truth, align="se3").ate == pytest.approx(0.008119, abs=1e-6)


def test_a_straight_line_is_measured() -> None:
    truth = np.tile(np.eye(4), (10, 1, 1))
    truth[:, 2, 3] = np.arange(10)
    estimate = truth.copy()
    estimate[:, 2, 3] *= 3
    assert values(trajectory_errors(estimate, truth)) == pytest.approx([0, 0, 0], abs=1e-9)


def test_static_cameras_are_refused_or_measured_on_request() -> None:
    moving, still = random_trajectory(np.random.default_rng(0)), np.tile(np.eye(4), (40, 1, 1))
    with pytest.raises(DataError, match="ground truth camera hardly moves"):
        trajectory_errors(moving, still)
    with pytest.raises(DataError, match="estimate camera hardly moves"):
        trajectory_errors(still, moving)
    creeping = moving.copy()
    creeping[:, :3, 3] *= 1e-5
    with pytest.raises(DataError, match="lower the smallest motion"):
        trajectory_errors(moving, creeping)
    assert trajectory_errors(moving, creeping, smallest_motion=0).ate == pytest.approx(0, abs=1e-9)
    errors = trajectory_errors(still, moving, static_estimate=True)
    assert errors.ate == pytest.approx(errors.truth_rms)


def test_poses_that_are_not_finite_are_named() -> None:
    truth = random_trajectory(np.random.default_rng(0))
    broken = truth.copy()
    broken[3, 0, 3] = -np.inf
    with pytest.raises(DataError, match="estimate pose 3 is not finite"):
        trajectory_errors(broken, truth)
    with pytest.raises(DataError, match="ground truth pose 3 is not finite"):
        trajectory_errors(truth, broken)


def test_association_takes_the_nearest() -> None:
    pairs = associate(np.array([0.0, 1.0, 2.0]), np.array([2.015, 0.011, 0.019, 1.5, 5.0]))
    assert pairs.tolist() == [[0, 1], [2, 0]]
    swapped = associate(np.array([2.015, 0.011, 0.019, 1.5, 5.0]), np.array([0.0, 1.0, 2.0]))
    assert swapped.tolist() == [[1, 0], [0, 2]]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # evo is imported in the first example
@given(
    st.lists(st.floats(0, 1, width=32), min_size=2, max_size=30, unique=True),
    st.lists(st.floats(0, 1, width=32), min_size=2, max_size=30, unique=True),
)
def test_association_is_evos(a: list[float], b: list[float]) -> None:
    from evo.core.sync import matching_time_indices

    times_a, times_b = np.sort(a), np.sort(b)
    longer = len(times_b) >= len(times_a)
    short, long = (times_a, times_b) if longer else (times_b, times_a)
    in_short, in_long = matching_time_indices(short, long, 0.02)
    expected = list(zip(in_short, in_long) if longer else zip(in_long, in_short))
    if len(expected) < 2:
        with pytest.raises(DataError, match=r"agree within 0\.02 s"):
            associate(times_a, times_b)
        return
    assert sorted(map(tuple, associate(times_a, times_b).tolist())) == sorted(expected)


def test_no_overlap_says_what_the_files_cover() -> None:
    with pytest.raises(DataError, match=r"cover 0\.000\.\.4\.000 s and 100\.000\.\.104\.000 s"):
        associate(np.arange(5.0), np.arange(100.0, 105.0))
