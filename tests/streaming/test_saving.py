"""Saving in the middle changes nothing, and a file that does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from openmore.errors import InputError, StreamError
from openmore.model.more import MoRe
from openmore.streaming.policy import KeepAll, KeyframeEvery, Specials, Window
from openmore.streaming.saving import HEADER
from openmore.streaming.session import StreamingSession
from tests.streaming.conftest import pictures

SIDE = {"long_side": 42}


@pytest.mark.parametrize("policy", [KeepAll(), Window(2), Specials(2, 1, 2), KeyframeEvery(2, 2)], ids=repr)
@pytest.mark.parametrize("cache_dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_resumed_stream_goes_on_bit_for_bit(model: MoRe, policy, cache_dtype, tmp_path: Path) -> None:
    options = {"policy": policy, "cache_dtype": cache_dtype, "refinable": True, **SIDE}
    frames = pictures(9)
    with StreamingSession(model, **options) as running, StreamingSession(model, **options) as resumed:
        for frame in frames[:5]:
            running.push(frame)
        running.save(tmp_path / "stream.safetensors")
        resumed.load(tmp_path / "stream.safetensors")
        assert resumed.frames_seen == 5
        for frame in frames[5:]:
            a, b = running.push(frame), resumed.push(frame)
            np.testing.assert_array_equal(a.camera.world_from_cam, b.camera.world_from_cam)
            np.testing.assert_array_equal(a.depth, b.depth)
        for a, b in zip(running.refine().cameras, resumed.refine().cameras, strict=True):
            np.testing.assert_array_equal(a.world_from_cam, b.world_from_cam)


def test_saving_does_not_disturb_the_stream(model: MoRe, tmp_path: Path) -> None:
    frames = pictures(8)
    with StreamingSession(model, window=2, **SIDE) as plain, StreamingSession(model, window=2, **SIDE) as saved:
        for frame in frames:
            expected, ours = plain.push(frame), saved.push(frame)
            saved.save(tmp_path / "stream.safetensors")
            np.testing.assert_allclose(ours.depth, expected.depth, rtol=1e-5)


@pytest.fixture
def saved(model: MoRe, tmp_path: Path) -> Path:
    path = tmp_path / "stream.safetensors"
    with StreamingSession(model, window=2, **SIDE) as stream:
        stream.push(pictures(1)[0])
        stream.save(path)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 3}, r"saved with policy 'Window\(n=2, anchors=1\)'"),
        ({"window": 2, "refinable": True}, "saved with refinable False"),
        ({"window": 2, "iterations": 2}, "saved with iterations None"),
        ({"window": 2, "cache_dtype": torch.bfloat16}, "saved with cache_dtype 'torch.float32'"),
    ],
)
def test_other_options_are_refused(model: MoRe, saved: Path, options: dict, message: str) -> None:
    with StreamingSession(model, **options, **SIDE) as stream, pytest.raises(StreamError, match=message):
        stream.load(saved)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * 500])
def test_a_damaged_file_is_refused_and_the_session_goes_on(model: MoRe, saved: Path, damage) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    with StreamingSession(model, window=2, **SIDE) as stream:
        stream.push(pictures(1)[0])
        with pytest.raises(StreamError, match="is not a saved stream"):
            stream.load(saved)
        with pytest.raises(StreamError, match="is not a saved stream"):
            stream.load(saved.with_name("missing"))
        stream.push(pictures(1)[0])
        assert stream.frames_seen == 2


@pytest.mark.parametrize(
    ("missing", "message"), [("world_from_first", "world_from_first"), ("tokens.1.k", r"tokens\.1\.k"), (None, "slots")]
)
def test_a_file_that_lacks_something_is_refused(model: MoRe, saved: Path, missing: str | None, message: str) -> None:
    with safe_open(saved, framework="pt") as handle:
        header = json.loads(handle.metadata()[HEADER])
        tensors = {key: handle.get_tensor(key) for key in handle.keys() if key != missing}  # noqa: SIM118
    if missing is None:
        header["slots"]["tokens"]["0"].pop()
    save_file(tensors, saved, {HEADER: json.dumps(header)})
    with StreamingSession(model, window=2, **SIDE) as stream:
        with pytest.raises(StreamError, match=f"is not a whole saved stream.*{message}"):
            stream.load(saved)
        assert stream.push(pictures(1)[0]).index == 0


def test_a_file_of_something_else_is_refused(model: MoRe, tmp_path: Path) -> None:
    save_file({"weights": torch.zeros(2)}, tmp_path / "other.safetensors")
    with StreamingSession(model) as stream, pytest.raises(StreamError, match="is not a saved stream"):
        stream.load(tmp_path / "other.safetensors")


def test_there_must_be_something_to_save_and_a_place(model: MoRe, tmp_path: Path) -> None:
    with StreamingSession(model, **SIDE) as stream:
        with pytest.raises(StreamError, match="nothing to save"):
            stream.save(tmp_path / "stream.safetensors")
        stream.push(pictures(1)[0])
        with pytest.raises(InputError, match="cannot write"):
            stream.save(tmp_path / "missing" / "stream.safetensors")
    assert not list(tmp_path.iterdir())
