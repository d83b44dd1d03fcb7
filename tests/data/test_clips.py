"""Drawing clips: repeatable, resumable, disjoint between ranks, in the asked proportions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from openmore.data.clips import ClipSampler, Share, check_usable, visits_per_epoch
from openmore.data.sample import Sample
from openmore.errors import ConfigError, DataError
from tests.data.test_sample import make_sample


class Fake:
    """Sequences s0, s1, ... of given lengths; those in `damaged` cannot be read."""

    def __init__(self, name: str, lengths: Sequence[int], damaged: Sequence[str] = ()):
        self.name, self.lengths, self.damaged = name, list(lengths), damaged

    def __len__(self) -> int:
        return len(self.lengths)

    def names(self) -> list[str]:
        return [f"s{i}" for i in range(len(self))]

    def frame_ids(self, sequence: str) -> list[int]:
        return list(range(100, 100 + self.lengths[int(sequence[1:])]))

    def truth(self, sequence: str) -> dict[str, str]:
        return {}

    def load(self, sequence: str, frame_ids: Sequence[int]) -> Sample:
        if sequence in self.damaged:
            raise DataError(f"{self.name}/{sequence}/rgb/000000.png is damaged")
        sample = make_sample(len(frame_ids), (12, 16))
        return replace(sample, name=f"{self.name}/{sequence}", valid=None, indices=np.array(frame_ids))


def sampler(**changes) -> ClipSampler:
    options = {"images_per_batch": 24, "frames": (2, 6), "intervals": (1, 5), "seed": 3} | changes
    mixture = options.pop("mixture", [Share(Fake("big", [40] * 12), 2.0), Share(Fake("small", [30, 9]), 1.0)])
    return ClipSampler(mixture, **options)


def test_a_batch_shares_length_and_interval_and_fills_the_image_budget() -> None:
    lengths, intervals = set(), set()
    for batch in islice(sampler(), 60):
        lengths.add(batch.frames)
        intervals.add(batch.interval)
        assert len(batch.clips) == 24 // batch.frames
        for clip in batch.clips:
            assert len(clip.frame_ids) == batch.frames
            gaps = set(np.diff(clip.frame_ids).tolist())
            assert len(gaps) == 1 and 1 <= gaps.pop() <= batch.interval
    assert lengths == {2, 3, 4, 5, 6} and intervals == {1, 2, 3, 4, 5}


def test_the_same_seed_draws_the_same_and_a_restored_sampler_goes_on_where_it_was() -> None:
    first = list(islice(sampler(), 10))
    assert first == list(islice(sampler(), 10))
    assert first != list(islice(sampler(seed=4), 10))
    one = sampler()
    list(islice(one, 4))
    two = sampler()
    two.restore(one.state())
    assert list(islice(two, 6)) == first[4:]
    with pytest.raises(ConfigError, match="state is of seed 3"):
        sampler(seed=9).restore(one.state())


def test_ranks_agree_on_length_and_never_share_a_clip_number() -> None:
    ranks = [list(islice(sampler(rank=r, world=3), 8)) for r in range(3)]
    numbers = [clip.number for batches in ranks for batch in batches for clip in batch.clips]
    assert len(numbers) == len(set(numbers))
    assert sorted(numbers) == list(range(len(numbers)))  # none is left out: an epoch is drawn whole
    for batches in zip(*ranks):
        assert len({(b.frames, b.interval, len(b.clips)) for b in batches}) == 1


def test_an_epoch_visits_every_sequence_and_repeats_small_sets_evenly() -> None:
    s = sampler()
    assert s.visits == [12, 6] and s.clips_per_epoch == 18
    for epoch in range(3):
        clips = [s.clip(n, 2, 1) for n in range(epoch * 18, epoch * 18 + 18)]
        seen = Counter((c.share, c.sequence) for c in clips)
        assert all(seen[0, f"s{i}"] == 1 for i in range(12))
        assert seen[1, "s0"] == seen[1, "s1"] == 3
    assert visits_per_epoch([5, 5], [1, 1]) == [5, 5]
    assert visits_per_epoch([2, 100], [3, 1]) == [300, 100]


def test_a_short_sequence_gets_a_smaller_interval_or_a_substitute() -> None:
    s = sampler(mixture=[Share(Fake("mixed", [9, 3, 9]))], frames=(5, 5), intervals=(5, 5))
    for n in range(12):
        clip = s.clip(n, 5, 5)
        assert clip.sequence != "s1" and set(np.diff(clip.frame_ids)) == {2}
    with pytest.raises(DataError, match=r"mixed: a clip of 10 frames .* longest sequence has 9"):
        s.clip(0, 10, 1)


def test_shuffling_keeps_the_first_frame_first() -> None:
    clips = [sampler(shuffle=1.0).clip(n, 6, 2) for n in range(20)]
    assert all(c.frame_ids[0] == min(c.frame_ids) for c in clips)
    assert any(list(c.frame_ids) != sorted(c.frame_ids) for c in clips)


def test_bad_clips_stop_the_run_or_are_replaced_as_asked(caplog: pytest.LogCaptureFixture) -> None:
    s = sampler(mixture=[Share(Fake("set", [20] * 4, damaged=["s2"]))])
    batches = [s.batch(n) for n in range(4)]
    with pytest.raises(DataError, match=r"set/s2/rgb/000000\.png is damaged"):
        [s.load(batch) for batch in batches]
    samples = [sample for batch in batches for sample in s.load(batch, on_bad="skip")]
    assert len(samples) == sum(len(batch.clips) for batch in batches)
    assert all(sample.name != "set/s2" for sample in samples)
    assert "set/s2/rgb/000000.png is damaged" in caplog.text
    hopeless = sampler(mixture=[Share(Fake("set", [20], damaged=["s0"]))])
    with pytest.raises(DataError, match="16 clips in a row were bad"):
        hopeless.load(hopeless.batch(0), on_bad="skip")


def test_useless_clips_are_named() -> None:
    sample = replace(make_sample(2, (12, 16)), valid=None)
    check_usable(sample)
    with pytest.raises(DataError, match=r"set/sequence, frame 10: only 0 pixels"):
        check_usable(replace(sample, depth=0 * sample.depth))
    with pytest.raises(DataError, match="mean depth is"):
        check_usable(replace(sample, depth=sample.depth * 1e4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture": []}, "no data set"),
        ({"mixture": [Share(Fake("x", [5]), 0.0)]}, "x has weight 0.0"),
        ({"frames": (3, 2)}, r"frames = \(3, 2\)"),
        ({"rank": 2, "world": 2}, "rank 2 of 2"),
    ],
)
def test_impossible_settings_are_named(changes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sampler(**changes)
