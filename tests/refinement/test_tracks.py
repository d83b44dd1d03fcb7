"""Tracks: what is joined, what is dropped, and how many are kept."""

from __future__ import annotations

import numpy as np

from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.tracks import cut, link, renumber, table, thin
from openmore.refinement.matching.twoview import Pair


def points(count: int, at: float = 0.0) -> Keypoints:
    uv = np.stack((at + np.arange(count), np.full(count, at)), 1).astype(np.float32)
    return Keypoints(uv, np.zeros((count, 128), np.uint8))


def pair(a: int, b: int, index: list[tuple[int, int]]) -> Pair:
    return Pair(a, b, np.array(index), None, 0.0, 0.0)


def test_matches_over_several_frames_become_one_track() -> None:
    keypoints = [points(3, 10.0 * s) for s in range(3)]
    depth = [np.full(3, s + 1.0, np.float32) for s in range(3)]
    obs = link(keypoints, [pair(0, 1, [(0, 1), (2, 2)]), pair(1, 2, [(1, 0)])], depth)
    assert obs.point.tolist() == [0, 0, 0, 1, 1] and obs.frame.tolist() == [0, 1, 2, 0, 1]
    np.testing.assert_array_equal(obs.uv[:3, 1], [0, 10, 20])
    np.testing.assert_array_equal(obs.depth[:3], [1, 2, 3])


def test_a_track_that_visits_a_frame_twice_keeps_neither_place_there() -> None:
    keypoints = [points(2, 10.0 * s) for s in range(4)]
    pairs = [pair(0, 1, [(0, 0)]), pair(0, 2, [(0, 0)]), pair(1, 3, [(0, 0)]), pair(2, 3, [(0, 1)])]
    obs = link(keypoints, pairs, [np.ones(2)] * 4)
    assert obs.frame.tolist() == [0, 1, 2]


def test_single_sightings_are_no_tracks() -> None:
    assert len(link([points(2), points(2)], [], [np.ones(2)] * 2)) == 0


def test_cut_tracks_are_short_and_lose_nothing_else() -> None:
    frame = np.arange(20)
    obs = table(np.zeros(20, int), frame, np.zeros((20, 2)), np.ones(20))
    pieces = cut(obs, 8)
    assert [np.ptp(pieces.frame[pieces.point == p]) for p in range(3)] == [7, 7, 3] and len(pieces) == 20
    assert len(cut(obs.select(np.array([0, 1, 9])), 8)) == 2  # the last would be alone


def test_thinning_keeps_the_longest_in_every_cell() -> None:
    """One cell of one frame holds tracks of length 2..9; the two longest stay, whole."""
    point = np.concatenate([np.full(n, n) for n in range(2, 10)])
    frame = np.concatenate([np.arange(n) for n in range(2, 10)])
    obs = table(point, frame, np.full((len(point), 2), 5.0), np.ones(len(point)))
    assert np.bincount(thin(obs, 2, (120, 160)).point).tolist() == [8, 9]
    assert len(thin(obs, 8, (120, 160))) == len(obs)


def test_thinning_bounds_the_observations_of_a_frame() -> None:
    rng = np.random.default_rng(0)
    point, frame = np.repeat(np.arange(4000), 2), np.tile([0, 1], 4000)
    obs = table(point, frame, rng.uniform(0, (160, 120), (8000, 2)), np.ones(8000))
    assert len(thin(obs, 3, (120, 160))) <= 2 * 2 * 3 * 12 * 9


def test_points_are_numbered_without_gaps() -> None:
    obs = table(np.array([5, 5, 9, 9]), np.array([1, 0, 0, 2]), np.zeros((4, 2)), np.ones(4))
    assert obs.point.tolist() == [0, 0, 1, 1] and obs.frame.tolist() == [0, 1, 0, 2]
    assert renumber(obs.select(obs.point == 1)).point.tolist() == [0, 0]
