from __future__ import annotations

import numpy as np
import pytest

from openmore.errors import InputError
from openmore.flow.consistency import forward_backward, sample_at
from openmore.flow.exact import ExactFlow


def constant(u: float, v: float, shape: tuple[int, int] = (10, 12)) -> np.ndarray:
    return np.stack([np.full(shape, u), np.full(shape, v)]).astype(np.float32)


def test_opposite_flows_agree_inside_and_leave_at_the_border() -> None:
    check = forward_backward(constant(2, 0), constant(-2, 0))
    assert (check.confidence[:, :10] == 1).all() and not check.occluded[:, :10].any()
    assert (check.confidence[:, 10:] == 0).all() and check.occluded[:, 10:].all()
    assert np.isnan(check.error[:, 10:]).all()


def test_the_bound_of_the_published_test_is_where_confidence_is_one_half() -> None:
    wrong = np.float32(np.sqrt(0.5))  # |F + B|^2 = 0.5 with F = 0 and B the error itself: 0.5 < 0.5 + 0.01 * 0.5
    check = forward_backward(constant(0, 0), constant(0, float(wrong)))
    assert 0.5 < check.confidence[5, 5] < 0.51
    assert forward_backward(constant(0, 0), constant(0, 0.8)).occluded.all()


def test_longer_flows_may_err_more() -> None:
    assert forward_backward(constant(0, 0), constant(1, 0)).occluded.all()
    shape = (4, 100)
    assert not forward_backward(constant(20, 0, shape), constant(-19, 0, shape)).occluded[:, :75].any()


def test_sampling_is_bilinear_and_nan_spreads_only_to_its_neighbours() -> None:
    values = np.arange(12, dtype=np.float32)[None, None].repeat(10, 1)
    values[0, 5, 5] = np.nan
    sampled = sample_at(values, constant(0.5, 0))
    assert sampled[0, 0, 3] == pytest.approx(3.5)
    assert np.isnan(sampled[0, 5, [4, 5]]).all() and np.isnan(sampled[0, :, -1]).all()
    assert np.isfinite(sampled[0, 4, :-1]).all()


def test_nan_flow_is_unknown_not_static() -> None:
    flow = constant(0, 0)
    flow[:, 3, 3] = np.nan
    check = forward_backward(flow, constant(0, 0))
    assert check.confidence[3, 3] == 0 and check.occluded[3, 3] and check.confidence[3, 4] == 1


def test_exact_flow_finds_its_pair_and_refuses_others() -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 10, 12, 3), dtype=np.uint8)
    forward = np.stack([constant(1, 0), constant(2, 0), constant(np.nan, np.nan)])
    backward = np.stack([constant(np.nan, np.nan), constant(-1, 0), constant(-2, 0)])
    exact = ExactFlow(images, forward, backward)
    assert exact(images[0], images[1]).flow[0, 0, 0] == 1
    ba, ab = exact.both(images[2], images[1])
    assert ba.flow[0, 0, 0] == -2 and ab.flow[0, 0, 0] == 2
    assert (ab.confidence[:, :10] == 1).all() and (ab.confidence[:, 10:] == 0).all()
    with pytest.raises(InputError, match="neighbouring"):
        exact(images[0], images[2])
    with pytest.raises(InputError, match="expected"):
        ExactFlow(images, forward[:2], backward)
