"""What is drawn per step: within bounds, the same for everyone, never twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openmore.training.config import DataConfig
from openmore.training.plan import clips_per_rank, largest_shape, plan_step
from openmore.training.recipes import recipe

CONFIGS = [recipe("more_full").data, recipe("small").data, DataConfig(aspects=(1.0, 0.3), images_per_rank=1)]


@given(st.sampled_from(CONFIGS), st.sampled_from([4, 14, 16]), st.integers(0, 100_000))
def test_a_plan_keeps_the_settings(config: DataConfig, patch: int, step: int) -> None:
    plan = plan_step(config, patch, step, 0, 1, 1)
    height, width = plan.shape
    assert config.frames[0] <= plan.frames <= config.frames[1]
    assert config.interval[0] <= plan.interval <= config.interval[1]
    assert height % patch == 0 and width % patch == 0 and abs(width - config.long_side) <= patch / 2
    assert min(config.min_short_side, width) <= height <= largest_shape(config, patch)[0]
    assert plan.clips == 1 or plan.clips * plan.frames <= config.images_per_rank
    assert 0 <= plan.difficulty <= 1
    assert plan == plan_step(config, patch, step, 0, 1, 1)


def test_no_clip_is_drawn_twice() -> None:
    config, accumulate, world = recipe("small").data, 2, 3
    numbers = [
        number
        for step in range(20)
        for micro in range(accumulate)
        for rank in range(world)
        for number in plan_step(config, 14, step, micro, accumulate, world).clip_numbers(rank)
    ]
    assert len(numbers) == len(set(numbers))


def test_more_full_draws_what_the_paper_states() -> None:
    config = recipe("more_full").data
    plans = [plan_step(config, 14, step, 0, 1, 64) for step in range(400)]
    assert {p.frames for p in plans} == set(range(2, 25))
    assert {p.interval for p in plans} == set(range(1, 6))
    assert {p.shape[1] for p in plans} == {518}
    assert max(p.clips * p.frames for p in plans) <= 36 == clips_per_rank(config, 2) * 2


def test_difficulty_grows_to_one() -> None:
    config = DataConfig(difficulty_steps=100)
    assert [plan_step(config, 14, step, 0, 1, 1).difficulty for step in (0, 50, 100, 500)] == [0, 0.5, 1, 1]
