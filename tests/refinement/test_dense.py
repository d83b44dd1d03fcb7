"""Dense depth and motion under known cameras: exact flow gives exact depth, movers are found, nothing is made up."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from openmore.flow import get_flow
from openmore.refinement.adjustment.rotations import exp_so3
from openmore.refinement.dense import residual_motion
from openmore.refinement.dense.depth import FEW, complete, confidence_of, guess
from openmore.refinement.dense.predictions import shots_of
from openmore.refinement.dense.smoothing import Edges, edges_of, fill, smooth
from openmore.refinement.dense.triangulated import Sight, Triangulation, sight, triangulate
from openmore.refinement.dense.walk import DenseFrame, DenseWalk
from openmore.refinement.report import RefinementReport
from tests.refinement.world import ROOM, SHAPE, Card, K, depth_of, film, picture, walk

MOVER = Card((-0.6, 0.5, 2.6), (0.7, 0.7), 9, velocity=(0.0, -0.12, 0.0))
FRAMES = 6
GRID = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)


def exact_sight(cameras: np.ndarray, a: int, b: int, depth: np.ndarray) -> Sight:
    """What perfect flow of a static scene would tell of frame b."""
    b_from_a = np.linalg.inv(cameras[b]) @ cameras[a]
    rays = np.stack((GRID[1], GRID[0], np.ones(SHAPE)), -1) @ np.linalg.inv(K).T
    there = (depth[..., None] * rays) @ b_from_a[:3, :3].T + b_from_a[:3, 3]
    seen = ((there / there[..., 2:]) @ K.T)[..., :2].transpose(2, 0, 1)
    return sight(K, K, b_from_a, GRID[1], GRID[0], seen, np.where(depth > 0, 1.0, 0.0))


@lru_cache(maxsize=4)
def walked(*movers: Card) -> tuple[DenseFrame, ...]:
    cameras = walk(FRAMES)
    images = film((*ROOM, *movers), cameras)
    return tuple(run(images, cameras))


def run(images: list[np.ndarray], cameras: np.ndarray, shot: np.ndarray | None = None) -> list[DenseFrame]:
    count = len(images)
    shot = np.zeros(count, int) if shot is None else shot
    flat = np.full((90, 120), 5.0, np.float32)
    Ks = np.tile(K, (count, 1, 1))
    return [frame for frame, _ in DenseWalk(lambda s: images[s], Ks, cameras, shot, lambda s: flat, get_flow("dis"))]


def small(values: np.ndarray) -> np.ndarray:
    """At the resolution of the walk's answers."""
    return values[::2, ::2]


def test_exact_flow_gives_exact_depth() -> None:
    cameras = walk(4)
    depth = depth_of(ROOM, cameras[1])
    found = triangulate([exact_sight(cameras, 1, b, depth) for b in (0, 2, 3)], SHAPE)
    assert np.max(np.abs(found.inverse * depth - 1)) < 0.001
    assert np.nanmax(found.residual) < 0.01


def test_one_liar_among_the_frames_is_overruled() -> None:
    cameras = walk(5)
    depth = depth_of(ROOM, cameras[1])
    sights = [exact_sight(cameras, 1, b, depth) for b in (0, 2, 3, 4)]
    sights[0] = replace(sights[0], upright=sights[0].upright + 15)
    assert np.median(np.abs(triangulate(sights, SHAPE).inverse * depth - 1)) < 0.01


def test_what_nobody_sees_has_no_information() -> None:
    found = triangulate([], SHAPE)
    assert not found.information.any() and np.isnan(found.residual).all()
    assert complete(found, edges_of(np.zeros((*SHAPE, 3), np.uint8))) is None


def test_a_turn_on_the_spot_has_no_parallax() -> None:
    cameras = walk(3)
    cameras[:, :3, 3] = 0
    depth = depth_of(ROOM, cameras[1])
    found = triangulate([exact_sight(cameras, 1, b, depth) for b in (0, 2)], SHAPE)
    assert complete(found, edges_of(picture(ROOM, cameras[1]))) is None


