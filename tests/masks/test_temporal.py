from __future__ import annotations

import numpy as np

from openmore.flow.base import FlowResult
from openmore.masks.temporal import vote

SHAPE = (6, 8)


def flow(u: float, confidence: float = 1.0) -> FlowResult:
    field = np.zeros((2, *SHAPE), np.float32)
    field[0] = u
    return FlowResult(field, np.full(SHAPE, confidence, np.float32))


def full(value: int) -> np.ndarray:
    return np.full(SHAPE, value, np.uint8)


def test_two_neighbours_overrule_one_does_not() -> None:
    assert (vote(full(1), [(full(0), flow(0)), (full(0), flow(0))]) == 0).all()
    assert (vote(full(1), [(full(0), flow(0))]) == 1).all()
    assert (vote(full(0), [(full(1), flow(0)), (full(0), flow(0))]) == 0).all()


def test_unknown_takes_the_majority_and_does_not_vote() -> None:
    assert (vote(full(255), [(full(1), flow(0))]) == 1).all()
    assert (vote(full(255), [(full(1), flow(0)), (full(0), flow(0))]) == 255).all()
    assert (vote(full(1), [(full(255), flow(0)), (full(0), flow(0))]) == 1).all()


def test_votes_travel_along_the_flow_and_only_where_it_is_sure() -> None:
    other = full(0)
    other[:, 4:] = 1
    assert vote(full(255), [(other, flow(2))])[0].tolist() == [0, 0, 1, 1, 1, 1, 255, 255]
    assert (vote(full(255), [(other, flow(2, confidence=0.2))]) == 255).all()
