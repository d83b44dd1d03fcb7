"""Several starts for a short shot: which they are, and which map is taken."""

from __future__ import annotations

import numpy as np
import pytest

from openmore.refinement.cameras.starts import SHORT, best, same, starts
from openmore.refinement.report import Fit

GUESS = np.array([[200.0, 0, 120], [0, 220, 90], [0, 0, 1]])
VOTED = np.diag([1.5, 1.5, 1]) @ GUESS


def fit(support: float, median_px: float) -> Fit:
    return Fit(median_px, 0.9, 1000, support)


def test_a_short_shot_begins_with_several_lenses_and_pairs() -> None:
    begun = starts(VOTED, GUESS, SHORT, known=False)
    assert {rank for _, rank in begun} == {0, 1}
    focals = sorted({float(K[0, 0]) for K, _ in begun})
    np.testing.assert_allclose(focals, [125, 200, 300, 320])
    assert all(K[1, 1] / K[0, 0] == pytest.approx(1.1) for K, _ in begun)  # the shape of the pixels is not in doubt
    (first, rank), (second, other) = begun[:2]
    assert first[0, 0] > 2 * second[0, 0] and rank != other


def test_a_long_shot_begins_once_and_a_known_lens_is_kept() -> None:
    assert len(starts(VOTED, GUESS, SHORT + 1, known=False)) == 1
    assert all(K is GUESS for K, _ in starts(GUESS, GUESS, SHORT, known=True))


def test_of_maps_that_explain_as_much_the_one_with_less_error_is_taken() -> None:
    assert best([fit(2477, 0.131), fit(2474, 0.080), fit(900, 0.05)]) == 1
    assert best([fit(4600, 0.1), fit(4947, 0.2)]) == 1  # no error is small enough for a map that explains less


@pytest.mark.parametrize("other", [(900, 0.1, 200), (1000, 0.2, 200), (1000, 0.1, 240)])
def test_two_maps_are_the_same_in_support_error_and_lens(other: tuple[float, float, float]) -> None:
    assert same(fit(1000, 0.1), fit(995, 0.105), (200, 202))
    assert not same(fit(1000, 0.1), fit(other[0], other[1]), (200, other[2]))
