"""A stream equals the causal pass over the whole clip, however its frames arrive."""

from __future__ import annotations

import pytest
import torch
from benchmarks._plain_stream import PlainStream

from openmore.errors import ConfigError, StreamError
from openmore.model.more import MoRe
from openmore.streaming import stream as stream_module
from openmore.streaming.policy import Budget, KeepAll, KeyframeEvery, Specials, Window
from openmore.streaming.stream import StreamOptions, TensorStream
from tests.streaming.conftest import SHAPE, assert_same, clip, frames_of, one_pass, open_stream, push

T = 7


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("group", [1, 2, 5, T])
def test_groups_equal_one_pass(model: MoRe, group: int, batch: int) -> None:
    images = clip(T, batch)
    assert_same(push(open_stream(model, batch=batch), images, group), one_pass(model, images))


@pytest.mark.parametrize("group", [1, 2, 3, T])
@pytest.mark.parametrize(("window", "anchors"), [(1, 1), (2, 1), (2, 0), (3, 2)])
def test_the_window_cache_is_the_window_mask(model: MoRe, window: int, anchors: int, group: int) -> None:
    images = clip(T)
    expected = one_pass(model, images, past=window, anchors=anchors)
    assert_same(push(open_stream(model, Window(window, anchors)), images, group), expected)


def test_windows_matter(model: MoRe) -> None:
    """The comparisons above would notice a frame too many or too few."""
    images = clip(T)
    narrow, wide = one_pass(model, images, past=2), one_pass(model, images, past=3)
    with pytest.raises(AssertionError):
        assert_same(narrow, wide, 1e-3)


@pytest.mark.parametrize("policy", [Window(T), Specials(T), KeyframeEvery(1, T), Budget(1)], ids=repr)
def test_evicting_nothing_is_keeping_all(model: MoRe, policy) -> None:
    images = clip(T)
    assert_same(push(open_stream(model, policy), images), push(open_stream(model, KeepAll()), images), 1e-6)


@pytest.mark.parametrize("policy", [Specials(2, 1, 3), KeyframeEvery(2, 2)], ids=repr)
def test_groups_never_change_a_result(model: MoRe, policy) -> None:
    images = clip(9)
    expected = push(open_stream(model, policy), images)
    assert_same(push(open_stream(model, policy), images, [1, 3, 2, 3]), expected)


def test_keyframes_see_only_keyframes(model: MoRe) -> None:
    """Frame 5 with keyframes 0, 2, 4 equals frame 3 of the clip made of them and itself."""
    images = clip(6)
    ours = push(open_stream(model, KeyframeEvery(2, 6)), images)
    expected = push(open_stream(model), images[:, [0, 2, 4, 5]])
    assert_same(frames_of(ours, 5), frames_of(expected, 3))


def test_specials_read_old_cameras(model: MoRe) -> None:
    """Older frames still count, though less than whole ones: neither a window nor everything."""
    images = clip(T)
    ours = push(open_stream(model, Specials(2, 1, 4)), images)
    assert_same(frames_of(ours, 0, 4), frames_of(one_pass(model, images), 0, 4))
    for other in (one_pass(model, images, past=2), one_pass(model, images)):
        with pytest.raises(AssertionError):
            assert_same(frames_of(ours, 4), frames_of(other, 4), 1e-3)


@pytest.mark.parametrize("group", [1, 3])
def test_refine_equals_the_duplicates_of_one_pass(model: MoRe, group: int) -> None:
    images = clip(T, batch=2)
    stream = open_stream(model, batch=2, refinable=True)
    push(stream, images, group)
    frames, codes = stream.refine()
    expected = one_pass(model, images, duplicates=True).refined_pose_codes
    assert frames == tuple(range(T)) and len(codes) == len(expected)
    for ours, theirs in zip(codes, expected):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_refining_changes_nothing_that_follows(model: MoRe) -> None:
    images = clip(T)
    stream = open_stream(model, Window(2), refinable=True)
    first = push(stream, images[:, :4])
    frames, _ = stream.refine()
    assert frames == (0, 2, 3)
    rest = push(stream, images[:, 4:])
    expected = one_pass(model, images, past=2)
    assert_same(first, frames_of(expected, 0, 4))
    assert_same(rest, frames_of(expected, 4))