def test_holes_are_filled_within_edges() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 200
    truth = np.where(image[..., 0] > 0, 0.5, 0.1).astype(np.float32)
    known = np.random.default_rng(0).random(truth.shape) < 0.05
    prior = np.full_like(truth, 0.3)
    out, _ = fill(truth, np.where(known, 100.0, 0.0).astype(np.float32), edges_of(image), prior)
    assert np.median(np.abs(out / truth - 1)) < 0.05
    assert np.abs(out[:, 27:33] / truth[:, 27:33] - 1).max() < 0.3


def test_smoothing_keeps_constants_and_equals_the_dense_solution_on_a_line() -> None:
    rng = np.random.default_rng(1)
    edges = Edges(rng.random((1, 11)).astype(np.float32), np.zeros((0, 12), np.float32))
    assert np.allclose(smooth(np.ones((1, 1, 12), np.float32), edges, 50.0), 1, atol=1e-4)
    values, expected = rng.random((1, 1, 12)).astype(np.float32), None
    laplacian = np.zeros((12, 12))
    for i, g in enumerate(edges.across[0]):
        laplacian[[i, i + 1], [i, i + 1]] += g
        laplacian[[i, i + 1], [i + 1, i]] -= g
    expected = values[0, 0].astype(float)
    for n in range(3):
        expected = np.linalg.solve(np.eye(12) + 1.5 * 50 * 4 ** (2 - n) / 63 * laplacian, expected)
    assert np.allclose(smooth(values, edges, 50.0)[0, 0], expected, atol=1e-4)


def test_depth_of_a_walk_is_measured() -> None:
    cameras = walk(FRAMES)
    for s, frame in enumerate(walked()):
        assert frame.depth is not None and frame.confidence is not None
        truth = small(depth_of(ROOM, cameras[s]))
        assert np.mean(np.abs(frame.depth / truth - 1)) < 0.08
        assert frame.triangulated > 0.5 and frame.confidence.min() >= 1


def test_confidence_is_larger_where_depth_is_better() -> None:
    cameras = walk(FRAMES)
    frame = walked()[2]
    assert frame.depth is not None and frame.confidence is not None
    error = np.abs(frame.depth / small(depth_of(ROOM, cameras[2])) - 1)
    sure = frame.confidence >= np.median(frame.confidence)
    assert error[sure].mean() < error[~sure].mean()


def test_nothing_moves_in_a_static_room() -> None:
    shares = [(frame.motion > 0.5).mean() for frame in walked() if frame.motion is not None]
    assert len(shares) == FRAMES and np.mean(shares) < 0.02


def test_a_mover_is_found() -> None:
    cameras = walk(FRAMES)
    for s in (1, 2, 3):
        motion = walked(MOVER)[s].motion
        assert motion is not None
        truth = small(depth_of((MOVER,), cameras[s], s) > 0)
        found = motion > 0.5
        assert (found & truth).sum() / (found | truth).sum() > 0.5


def test_a_fixed_camera_keeps_the_predicted_depth_and_shows_the_mover() -> None:
    cameras = np.tile(np.eye(4), (FRAMES, 1, 1))
    frames = run(film((*ROOM, MOVER), cameras), cameras)
    assert all(frame.depth is None and frame.triangulated == 0 for frame in frames)
    motion = frames[2].motion
    assert motion is not None
    truth = small(depth_of((MOVER,), cameras[2], 2) > 0)
    found = motion > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.5
    assert (found & ~truth).mean() < 0.02


def test_a_turning_camera_keeps_the_predicted_depth() -> None:
    cameras = np.tile(np.eye(4), (4, 1, 1))
    cameras[:, :3, :3] = exp_so3(np.stack([(0, 0.03 * s, 0) for s in range(4)]))
    frames = run(film(ROOM, cameras), cameras)
    assert all(frame.depth is None for frame in frames)
    assert all(frame.motion is not None and (frame.motion > 0.5).mean() < 0.02 for frame in frames)


