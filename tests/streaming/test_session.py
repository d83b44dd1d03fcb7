"""The manners of a session: any frame in, final predictions out, one clear line for everything else."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from openmore.errors import ConfigError, StreamError
from openmore.io.frames import Frame
from openmore.model.config import preset
from openmore.model.more import MoRe
from openmore.pipeline import reconstruct
from openmore.streaming.policy import Budget, KeepAll, Specials, Window
from openmore.streaming.session import StreamingSession
from openmore.types import FramePrediction
from tests.model.conftest import lively
from tests.streaming.conftest import pictures

SIDE = {"long_side": 42}


def assert_equal(ours: FramePrediction, expected: FramePrediction, atol: float = 0.0) -> None:
    np.testing.assert_allclose(ours.camera.world_from_cam, expected.camera.world_from_cam, rtol=0, atol=atol)
    np.testing.assert_allclose(ours.camera.K, expected.camera.K, rtol=1e-12 + atol)
    np.testing.assert_allclose(ours.depth, expected.depth, rtol=atol)


def test_predictions_are_complete_and_final(model: MoRe) -> None:
    frames = pictures(5)
    with StreamingSession(model, window=2, **SIDE) as stream:
        first = stream.push(frames[0])
        copy = first.depth.copy(), first.camera.world_from_cam.copy()
        for frame in frames[1:]:
            last = stream.push(frame)
        assert stream.frames_seen == 5 and 0 < stream.memory_mb < 1
    np.testing.assert_array_equal(first.depth, copy[0])
    np.testing.assert_array_equal(first.camera.world_from_cam, copy[1])
    np.testing.assert_allclose(first.camera.world_from_cam, np.eye(4), atol=1e-12)
    assert last.index == 4 and last.shape == (28, 42) and last.camera.width == 80 and last.camera.height == 60
    assert last.motion is not None and last.points is not None and last.rgb is not None


def test_it_is_what_reconstruct_computes(model: MoRe) -> None:
    frames = np.stack(pictures(5))
    scene = reconstruct(frames, model, mode="stream", window=2, points=True, **SIDE)
    with StreamingSession(model, window=2, **SIDE) as stream:
        for frame, expected in zip(frames, scene.frames):
            assert_equal(stream.push(frame), expected)


def test_kinds_of_frames(model: MoRe) -> None:
    picture = pictures(1)[0]
    tensor = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    named = Frame(17, 2.5, picture, "clip.mp4#17")
    results = []
    for frame in (picture, tensor, named):
        with StreamingSession(model, **SIDE) as stream:
            results.append(stream.push(frame))
    assert_equal(results[1], results[0])
    assert results[2].index == 17 and results[2].time_s == 2.5


def test_groups_equal_single_frames(model: MoRe) -> None:
    frames = pictures(5)
    with StreamingSession(model, **SIDE) as single, StreamingSession(model, **SIDE) as grouped:
        expected = [single.push(frame) for frame in frames]
        ours = [*grouped.push_many(frames[:2]), *grouped.push_many([]), *grouped.push_many(np.stack(frames[2:]))]
    for a, b in zip(ours, expected, strict=True):
        assert_equal(a, b, 1e-5)


def test_after_a_reset_the_next_video_is_the_first(model: MoRe) -> None:
    first, second = pictures(3), pictures(3, (40, 90), seed=1)
    with StreamingSession(model, **SIDE) as fresh:
        expected = [fresh.push(frame) for frame in second]
    with StreamingSession(model, **SIDE) as used:
        for frame in first:
            used.push(frame)
        used.reset()
        assert used.frames_seen == 0 and used.memory_mb == 0
        for frame, prediction in zip(second, expected):
            assert_equal(used.push(frame), prediction)


def test_two_sessions_take_turns(model: MoRe) -> None:
    clips = pictures(4), pictures(4, seed=1)
    expected = []
    for frames in clips:
        with StreamingSession(model, window=1, **SIDE) as alone:
            expected.append([alone.push(frame) for frame in frames])
    with StreamingSession(model, window=1, **SIDE) as a, StreamingSession(model, window=1, **SIDE) as b:
        for i in range(4):
            assert_equal(a.push(clips[0][i]), expected[0][i])
            assert_equal(b.push(clips[1][i]), expected[1][i])


def test_two_sessions_in_two_threads(model: MoRe) -> None:
    clips = pictures(4), pictures(4, seed=1)
    expected = []
    for frames in clips:
        with StreamingSession(model, **SIDE) as alone:
            expected.append([alone.push(frame) for frame in frames])
    results: dict[int, list[FramePrediction]] = {}

    def work(which: int) -> None:
        with StreamingSession(model, **SIDE) as stream:
            results[which] = [stream.push(frame) for frame in clips[which]]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for which in range(2):
        for a, b in zip(results[which], expected[which], strict=True):
            assert_equal(a, b, 1e-6)


def test_refined_cameras_share_the_world(model: MoRe) -> None:
    frames = pictures(5)
    with StreamingSession(model, refinable=True, **SIDE) as stream:
        for frame in frames:
            stream.push(frame)
        everything = stream.refine()
    assert everything.complete and everything.note == "" and everything.frames == (0, 1, 2, 3, 4)
    np.testing.assert_allclose(everything.cameras[0].world_from_cam, np.eye(4), atol=1e-12)
    assert everything.cameras[3].width == 80


def test_refining_after_eviction_says_so(model: MoRe) -> None:
    with StreamingSession(model, window=2, refinable=True, **SIDE) as stream:
        for frame in pictures(6):
            stream.push(frame)
        some = stream.refine()
        assert some.frames == (0, 4, 5) and not some.complete
        assert some.note == "3 of 6 frames had been evicted"
    with StreamingSession(model, window=2, anchors=0, refinable=True, **SIDE) as stream:
        for frame in pictures(6):
            stream.push(frame)
        assert stream.refine().frames == (4, 5)


def test_full_attention_weights_warn(model: MoRe) -> None:
    assert any("full attention" in warning for warning in StreamingSession(model).warnings)
    causal = lively(replace(preset("tiny"), attention="causal"))
    assert StreamingSession(causal).warnings == []
    trained = lively(preset("tiny"))
    for passes, warned in (("full", True), ("mixed", False), ("causal", False)):
        trained.provenance = {"name": "small", "passes": passes}  # a name says nothing of the training
        assert bool(StreamingSession(trained).warnings) == warned
    assert StreamingSession(MoRe.from_pretrained("small")).warnings == []


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (pictures(1, (60, 60))[0], "frame 2 is 60x60, the stream began with 80x60: reset"),
        (np.zeros((60, 80)), r"expected uint8 \[H, W, 3\], got float64 \[60, 80\]"),
        (Frame(0, 0.0, np.zeros((60, 80, 3), np.float32), "x"), "expected uint8"),
        (np.zeros((0, 80, 3), np.uint8), r"got uint8 \[0, 80, 3\]"),
        (torch.full((3, 60, 80), float("nan")), "finite"),
        (torch.full((3, 60, 80), 200.0), r"200\.\.200, expected finite ones in 0\.\.1"),
        (torch.zeros((3, 60, 80), dtype=torch.uint8), r"float tensor \[3, H, W\] in 0\.\.1, got torch\.uint8"),
        (torch.zeros(60, 80, 3), r"tensor \[3, H, W\]"),
    ],
    ids=["size", "grey", "float", "empty", "nan", "scale", "bytes", "layout"],
)
def test_a_refused_frame_leaves_the_session_usable(model: MoRe, bad, message: str) -> None:
    frames = pictures(4)
    with StreamingSession(model, **SIDE) as clean:
        expected = [clean.push(frame) for frame in frames]
    with StreamingSession(model, **SIDE) as stream:
        for frame in frames[:2]:
            stream.push(frame)
        with pytest.raises(StreamError, match=message):
            stream.push(bad)
        assert stream.frames_seen == 2
        assert_equal(stream.push(frames[2]), expected[2])


def test_a_first_frame_that_fails_fixes_no_size(model: MoRe, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise torch.OutOfMemoryError

    with StreamingSession(model, **SIDE) as stream:
        with monkeypatch.context() as patch:
            patch.setattr(model.depth_head, "forward", broken)
            with pytest.raises(torch.OutOfMemoryError):
                stream.push(pictures(1)[0])
        assert stream.push(pictures(1, (60, 60))[0]).shape == (42, 42)


def test_a_closed_session_refuses(model: MoRe) -> None:
    stream = StreamingSession(model, **SIDE)
    stream.push(pictures(1)[0])
    stream.close()
    stream.close()
    assert stream.memory_mb == 0
    for call in (lambda: stream.push(pictures(1)[0]), stream.reset, stream.refine, lambda: stream.save("x")):
        with pytest.raises(StreamError, match="closed"):
            call()


def test_a_second_producer_is_refused_and_a_close_waits(model: MoRe, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, leave = threading.Event(), threading.Event()
    real = model.depth_head.forward

    def slow(*args: object) -> torch.Tensor:
        inside.set()
        leave.wait(10)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(model.depth_head, "forward", slow)
    stream, done = StreamingSession(model, **SIDE), []
    thread = threading.Thread(target=lambda: done.append(stream.push(pictures(1)[0])))
    thread.start()
    assert inside.wait(10)
    with pytest.raises(StreamError, match="one producer per session"):
        stream.push(pictures(1)[0])
    stream.close()
    leave.set()
    thread.join()
    assert done[0].depth.shape == (28, 42)  # the frame under way is not lost
    assert stream.memory_mb == 0


def test_a_policy_may_be_named_as_in_reconstruct(model: MoRe) -> None:
    assert StreamingSession(model, policy="all").options.policy == KeepAll()
    assert StreamingSession(model, policy="specials", window=4, anchors=2).options.policy == Specials(4, 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"model": "small"}, "model is 'small', expected a network"),
        ({"policy": "elephant"}, "policy 'elephant' is unknown"),
        ({"policy": 5}, "policy is 5, expected an object"),
        ({"policy": KeepAll}, "policy is .*KeepAll"),
        ({"anchors": 3}, "anchors 3 was given without a window"),
        ({"policy": Window(3), "anchors": 3}, "anchors 3 was given without a window"),
        ({"window": "3"}, "window is '3'"),
        ({"iterations": "2"}, "iterations is '2'"),
        ({"outputs": "depth"}, "outputs is 'depth', expected a list of heads"),
        ({"long_side": 0}, "long_side is 0"),
        ({"long_side": "42"}, "long_side is '42'"),
        ({"refinable": 1}, "refinable is 1"),
    ],
    ids=str,
)
def test_settings_of_a_wrong_type_are_refused_at_once(model: MoRe, given: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        StreamingSession(**{"model": model, **given})


def test_impossible_settings_are_refused(model: MoRe) -> None:
    with pytest.raises(ConfigError, match="window is 0"):
        StreamingSession(model, window=0)
    with pytest.raises(ConfigError, match="either window or policy"):
        StreamingSession(model, window=3, policy=Window(3))
    with (
        pytest.raises(ConfigError, match=r"a cache budget of 0.01 MB is too small.*give at least 0\.\d+ MB"),
        StreamingSession(model, policy=Budget(0.01), **SIDE) as stream,
    ):
        stream.push(pictures(1)[0])
    with pytest.raises(ConfigError, match="cache_dtype"), StreamingSession(model, cache_dtype=torch.int8) as stream:
        stream.push(pictures(1)[0])
    plain = lively(replace(preset("tiny"), duplicate_camera=False))
    with pytest.raises(ConfigError, match="no duplicate camera token"), StreamingSession(plain, refinable=True) as s:
        s.push(pictures(1)[0])
