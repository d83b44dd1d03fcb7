"""What policies keep: never more than they promise, never without the anchors, everything while it fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmore.errors import ConfigError
from openmore.streaming.policy import Budget, KeepAll, Kept, KeyframeEvery, Policy, Specials, Window

small, anchors = st.integers(1, 6), st.integers(0, 3)
policies = st.one_of(
    st.builds(Window, small, anchors),
    st.builds(Specials, small, anchors, st.integers(1, 9)),
    st.builds(KeyframeEvery, small, small, anchors),
)


def run(policy: Policy, frames: int) -> list[tuple[Kept, Kept]]:
    """(held while frame t is processed, kept after it) for every frame."""
    kept, history = Kept(()), []
    for frame in range(frames):
        held = Kept((*kept.whole, frame), kept.specials)
        kept = policy.after(held)
        history.append((held, kept))
    return history


@given(policies, st.integers(1, 40))
def test_never_more_than_promised(policy: Policy, frames: int) -> None:
    most = policy.most()
    assert most is not None
    for held, kept in run(policy, frames):
        assert len(held.whole) <= most[0] and len(held.specials) <= most[1]
        assert len(kept.whole) < most[0]  # room for the next frame


@given(policies, st.integers(1, 40))
def test_anchors_stay_and_nothing_is_invented(policy: Policy, frames: int) -> None:
    for frame, (held, kept) in enumerate(run(policy, frames)):
        assert set(range(min(policy.anchors, frame + 1))) <= set(kept.whole)  # type: ignore[attr-defined]
        assert set(kept.whole) <= set(held.whole)
        assert set(kept.specials) <= {*held.whole, *held.specials} - set(kept.whole)
        assert list(kept.whole) == sorted(set(kept.whole)) and list(kept.specials) == sorted(set(kept.specials))


@given(st.integers(1, 12), anchors)
def test_evicting_nothing_is_keeping_all(frames: int, anchors: int) -> None:
    for policy in (Window(frames, anchors), Specials(frames, anchors), KeyframeEvery(1, frames, anchors)):
        assert run(policy, frames) == run(KeepAll(), frames)


@given(small, anchors, st.integers(1, 40))
def test_a_window_counts_past_frames(n: int, anchors: int, frames: int) -> None:
    held, _ = run(Window(n, anchors), frames)[-1]
    last = frames - 1
    assert set(held.whole) == {*range(min(anchors, frames)), *range(max(0, last - n), last), last}


def test_specials_demote_before_they_forget() -> None:
    *_, (held, kept) = run(Specials(2, 1, old=3), 9)
    assert held == Kept((0, 6, 7, 8), (3, 4, 5))
    assert kept == Kept((0, 7, 8), (4, 5, 6))


def test_keyframes_are_the_only_memory() -> None:
    *_, (_, kept) = run(KeyframeEvery(3, 2), 12)
    assert kept.whole == (0, 6, 9)


@given(st.integers(1, 10_000_000), st.floats(1e-3, 1e3), anchors)
def test_a_budget_is_never_exceeded(frame_bytes: int, mb: float, anchors: int) -> None:
    try:
        window = Budget(mb, anchors).resolve(frame_bytes)
    except ConfigError:
        assert (anchors + 2) * frame_bytes > mb * 1e6  # not even one past frame fits
        return
    frames, _ = window.most()
    assert frames * frame_bytes <= mb * 1e6 < (frames + 1) * frame_bytes


def test_a_small_budget_names_the_minimum() -> None:
    with pytest.raises(ConfigError, match=r"give at least 30 MB"):
        Budget(25, anchors=1).resolve(10_000_000)
    Budget(30, anchors=1).resolve(10_000_000)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Window(0), "window is 0"),
        (lambda: Window(2.5), "window is 2.5, expected a whole number"),
        (lambda: Window("5"), "window is '5'"),
        (lambda: Window(3, -1), "anchors is -1"),
        (lambda: Specials(2, 1, 0), "old is 0"),
        (lambda: KeyframeEvery(0, 2), "keyframe_every is 0"),
        (lambda: Budget(0), "0 MB"),
        (lambda: Budget(float("nan")), "nan MB"),
        (lambda: Budget(5, -1), "anchors is -1"),
        (lambda: Budget("100"), "'100' MB"),
        (lambda: Window(True), "window is True"),
    ],
)
def test_impossible_settings_are_refused(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
