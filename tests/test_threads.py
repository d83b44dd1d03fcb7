"""Threads over the frames of a clip: order, bounds, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from openmore.threads import in_order


@pytest.mark.parametrize("threads", (1, 2, 3))
def test_results_come_in_order_and_items_are_taken_just_ahead(threads: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            taken.append(i)
            yield i

    def work(i: int) -> int:
        time.sleep(0.002 * (i % 3))
        return i * i

    for count, result in enumerate(in_order(work, items(), threads)):
        assert result == count * count
        assert len(taken) <= count + 1 + threads


def test_items_are_worked_on_side_by_side() -> None:
    both = threading.Barrier(2, timeout=30)
    assert list(in_order(lambda _: both.wait() >= 0, range(2), 2)) == [True, True]


@pytest.mark.parametrize("threads", (1, 2))
def test_an_error_is_raised_at_its_item(threads: int) -> None:
    def work(i: int) -> int:
        if i == 3:
            raise ValueError("three")
        return i

    seen = []
    with pytest.raises(ValueError, match="three"):
        for result in in_order(work, range(10), threads):
            seen.append(result)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("threads", (1, 2))
def test_nothing_is_started_for_nothing_and_stopping_early_is_fine(threads: int) -> None:
    assert list(in_order(str, [], threads)) == []
    results = in_order(str, range(1000), threads)
    assert next(results) == "0"
    results.close()
