"""What is drawn per step: within bounds, the same for everyone, never twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from openmore.data.clips import ClipSampler, Share
from openmore.training.config import DataConfig
from openmore.training.plan import clips_per_rank, largest_shape, plan_step, plan_steps
from openmore.training.recipes import recipe
from tests.data.test_clips import Fake

CONFIGS = [recipe("more_full").data, recipe("small").data, DataConfig(aspects=(1.0, 0.3), images_per_rank=1)]


@given(st.sampled_from(CONFIGS), st.sampled_from([4, 14, 16]), st.integers(0, 100_000))
def test_a_plan_keeps_the_settings(config: DataConfig, patch: int, step: int) -> None:
    plan = plan_step(config, patch, step, 0, 0)
    height, width = plan.shape
    assert config.frames[0] <= plan.frames <= config.frames[1]
    assert config.interval[0] <= plan.interval <= config.interval[1]
    assert height % patch == 0 and width % patch == 0 and abs(width - config.long_side) <= patch / 2
    assert min(config.min_short_side, width) <= height <= largest_shape(config, patch)[0]
    assert plan.clips == 1 or plan.clips * plan.frames <= config.images_per_rank
    assert 0 <= plan.difficulty <= 1
    assert plan == plan_step(config, patch, step, 0, 0)


def test_every_clip_number_is_drawn_once() -> None:
    """Also where a run goes on with another number of processes, of batches a step, and another image budget."""
    config, patch = recipe("small").data, 14
    one = list(plan_steps(config, patch, range(20), 2, 3))
    smaller = replace(config, images_per_rank=64)
    other = list(plan_steps(smaller, patch, range(20, 50), 1, 2, one[-1].next_clip(3)))
    numbers = [
        n for plans, world in ((one, 3), (other, 2)) for p in plans for r in range(world) for n in p.clip_numbers(r)
    ]
    assert numbers == list(range(len(numbers)))
    assert [(p.step, p.micro) for p in one] == [(step, micro) for step in range(20) for micro in range(2)]


def test_an_epoch_of_training_visits_every_sequence() -> None:
    config = recipe("more_full").data
    sampler = ClipSampler([Share(Fake("set", [300] * 500))], config.images_per_rank, config.frames, config.interval)
    seen: Counter[str] = Counter()
    for plan in plan_steps(config, 14, range(10**9), 1, 1):
        seen.update(sampler.clip(n, plan.frames, plan.interval).sequence for n in plan.clip_numbers(0))
        if plan.next_clip(1) >= sampler.clips_per_epoch:
            break
    assert len(seen) == 500


def test_plans_go_on_as_if_not_stopped() -> None:
    config = recipe("more_full").data
    whole = list(plan_steps(config, 14, range(9), 2, 4))
    begun = list(plan_steps(config, 14, range(5), 2, 4))
    assert begun + list(plan_steps(config, 14, range(5, 9), 2, 4, begun[-1].next_clip(4))) == whole


def test_more_full_draws_what_the_paper_states() -> None:
    config = recipe("more_full").data
    plans = [plan_step(config, 14, step, 0, 0) for step in range(400)]
    assert {p.frames for p in plans} == set(range(2, 25))
    assert {p.interval for p in plans} == set(range(1, 6))
    assert {p.shape[1] for p in plans} == {518}
    assert max(p.clips * p.frames for p in plans) <= 36 == clips_per_rank(config, 2) * 2


def test_difficulty_grows_to_one() -> None:
    config = DataConfig(difficulty_steps=100)
    assert [plan_step(config, 14, step, 0, 0).difficulty for step in (0, 50, 100, 500)] == [0, 0.5, 1, 1]