@pytest.mark.parametrize("kind", ["one frame", "blank", "unsolved"])
def test_nothing_is_made_up(kind: str) -> None:
    count = 1 if kind == "one frame" else 3
    images = [np.full((*SHAPE, 3), 90, np.uint8)] * count if kind == "blank" else film(ROOM, walk(count))
    frames = run(images, walk(count), np.full(count, -1 if kind == "unsolved" else 0))
    assert all(frame.depth is None for frame in frames)
    if kind != "blank":
        assert all(frame.motion is None for frame in frames)
    else:
        assert all(frame.motion is None or (frame.motion > 0.5).mean() == 0 for frame in frames)


def test_frames_of_unsolved_cameras_have_no_shot() -> None:
    report = RefinementReport(SHAPE, shots=[(0, 1), (2, 4)])
    report.sources = ["geometry", "geometry", "network", "still", "geometry"]
    assert shots_of(report).tolist() == [0, 0, -1, 1, 1]


def test_confidence_of_a_guess_is_about_one() -> None:
    cameras = walk(4)
    depth = depth_of(ROOM, cameras[1])
    depth[:, SHAPE[1] // 2 :] = 0  # nobody sees the right half
    found = triangulate([exact_sight(cameras, 1, b, depth) for b in (0, 2, 3)], SHAPE)
    dense = complete(found, edges_of(picture(ROOM, cameras[1])))
    assert dense is not None
    confidence = confidence_of(dense)
    assert confidence[:, -20:].mean() < 3 < confidence[:, :60].mean()


def test_what_is_not_measured_has_the_shape_and_measured_scale_of_the_prediction() -> None:
    cameras = walk(4)
    depth = depth_of(ROOM, cameras[1])
    hidden = depth.copy()
    hidden[:, SHAPE[1] // 2 :] = 0  # nobody sees the right half
    found = triangulate([exact_sight(cameras, 1, b, hidden) for b in (0, 2, 3)], SHAPE)
    edges = edges_of(picture(ROOM, cameras[1]))
    level, shaped = complete(found, edges), complete(found, edges, predicted=7 * depth)
    assert level is not None and shaped is not None
    right = (slice(None), slice(SHAPE[1] // 2, None))
    assert np.abs(shaped.inverse[right] * depth[right] - 1).mean() < 0.05
    assert np.abs(level.inverse[right] * depth[right] - 1).mean() > 0.1


def test_a_wrong_prediction_is_not_believed_where_depth_is_measured() -> None:
    cameras = walk(4)
    depth = depth_of(ROOM, cameras[1])
    found = triangulate([exact_sight(cameras, 1, b, depth) for b in (0, 2, 3)], SHAPE)
    wrong = np.linspace(1, 5, SHAPE[1], dtype=np.float32)[None] * depth
    dense = complete(found, edges_of(picture(ROOM, cameras[1])), predicted=wrong)
    assert dense is not None
    assert np.median(np.abs(dense.inverse * depth - 1)[dense.triangulated]) < 0.03


def test_a_pausing_mover_before_a_fixed_camera_is_still_a_mover() -> None:
    cameras = np.tile(np.eye(4), (12, 1, 1))
    images = film(ROOM, cameras)
    visitor = film((*ROOM, Card((-0.6, 0.5, 2.6), (0.7, 0.7), 9)), cameras)
    images[5:9] = visitor[5:9]  # comes, stands and leaves
    truth = small(depth_of((Card((-0.6, 0.5, 2.6), (0.7, 0.7), 9),), cameras[0]) > 0)
    frames = run(images, cameras)
    for s in (6, 7):
        motion = frames[s].motion
        assert motion is not None
        found = motion > 0.5
        assert (found & truth).sum() / (found | truth).sum() > 0.7
    quiet = frames[1].motion
    assert quiet is not None and (quiet > 0.5).mean() < 0.01


def test_the_guess_goes_on_with_the_plane_that_was_measured() -> None:
    cameras = walk(4)
    ground = (1 / (0.1 + 0.4 * GRID[0] / SHAPE[0])).astype(np.float32)
    depth = np.where(GRID[0] < 130, ground, 0)  # nobody sees the lowest part
    found = triangulate([exact_sight(cameras, 1, b, depth) for b in (0, 2, 3)], SHAPE)
    dense = complete(found, edges_of(np.zeros((*SHAPE, 3), np.uint8)))
    assert dense is not None and dense.triangulated.mean() > FEW
    start = guess(dense)
    assert np.array_equal(start[dense.triangulated], dense.inverse[dense.triangulated])
    below = (slice(140, None), slice(40, -40))
    assert np.abs(start[below] * ground[below] - 1).mean() < 0.1
    assert np.abs(dense.inverse[below] * ground[below] - 1).mean() > 0.1


def test_tiny_and_doubtful_movers_are_dropped() -> None:
    motion = np.full((100, 100), 0.1, np.float32)
    tiny, small, surer = np.s_[5:7, 5:7], np.s_[5:9, 20:24], np.s_[5:9, 40:44]  # 4 and 16 of the 10,000 pixels
    doubtful, sure = np.s_[50:70, 50:70], np.s_[80:90, 80:90]
    for piece, probability in ((tiny, 0.999), (small, 0.95), (surer, 0.6), (doubtful, 0.8), (sure, 0.6)):
        motion[piece] = probability
    motion[6, 41], motion[85, 85] = 0.995, 0.92
    kept = residual_motion.without_doubtful(motion)
    for piece in (tiny, small, doubtful):
        np.testing.assert_allclose(kept[piece], 1 - motion[piece], atol=1e-6)
    for piece in (surer, sure):
        np.testing.assert_array_equal(kept[piece], motion[piece])
    nothing = np.zeros((4, 4), np.float32)
    np.testing.assert_array_equal(residual_motion.without_doubtful(nothing), nothing)


def test_specks_are_dropped_and_holes_filled() -> None:
    motion = np.zeros((60, 80), np.float32)
    motion[5:7, 5:7] = 0.9
    motion[30:40, 20:30] = 0.9
    motion[33:36, 24:27] = 0.2
    motion[38:40, 26:28] = 0.2  # a notch, no hole
    motion[:10, 60:] = 0.9
    motion[:5, 70:] = 0.2  # a corner that the mover and the picture's edges close
    tidied = residual_motion.tidied(motion)
    np.testing.assert_allclose(tidied[5:7, 5:7], 0.1, atol=1e-6)
    np.testing.assert_allclose(tidied[33:36, 24:27], 0.8, atol=1e-6)
    tidied[5:7, 5:7], tidied[33:36, 24:27] = 0.9, 0.2
    np.testing.assert_array_equal(tidied, motion)


def test_a_known_mover_takes_the_depth_around_it() -> None:
    shape = (60, 80)
    inverse, information = np.full(shape, 0.5, np.float32), np.full(shape, 1e6, np.float32)
    inverse[20:40, 30:50] = 5.0  # motion along the epipolar lines passes for depth
    found = Triangulation(inverse, information, np.zeros(shape, np.float32))
    edges = Edges(np.ones((60, 79), np.float32), np.ones((59, 80), np.float32))
    still = np.ones(shape, np.float32)
    still[18:42, 28:52] = 0
    fooled, told = complete(found, edges), complete(found, edges, still)
    assert fooled is not None and told is not None
    assert fooled.inverse[30, 40] > 4
    np.testing.assert_allclose(told.inverse, 0.5, rtol=0.05)
    assert not told.triangulated[30, 40]


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = walk(FRAMES)
    images = film((*ROOM, MOVER), cameras)
    answers = []
    for threads in (1, 3):
        monkeypatch.setattr("openmore.threads.thread_count", lambda threads=threads: threads)
        answers.append(run(images, cameras))
    for one, three in zip(*answers):
        assert one.depth is not None and three.depth is not None
        assert one.motion is not None and three.motion is not None
        assert np.array_equal(one.depth, three.depth) and np.array_equal(one.motion, three.motion)
