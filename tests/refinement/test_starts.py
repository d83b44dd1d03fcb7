"""Several starts for a short shot: which they are, and which map is taken."""

from __future__ import annotations

import numpy as np
import pytest

from openmore.refinement.cameras.starts import LONG, SHORT, as_good, poor, starts
from openmore.refinement.report import Fit

GUESS = np.array([[200.0, 0, 120], [0, 220, 90], [0, 0, 1]])
VOTED = np.diag([1.5, 1.5, 1]) @ GUESS


def fit(support: float, median_px: float, observations: int = 1000) -> Fit:
    return Fit(median_px, 0.9, observations, support)


def test_a_short_shot_begins_with_several_lenses_and_pairs() -> None:
    begun, more = starts(VOTED, GUESS, SHORT, known=False)
    assert {rank for _, rank in begun} == {0, 1, 2, 3}
    focals = sorted({float(K[0, 0]) for K, _ in begun})
    np.testing.assert_allclose(focals, [125, 200, 300])
    assert all(K[1, 1] / K[0, 0] == pytest.approx(1.1) for K, _ in begun)  # the shape of the pixels is not in doubt
    (first, rank), (second, other) = begun[:2]
    assert len(more) > len(begun) and first[0, 0] > 2 * second[0, 0] and rank != other


def test_a_long_shot_begins_once_and_a_known_lens_is_kept() -> None:
    for frames, beside in ((SHORT, 8), (SHORT + 1, 3), (LONG + 1, 0)):
        usual, more = starts(VOTED, GUESS, frames, known=False)
        assert (len(usual) > 1) == (frames <= SHORT) and len(more) == beside
        usual, more = starts(GUESS, GUESS, frames, known=True)
        assert all(K is GUESS for K, _ in usual + more)
        assert len({rank for _, rank in usual + more}) == len(usual + more)


def test_what_is_tried_beside_is_new() -> None:
    usual, more = ({(float(K[0, 0]), rank) for K, rank in part} for part in starts(VOTED, GUESS, SHORT, known=False))
    assert len(more) == 8 and not usual & more


def test_a_shot_that_no_map_explains_is_poor() -> None:
    assert poor([], 1000) and poor([fit(500, 1.0), fit(680, 0.5)], 1000)
    assert not poor([fit(500, 1.0), fit(710, 0.5)], 1000)


def test_of_maps_that_explain_as_much_those_with_less_error_are_good() -> None:
    assert as_good([fit(2477, 0.131), fit(2474, 0.080), fit(900, 0.05)]) == [1]
    assert as_good([fit(4600, 0.1), fit(4947, 0.2)]) == [1]  # no error is small enough for a map that explains less
    assert as_good([fit(3802, 0.316), fit(3804, 0.314)]) == [0, 1]  # what is hardly less is no less
    assert as_good([]) == []


def test_a_map_that_leaves_frames_out_is_not_as_good() -> None:
    assert as_good([fit(3944, 0.43), fit(3895, 0.38, 960)]) == [0]
