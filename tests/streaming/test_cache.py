"""The token store against a dictionary of frames, and storage that stays where it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from openmore.model.config import preset
from openmore.model.more import MoRe
from openmore.streaming import cache
from openmore.streaming.cache import TokenStore, frame_bytes
from openmore.streaming.policy import KeyframeEvery, Policy, Specials, Window
from openmore.streaming.storage import unwritten
from tests.streaming.conftest import clip, open_stream, push

HEADS, WIDTH = 2, 4


def store(capacity: int = 3, layers: int = 2) -> TokenStore:
    return TokenStore(layers, 1, HEADS, WIDTH, capacity, torch.float32, torch.device("cpu"))


def tokens(frame: int, count: int) -> Tensor:
    """Recognisable numbers [1, heads, count, width]."""
    return (100.0 * frame + torch.arange(count))[None, None, :, None].expand(1, HEADS, -1, WIDTH)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 5), st.sets(st.integers(0, 12)), st.integers(0, 3)), min_size=1, max_size=10))
def test_it_holds_what_a_dictionary_would(steps: list[tuple[int, set[int], int]]) -> None:
    """Frames of changing length come, some are dropped, some are cut short; what is left reads back in order."""
    ours, plain = store(), {}
    for frame, (count, dropped, cut) in enumerate(steps):
        ours.begin([frame], count)
        ((slots, visible),) = ours.new
        assert visible == ours.used
        for layer in range(2):
            ours.write(layer, slots, tokens(frame, count) + layer, -tokens(frame, count))
        plain[frame] = tokens(frame, count)
        everything, _ = ours.view(0)
        assert sorted(everything[0, 0, :, 0].tolist()) == sorted(
            t for x in plain.values() for t in x[0, 0, :, 0].tolist()
        )
        plain = {f: x if f % 4 else x[:, :, : max(cut, 1)] for f, x in plain.items() if f not in dropped}
        ours.keep({f: x.shape[2] for f, x in plain.items()})
    for f, x in plain.items():
        k, v = ours.gather(1, [f])
        torch.testing.assert_close((k - 1, v), (x, -x))


def test_slots_in_a_row_are_written_as_such_unless_numbers_are_asked_for() -> None:
    ours = store(capacity=6)
    ours.begin([0], 2)
    ours.begin([1], 3)
    ours.begin([2], 1)
    assert ours.new == [(slice(5, 6), 6)]
    ours.keep({1: 3})
    ours.begin([3], 3, by_number=True)
    assert isinstance(ours.new[0][0], Tensor) and ours.slots[3] == [0, 1, 5]
    ours.keep({1: 3})
    ours.begin([4], 3)
    assert isinstance(ours.new[0][0], Tensor)  # no row


def test_keys_are_cast_on_writing() -> None:
    ours = TokenStore(1, 1, HEADS, WIDTH, 2, torch.bfloat16, torch.device("cpu"))
    ours.begin([0], 2)
    ours.attend(0, *(torch.rand(1, HEADS, 2, WIDTH) for _ in range(3)))
    assert ours.view(0)[0].dtype == torch.bfloat16


def test_running_out_of_memory_while_growing_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = store(capacity=2)
    ours.begin([0], 2)
    ours.write(1, ours.new[0][0], tokens(0, 2), tokens(0, 2))
    calls = []

    def scarce(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        calls.append(shape)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("none left")
        return unwritten(shape, dtype, device)

    monkeypatch.setattr(cache, "unwritten", scarce)
    with pytest.raises(torch.OutOfMemoryError):
        ours.begin([1], 3)
    ours.keep({0: 2})
    ours.begin([1], 3)
    assert ours.used == 5 and sorted(s for x in ours.slots.values() for s in x) == list(range(5))
    torch.testing.assert_close(ours.gather(1, [0])[0], tokens(0, 2))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_a_store_comes_when_written_and_goes_back_when_freed() -> None:
    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    before = resident()
    made = [unwritten((2, 1_000_000), torch.bfloat16, torch.device("cpu")) for _ in range(16)]  # 4 MB each
    assert resident() < before + 8
    for x in made:
        assert x.fill_(1.5).sum(dtype=torch.float64) == 3e6
    full = resident()
    assert full > before + 56
    del made, x
    assert resident() < full - 56


def test_an_unbounded_store_holds_little_more_than_it_needs() -> None:
    """At most a quarter more, and a token is copied five times in its life at most on average."""
    ours, copied = store(capacity=8), 0
    for frame in range(200):
        before = ours.capacity
        ours.begin([frame], 3)
        ours.write(0, ours.new[0][0], tokens(frame, 3), tokens(frame, 3))
        copied += before * (ours.capacity > before)
        assert ours.used <= ours.capacity <= max(8, 1.25 * ours.used)
    assert copied <= 5 * ours.used
    torch.testing.assert_close(ours.gather(0, [0, 199])[0], torch.cat((tokens(0, 3), tokens(199, 3)), 2))


@pytest.mark.parametrize("policy", [Window(2), Specials(2, 1, 3), KeyframeEvery(2, 2)], ids=repr)
def test_a_bounded_stream_never_allocates_again(model: MoRe, policy: Policy) -> None:
    stream = open_stream(model, policy)

    def places() -> list[int]:
        stores = (stream.cache.tokens, stream.cache.cameras)
        return [x.data_ptr() for s in stores for x in (*s.k, *s.v)]

    begun, size = places(), stream.cache.bytes
    push(stream, clip(12))
    index = stream.cache.tokens._index.data_ptr()
    push(stream, clip(3, seed=1))
    assert places() == begun and stream.cache.bytes == size
    assert stream.cache.tokens._index.data_ptr() == index  # a captured graph reads slot numbers from here


def test_memory_is_what_was_announced(model: MoRe) -> None:
    stream = open_stream(model, Window(3), batch=2)
    per_frame = frame_bytes(model.config, stream.cache.P, torch.float32, refinable=False, batch=2)
    assert stream.cache.bytes == 5 * per_frame
    doubled = open_stream(model, Window(3), refinable=True)
    assert doubled.cache.bytes == 5 * frame_bytes(model.config, stream.cache.P, torch.float32, refinable=True)


def test_published_size() -> None:
    """A frame of 518x140 in bf16: 24 layers, keys and values, 375 tokens, 1024 channels, and the camera head."""
    config = preset("vggt-1b")
    size = frame_bytes(config, config.tokens_per_frame((140, 518)), torch.bfloat16, refinable=False)
    assert size == 24 * 2 * 375 * 1024 * 2 + 4 * 4 * 2 * 2048 * 4