def test_a_layer_never_touches_the_layers_below(model: MoRe) -> None:
    def last_frame(spoilt: int | None) -> dict[int, torch.Tensor]:
        stream = open_stream(model)
        push(stream, clip(3))
        if spoilt is not None:
            stream.cache.tokens.k[spoilt].mul_(-1)
            stream.cache.tokens.v[spoilt].add_(1)
        stream.cache.begin([3])
        with torch.no_grad():
            raw = model.run(clip(1, seed=5), stream.cache, first=False, keep_tokens=range(model.config.depth))
        assert raw.tokens is not None
        return raw.tokens.frames

    clean, C = last_frame(None), model.config.embed_dim
    for spoilt in range(model.config.depth):
        tokens = last_frame(spoilt)
        for layer in range(spoilt):
            torch.testing.assert_close(tokens[layer], clean[layer], rtol=0, atol=0)
        torch.testing.assert_close(tokens[spoilt][..., :C], clean[spoilt][..., :C], rtol=0, atol=0)
        assert (tokens[spoilt][..., C:] - clean[spoilt][..., C:]).abs().max() > 1e-3


def test_two_streams_on_one_model_never_touch(model: MoRe) -> None:
    images, others = clip(T), clip(T, seed=1)
    a, b = open_stream(model), open_stream(model, Window(1))
    parts = [(a.step(x), b.step(y)) for x, y in zip(images.split(1, 1), others.split(1, 1))]
    assert_same(stream_module.join([x for x, _ in parts]), one_pass(model, images))
    assert_same(stream_module.join([y for _, y in parts]), one_pass(model, others, past=1))


def test_items_of_a_batch_never_touch(model: MoRe) -> None:
    images = clip(4, batch=3)
    together = push(open_stream(model, batch=3), images)
    alone = push(open_stream(model), images[1:2])
    for a, b in zip(together.pose_codes, alone.pose_codes):
        torch.testing.assert_close(a[1:2], b, rtol=0, atol=1e-5)


def test_a_half_precision_cache_is_close(model: MoRe) -> None:
    images = clip(T)
    ours = push(open_stream(model, Window(3), cache_dtype=torch.bfloat16), images)
    expected = one_pass(model, images, past=3)
    assert ours.depth is not None and expected.depth is not None
    error = (ours.depth - expected.depth).abs().max() / expected.depth.abs().max()
    assert 1e-6 < error < 3e-2
    assert (ours.pose_codes[-1] - expected.pose_codes[-1]).abs().max() < 5e-2


def test_heads_and_iterations_are_chosen(model: MoRe) -> None:
    images = clip(4)
    stream = open_stream(model, outputs=frozenset({"depth"}), iterations=2)
    raw = push(stream, images)
    assert raw.points is None and raw.motion_logits is None and len(raw.pose_codes) == 2
    expected = one_pass(model, images, iterations=2)
    torch.testing.assert_close(raw.pose_codes[-1], expected.pose_codes[-1], rtol=0, atol=1e-5)


def test_dense_heads_can_be_left_out_of_a_step(model: MoRe) -> None:
    """The camera head runs all the same, because later frames read its cache."""
    images = clip(4)
    stream = open_stream(model)
    raw = [stream.step(images[:, t : t + 1], outputs={"depth"} if t % 2 else set()) for t in range(4)]
    assert raw[0].depth is None and raw[1].depth is not None
    expected = one_pass(model, images)
    torch.testing.assert_close(raw[3].pose_codes[-1], expected.pose_codes[-1][:, 3:], rtol=0, atol=1e-5)


