"""RRA, RTA, AUC: perfect is perfect, the published quirks are kept, the two aggregations stay apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from openmore.errors import DataError
from openmore.evaluation.relative_pose import auc, by_category, pair_errors, pooled, share_below, summary


def cameras(seed: int, count: int = 10) -> np.ndarray:
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=rng).as_matrix()
    poses[:, :3, 3] = rng.normal(0, 2, (count, 3))
    return poses


def test_truth_against_itself_is_perfect() -> None:
    errors = pair_errors(cameras(0), cameras(0))
    assert len(errors) == 45
    assert all(value == 1.0 for value in summary(errors).values())


def test_a_global_rigid_motion_and_a_scale_cost_nothing() -> None:
    truth = cameras(1)
    moved = cameras(2, 1) @ truth
    moved[:, :3, 3] *= 7.0
    errors = pair_errors(moved, truth)
    assert errors.rotation.max() < 1e-6
    assert errors.translation_signed.max() < 1e-6


def test_rotation_error_is_the_angle_turned() -> None:
    truth = cameras(3, 2)
    estimate = truth.copy()
    estimate[1, :3, :3] = estimate[1, :3, :3] @ Rotation.from_euler("y", 12, degrees=True).as_matrix()
    assert pair_errors(estimate, truth).rotation == pytest.approx([12.0])


def test_a_reversed_translation_is_forgiven_only_by_the_published_variant() -> None:
    truth = np.tile(np.eye(4), (2, 1, 1))
    truth[1, 0, 3] = 1.0
    estimate = truth.copy()
    estimate[1, 0, 3] = -1.0
    errors = pair_errors(estimate, truth)
    assert errors.translation == pytest.approx([0.0])
    assert errors.translation_signed == pytest.approx([180.0])


def test_cameras_that_do_not_move_count_as_ninety_degrees() -> None:
    still = np.tile(np.eye(4), (2, 1, 1))
    assert pair_errors(still, still).translation == pytest.approx([90.0])


def test_a_nan_pose_is_a_miss() -> None:
    truth = cameras(4)
    estimate = truth.copy()
    estimate[0] = np.nan
    assert share_below(pair_errors(estimate, truth).rotation, 30) == pytest.approx(36 / 45)


def test_auc_histogram_quirks() -> None:
    zero = np.zeros(1)
    assert auc(np.array([0.5]), zero) == 1.0  # no interpolation inside the first bin
    assert auc(np.array([29.5]), zero) == pytest.approx(1 / 30)
    assert auc(np.array([30.0]), zero) == pytest.approx(1 / 30)  # the last bin is closed
    assert auc(np.array([30.01]), zero) == 0.0
    assert share_below(np.array([30.0]), 30) == 0.0  # while RRA is strict


def test_auc_stays_within_half_a_bin_of_the_area() -> None:
    errors = np.random.default_rng(0).uniform(0, 60, 4000)
    area = np.mean(np.clip(30 - errors, 0, None)) / 30
    assert 0 <= auc(errors, errors) - area <= 1 / 30


def test_the_two_aggregations_differ_by_category_size() -> None:
    good = pair_errors(cameras(5), cameras(5))
    bad = pair_errors(cameras(6), cameras(7))
    categories = {"many": [good, good, good], "few": [bad]}
    assert pooled(categories)["rra@30"] > by_category(categories)["rra@30"]
    expected = (1 + summary(bad)["auc@30"]) / 2
    assert by_category(categories)["auc@30"] == pytest.approx(expected)


def test_one_image_is_refused() -> None:
    with pytest.raises(DataError, match="2 or more images"):
        pair_errors(cameras(0, 1), cameras(0, 1))
