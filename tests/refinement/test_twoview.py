"""What two frames say: verified matches, rotations, relative motion, still and turning cameras, focal length, shots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from openmore.refinement.adjustment.rotations import exp_so3
from openmore.refinement.cameras.camera_motion import find_shots, is_planar, is_still, is_turn
from openmore.refinement.cameras.focal import focal_from_pairs, focal_from_rotations
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.twoview import (
    Pair,
    bearings,
    epipolar_distance,
    fit_rotation,
    relative_motion,
    verify,
)
from tests.refinement.world import K, turning, walk

POINTS = 200


def project(world_from_cam: np.ndarray, xyz: np.ndarray, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    """Pixels [N, 2] float32 of world points."""
    X = (xyz - world_from_cam[:3, 3]) @ world_from_cam[:3, :3]
    uv = X[:, :2] / X[:, 2:] * 210.0 + K[:2, 2]
    return (uv + noise * np.random.default_rng(seed).normal(size=uv.shape)).astype(np.float32)


def cloud(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform((-2, -1.5, 3), (3, 1.5, 7), (POINTS, 3))


def views(cameras: np.ndarray, xyz: np.ndarray) -> tuple[list[Keypoints], list[Pair]]:
    """Key points of all cameras and all their pairs, row i being point i."""
    uv = [project(camera, xyz, seed=s) for s, camera in enumerate(cameras)]
    same = np.stack((np.arange(len(xyz)),) * 2, 1)
    pairs = [verify(a, b, uv[a], uv[b], same) for a in range(len(uv)) for b in range(a + 1, len(uv))]
    return [Keypoints(x, np.zeros((len(x), 128), np.uint8)) for x in uv], [p for p in pairs if p is not None]


def test_wrong_matches_are_taken_out() -> None:
    xyz, cameras = cloud(), walk(3, 0.3)
    a, b = project(cameras[0], xyz), project(cameras[2], xyz, seed=1)
    index = np.stack((np.arange(POINTS),) * 2, 1)
    index[:60, 1] = np.roll(index[:60, 1], 7)
    pair = verify(0, 2, a, b, index)
    assert pair is not None and pair.F is not None
    right = pair.index[:, 0] == pair.index[:, 1]
    assert right.sum() > 130 and right.mean() > 0.95
    assert np.median(epipolar_distance(pair.F, a[60:], b[60:])) < 0.2
    assert pair.plane_share < 0.5 and pair.still_share < 0.1


def test_too_few_matches_say_nothing() -> None:
    uv = np.random.default_rng(0).uniform(0, 100, (10, 2)).astype(np.float32)
    assert verify(0, 1, uv, uv, np.stack((np.arange(10),) * 2, 1)) is None


def test_nothing_moved() -> None:
    uv = project(np.eye(4), cloud())
    pair = verify(0, 1, uv, uv + 0.1, np.stack((np.arange(POINTS),) * 2, 1))
    assert pair is not None and pair.F is None and pair.still_share == 1.0


def test_writing_that_stands_still_does_not_vote() -> None:
    xyz, ahead = cloud(), np.eye(4)
    ahead[:3, :3], ahead[2, 3] = exp_so3(np.array([[0.0, 0.03, 0.0]]))[0], 0.6  # on, and turned by two degrees
    writing = np.random.default_rng(1).uniform((30, 120), (210, 150), (150, 2)).astype(np.float32)
    a, b = (np.concatenate((project(camera, xyz, seed=s), writing)) for s, camera in enumerate((np.eye(4), ahead)))
    pair = verify(0, 1, a, b, np.stack((np.arange(len(a)),) * 2, 1))
    assert pair is not None and pair.F is not None
    assert (pair.index[:, 0] >= POINTS).sum() < 30 and (pair.index[:, 0] < POINTS).sum() > 0.95 * POINTS


def test_what_is_far_away_stands_still_and_stays() -> None:
    xyz, ahead = np.concatenate((cloud(), 1000 * cloud()[:60])), np.eye(4)
    ahead[:3, 3] = 0.1, 0, 0.6
    a, b = project(np.eye(4), xyz), project(ahead, xyz, seed=1)
    pair = verify(0, 1, a, b, np.stack((np.arange(len(a)),) * 2, 1))
    assert pair is not None and (pair.index[:, 0] >= POINTS).sum() > 50


def test_rotation_is_found_among_outliers() -> None:
    R = exp_so3(np.array([[0.1, -0.2, 0.05]]))[0]
    a = bearings(np.random.default_rng(0).uniform(0, (240, 180), (100, 2)), K)
    b = a @ R.T
    b[:30] = a[:30]
    found, residual = fit_rotation(a, b, 1.5 / 210)
    np.testing.assert_allclose(found, R, atol=1e-3)
    assert residual[30:].max() < 0.002 < residual[:30].min()


def test_relative_motion_is_the_true_one_up_to_length() -> None:
    xyz, cameras = cloud(), walk(3, 0.3)
    found = relative_motion(project(cameras[0], xyz), project(cameras[2], xyz, seed=1), K)
    truth = np.linalg.inv(cameras[2]) @ cameras[0]
    assert found is not None and found.inliers > 150
    np.testing.assert_allclose(found.b_from_a[:3, :3], truth[:3, :3], atol=3e-3)
    direction = truth[:3, 3] / np.linalg.norm(truth[:3, 3])
    assert found.b_from_a[:3, 3] @ direction > 0.999


def test_the_three_motions_of_a_camera() -> None:
    xyz = cloud()
    keypoints, pairs = views(np.tile(np.eye(4), (4, 1, 1)), xyz)
    assert is_still(pairs)
    keypoints, pairs = views(turning(5, 2.0), xyz)
    assert not is_still(pairs) and is_turn(pairs, keypoints, K)
    keypoints, pairs = views(walk(5, 0.2), xyz)
    assert not is_still(pairs) and not is_turn(pairs, keypoints, K) and not is_planar(pairs)


def test_a_walk_along_a_wall_is_planar_but_no_turn() -> None:
    wall = cloud()
    wall[:, 2] = 5.0
    keypoints, pairs = views(walk(5, 0.3, turn=0.0), wall)
    assert is_planar(pairs) and not is_turn(pairs, keypoints, K)


def test_a_cut_makes_two_shots_and_a_blank_frame_does_not() -> None:
    index = np.zeros((40, 2), np.int64)
    joined = lambda *edges: [Pair(a, b, index, None, 0.0, 0.0) for a, b in edges]  # noqa: E731
    shots = find_shots(8, joined((0, 1), (1, 2), (4, 5), (5, 6), (6, 7)))
    assert [s.tolist() for s in shots] == [[0, 1, 2], [4, 5, 6, 7]]
    assert [s.tolist() for s in find_shots(5, joined((0, 1), (1, 3), (3, 4)))] == [[0, 1, 3, 4]]
    weak = [replace(p, index=index[:10]) for p in joined((0, 1), (1, 2))]
    assert find_shots(3, weak) == []


@pytest.mark.parametrize("guess", [150.0, 300.0])
def test_focal_length_from_motion(guess: float) -> None:
    _, pairs = views(walk(5, 0.25, turn=0.05), cloud())
    start = np.array([[guess, 0, 119.5], [0, guess, 89.5], [0, 0, 1]])
    assert focal_from_pairs(pairs, start, 240) == pytest.approx(210, rel=0.08)


def test_focal_length_from_a_turn() -> None:
    cameras = turning(5, 8.0)
    xyz = cloud() + (0.5, 0, 3)
    keypoints, pairs = views(cameras, xyz)
    start = np.array([[320.0, 0, 119.5], [0, 320.0, 89.5], [0, 0, 1]])
    assert focal_from_rotations(pairs, keypoints, start, 240) == pytest.approx(210, rel=0.08)


def test_without_a_vote_the_guess_stays() -> None:
    assert focal_from_pairs([], K, 240) == 210.0