# -- what is refused, and that it leaves no trace ---------------------------------------------------------------------


def nan_frame() -> torch.Tensor:
    images = clip(1)
    images[0, 0, 1, 3, 3] = float("nan")
    return images


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (clip(1, shape=(28, 28)), "the stream began with 28x42"),
        (clip(1, batch=2), "batch of 1, got 2"),
        (nan_frame(), "NaN or infinite"),
        (torch.rand(3, 28, 42), r"expected frames \[B, G, 3, H, W\]"),
    ],
    ids=["size", "batch", "nan", "dimensions"],
)
def test_a_refused_frame_leaves_no_trace(model: MoRe, bad: torch.Tensor, message: str) -> None:
    images = clip(T)
    stream = open_stream(model, Window(2))
    first = push(stream, images[:, :4])
    with pytest.raises(StreamError, match=message):
        stream.step(bad)
    assert stream.frames_seen == 4
    rest = push(stream, images[:, 4:])
    assert_same(stream_module.join([first, rest]), one_pass(model, images, past=2))


@pytest.mark.parametrize("policy", [KeepAll(), Window(2), Specials(2, 1, 2)], ids=repr)
@pytest.mark.parametrize("error", [KeyboardInterrupt, torch.OutOfMemoryError])
def test_a_step_that_breaks_off_leaves_no_trace(model: MoRe, policy, error, monkeypatch: pytest.MonkeyPatch) -> None:
    images = clip(T)
    expected = push(open_stream(model, policy), images)
    stream = open_stream(model, policy)
    first = push(stream, images[:, :5])

    def broken(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:  # after the caches have been written
        patch.setattr(model.depth_head, "forward", broken)
        with pytest.raises(error):
            stream.step(clip(1, seed=9))
    assert stream.frames_seen == 5
    assert_same(stream_module.join([first, push(stream, images[:, 5:])]), expected, 1e-6)


def test_a_cache_that_outgrows_memory_ends_with_a_line(model: MoRe, monkeypatch: pytest.MonkeyPatch) -> None:
    images = clip(18)
    stream = open_stream(model)
    first = push(stream, images[:, :16])  # as many as there was room for
    with monkeypatch.context() as patch:
        patch.setattr("openmore.streaming.cache.available_bytes", lambda _: 1000)
        with pytest.raises(StreamError, match=r"the cache has outgrown memory.*choose a window or a budget"):
            stream.step(images[:, 16:17])
    assert stream.frames_seen == 16
    assert_same(stream_module.join([first, push(stream, images[:, 16:])]), one_pass(model, images))


def test_impossible_options_are_refused(model: MoRe, monkeypatch: pytest.MonkeyPatch) -> None:
    for options, message in (
        (StreamOptions(iterations=5), "expected 1..4"),
        (StreamOptions(Budget(0.001)), "too small"),
        (StreamOptions(Window(10**9)), r"a cache of 1000000002 frames needs .* GB here"),
    ):
        with pytest.raises(ConfigError, match=message):
            TensorStream(model, SHAPE, options)
    for wrong, message in (
        ({"iterations": "2"}, "iterations is '2', expected a whole number"),
        ({"graphs": "no"}, "graphs is 'no'"),
        ({"policy": "all"}, "policy is 'all', expected an object"),
        ({"policy": KeepAll}, "policy is .*KeepAll.*, expected an object"),
    ):
        with pytest.raises(ConfigError, match=message):
            StreamOptions(**wrong)
    with pytest.raises(StreamError, match="refinable"):
        open_stream(model).refine()
    with pytest.raises(StreamError, match="nothing to refine"):
        open_stream(model, refinable=True).refine()


def test_the_plain_twin_agrees(model: MoRe) -> None:
    """The obvious implementation that the benchmarks compare with."""
    images = clip(T)
    plain = PlainStream(model)
    raw = stream_module.join([plain.step(frame) for frame in images.split(1, 1)])
    assert_same(push(open_stream(model), images), raw)
