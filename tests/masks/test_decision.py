from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from openmore.errors import ConfigError
from openmore.masks.decision import RULES, Rule, Segments, decide, floor_of, measure, paint


def equal_segments(d: list[float], area: int = 100) -> Segments:
    count = len(d)
    return Segments(np.full(count, area), np.full(count, area), np.array(d, float), np.array(d, float))


def test_measure_is_equation_1_and_leaves_out_what_cannot_be_judged() -> None:
    labels = np.array([[0, 0, 0, 1], [1, 1, 2, -1]])
    residual = np.array([[1, 2, 6, np.nan], [4, np.inf, np.nan, 9]], np.float32)
    segments = measure(labels, residual)
    assert segments.area.tolist() == [3, 3, 1] and segments.valid.tolist() == [3, 2, 0]
    assert segments.mean[:2].tolist() == [3, 4] and np.isnan(segments.mean[2])  # infinite = lost: not in the mean
    assert segments.median[:2].tolist() == [2, 4]  # the lower one of an even number


@given(
    labels=hnp.arrays(np.int32, (6, 7), elements=st.integers(-1, 4)),
    residual=hnp.arrays(np.float32, (6, 7), elements=st.floats(0, 100, width=32)),
)
def test_measure_equals_a_plain_loop(labels: np.ndarray, residual: np.ndarray) -> None:
    segments = measure(labels, residual)
    for k in range(labels.max(initial=-1) + 1):
        values = np.sort(residual[labels == k])
        assert segments.valid[k] == len(values)
        if len(values):
            assert segments.mean[k] == pytest.approx(values.astype(np.float64).mean())
            assert segments.median[k] == values[(len(values) - 1) // 2]


def test_paper_rule_is_equations_2_and_3() -> None:
    d = [0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.2, 9.0]
    decision = decide(equal_segments(d), Rule("paper"), floor=99.0)  # the paper knows no floor
    assert decision.center == pytest.approx(np.mean(d)) and decision.sigma == pytest.approx(np.std(d))
    assert decision.threshold == pytest.approx(np.mean(d) + 2 * np.std(d))
    assert decision.label.tolist() == [0] * 7 + [1]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_paper_rule_cannot_flag_anything_among_five_segments(count: int) -> None:
    d = [0.0] * (count - 1) + [1000.0]
    assert not decide(equal_segments(d), Rule("paper"), 0.1).label.any()
    assert decide(equal_segments(d), Rule("floor"), 0.1).label.tolist() == [0] * (count - 1) + [1]


def test_paper_rule_flags_nothing_when_a_fifth_moves_alike_and_robust_does() -> None:
    d = [0.0] * 8 + [50.0] * 2
    assert not decide(equal_segments(d), Rule("paper"), 0.1).label.any()
    assert decide(equal_segments(d), Rule("robust"), 0.1).label.tolist() == [0] * 8 + [1] * 2


def test_floor_keeps_static_frames_static() -> None:
    noise = np.abs(np.random.default_rng(0).normal(0.1, 0.05, 100)).tolist()
    assert decide(equal_segments(noise), Rule("paper"), 1.0).label.any()
    for name in ("floored", "robust", "floor"):
        assert not decide(equal_segments(noise), Rule(name), 1.0).label.any()


def test_robust_weighs_segments_by_area() -> None:
    segments = Segments(np.array([1000, 10, 10, 10]), np.array([1000, 10, 10, 10]), *(np.array([0.1, 8, 9, 8.5]),) * 2)
    assert decide(segments, Rule("robust"), 1.0).label.tolist() == [0, 1, 1, 1]


def test_too_few_valid_pixels_is_unknown_and_says_so() -> None:
    segments = Segments(np.array([1000, 1000, 40]), np.array([20, 900, 40]), *(np.array([9.0, 9.0, 9.0]),) * 2)
    decision = decide(segments, Rule("floor"), 1.0)
    assert decision.label.tolist() == [255, 1, 1]  # a small segment that is seen whole counts
    assert decision.reason[0] == "unknown: 20 of 1000 px can be judged"
    assert decision.reason[1] == "moving: 9.00 px against 1.00"


def test_a_lost_segment_moves() -> None:
    segments = Segments(np.array([100, 100]), np.array([100, 100]), np.array([0.1, np.nan]), np.array([0.1, np.inf]))
    for name in ("robust", "floor"):
        assert decide(segments, Rule(name), 1.0).label.tolist() == [0, 1]


@pytest.mark.parametrize("name", RULES)
def test_nothing_to_judge_is_all_unknown(name: str) -> None:
    segments = measure(np.zeros((4, 4), int), np.full((4, 4), np.nan, np.float32))
    assert decide(segments, Rule(name), 1.0).label.tolist() == [255]  # type: ignore[arg-type]


def test_paint_covers_every_pixel() -> None:
    labels = np.array([[0, 1, -1, -1, -1]])
    residual = np.array([[0.1, 9, 0.2, 5, np.nan]], np.float32)
    decision = decide(measure(labels, residual), Rule("floor", min_valid_pixels=1), 1.0)
    assert paint(labels, decision, residual).tolist() == [[0, 1, 0, 255, 255]]


def test_floor_scales_with_width_and_with_the_flows_noise() -> None:
    assert floor_of(Rule(floor_px=1.0), 1036, 0.0) == 2.0
    assert floor_of(Rule(floor_px=1.0), 64, 0.0) == pytest.approx(1 / 3)
    assert floor_of(Rule(floor_px=0.03), 64, 0.0) == 0.03
    assert floor_of(Rule(floor_px=1.0, noise_factor=3), 518, 0.5) == 1.5


def test_bad_rules_are_refused() -> None:
    with pytest.raises(ConfigError, match="choose one of paper"):
        Rule("mean")  # type: ignore[arg-type]
    for floor in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"floor is {floor}"):
            Rule(floor_px=floor)
