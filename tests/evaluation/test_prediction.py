"""The cache of predictions: whatever a killed run or a bad disk left of it, it is a prediction or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmore.evaluation.prediction import Prediction, load_prediction, save_prediction

WHO = {"method": "a"}


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    eye, ones = np.tile(np.eye(4), (3, 1, 1)), np.ones((3, 4, 5), np.float32)
    save_prediction(tmp_path / "clip.npz", Prediction(eye, depth=ones, motion=ones, seconds=1.0), WHO)
    return tmp_path / "clip.npz"


def test_it_is_this_methods_or_nothing(cached: Path) -> None:
    found = load_prediction(cached, WHO)
    assert found is not None and found.seconds == 1.0 and found.depth is not None and found.depth.shape == (3, 4, 5)
    assert load_prediction(cached, {"method": "b"}) is None
    assert load_prediction(cached.with_name("absent.npz"), WHO) is None


def test_damaged_bytes_are_nothing_or_whole(cached: Path) -> None:
    good, rng = cached.read_bytes(), np.random.default_rng(0)
    for attempt in range(300):
        data = bytearray(good)
        start = int(rng.integers(len(data)))
        if attempt % 3 == 0:
            del data[start:]
        elif attempt % 3 == 1:
            data[start] = int(rng.integers(256))
        else:
            data[start : start + 50] = bytes(50)
        cached.write_bytes(data)
        found = load_prediction(cached, WHO)
        assert found is None or isinstance(found, Prediction)


@pytest.mark.parametrize("meta", ["[]", "3", "{", '{"description": {"method": "a"}}', '{"seconds": "x"}'])
def test_a_description_that_is_none_is_nothing(cached: Path, meta: str) -> None:
    with open(cached, "wb") as file:
        np.savez(file, meta=np.array(meta))
    assert load_prediction(cached, WHO) is None
