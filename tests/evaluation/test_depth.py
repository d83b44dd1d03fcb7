"""Depth metrics: exact on truth, the L1 scale shrugs at outliers, masks and caps, published aggregation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from openmore.errors import ConfigError, DataError
from openmore.evaluation.depth import (
    ALIGNMENTS,
    depth_errors,
    resize_depth,
    scale_l1,
    scale_lsq,
    scale_shift_adam,
    weighted_mean,
)


def depth(seed: int = 0, shape: tuple[int, ...] = (3, 20, 30)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 10, shape)


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_truth_against_itself_is_zero(align: str) -> None:
    errors = depth_errors(depth(), depth(), align=align)
    # The published Adam descent jitters by its own step.
    assert errors.abs_rel == pytest.approx(0, abs=2e-4 if align == "scale_shift" else 1e-9)
    assert errors.delta_1 == 1.0


@pytest.mark.parametrize("align", ["scale", "scale_lsq", "median", "scale_shift_lsq"])
def test_a_scaled_truth_is_recovered(align: str) -> None:
    errors = depth_errors(depth() / 3.7, depth(), align=align)
    assert errors.scale == pytest.approx(3.7)
    assert errors.abs_rel == pytest.approx(0, abs=1e-9)


def test_metric_leaves_the_prediction_alone() -> None:
    errors = depth_errors(depth() * 1.5, depth(), align="metric")
    assert errors.abs_rel == pytest.approx(0.5)
    assert errors.delta_1 == 0.0


def test_l1_scale_survives_gross_outliers_and_least_squares_does_not() -> None:
    rng = np.random.default_rng(1)
    p = depth(2).ravel()
    g = 2.0 * p
    g[rng.random(len(g)) < 0.3] *= 8
    assert scale_l1(p, g)[0] == pytest.approx(2.0, rel=0.01)
    assert scale_lsq(p, g)[0] > 3


def test_l1_scale_is_near_the_optimum() -> None:
    rng = np.random.default_rng(3)
    p = depth(4).ravel()
    g = np.maximum(1.8 * p + rng.laplace(0, 0.5, p.shape), 0.1)
    best = minimize_scalar(lambda s: np.abs(s * p - g).sum(), bounds=(0.1, 10), method="bounded")
    assert np.abs(scale_l1(p, g)[0] * p - g).sum() == pytest.approx(best.fun, rel=1e-3)


def test_published_scale_and_shift_hardly_moves() -> None:
    p = depth(5).ravel()
    scale, shift = scale_shift_adam(p, p + 5)
    assert abs(shift) < 0.2  # 1,000 steps of about 1e-4 each
    assert depth_errors(p, p + 5, align="scale_shift_lsq").shift == pytest.approx(5)
    assert scale == pytest.approx(np.median(p + 5) / np.median(p), abs=0.2)


def test_invalid_capped_and_masked_truth_is_ignored() -> None:
    truth = depth()
    prediction = truth.copy()
    truth[0, 0, :4] = (0, -1, np.nan, np.inf)
    truth[0, 1, 0] = 70.0
    prediction[0, 1, 0] = 3.0
    mask = np.ones(truth.shape, bool)
    mask[1] = False
    errors = depth_errors(prediction, truth, align="metric", cap=70, mask=mask)
    assert errors.abs_rel == 0
    assert errors.pixels == 2 * 600 - 5


def test_the_clip_is_applied_after_alignment() -> None:
    truth = np.array([[[10.0, 10.0, 10.0, 60.0]]])
    prediction = np.array([[[10.0, 10.0, 10.0, 600.0]]])
    errors = depth_errors(prediction, truth, align="metric", clip=70)
    assert errors.abs_rel == pytest.approx((10 / 60) / 4)


def test_unusable_input_is_refused() -> None:
    with pytest.raises(DataError, match="resize it first"):
        depth_errors(depth(), depth(shape=(3, 20, 31)))
    with pytest.raises(DataError, match="no pixel has true depth"):
        depth_errors(depth(), np.zeros((3, 20, 30)))
    with pytest.raises(DataError, match="not finite at 1 valid"):
        prediction = depth()
        prediction[0, 0, 0] = np.nan
        depth_errors(prediction, depth())
    with pytest.raises(ConfigError, match="choose one of scale"):
        depth_errors(depth(), depth(), align="magic")


def test_the_data_set_mean_is_weighted_by_pixels() -> None:
    truth = depth()
    small = depth_errors(truth[:1] * 2, truth[:1], align="metric")
    large = depth_errors(truth, truth, align="metric")
    mean = weighted_mean([small, large])
    assert mean["abs_rel"] == pytest.approx(1 / 4)
    assert mean["abs_rel_plain"] == pytest.approx(1 / 2)


def test_resize_keeps_a_ramp() -> None:
    ramp = np.tile(np.linspace(1, 2, 64), (1, 32, 1))
    big = resize_depth(ramp, (64, 128))
    assert big.shape == (1, 64, 128)
    assert np.abs(np.diff(big[0, 30, 8:-8])).max() < 0.02
