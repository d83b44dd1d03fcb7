"""Refinement of whole clips: better cameras from good video, and a named warning and no harm from bad video."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from openmore.errors import InputError
from openmore.refinement.cameras import shot
from openmore.refinement.refine import RefinementResult, refine
from tests.refinement.world import (
    OTHER_ROOM,
    ROOM,
    SHAPE,
    WALL,
    Card,
    K,
    depth_of,
    disturbed,
    film,
    picture,
    position_error,
    rotation_errors_deg,
    turning,
    walk,
)

FRAMES = 6
SEED = 0


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    cv2.setRNGSeed(SEED)


def warned(result: RefinementResult, text: str) -> bool:
    return any(text in warning for warning in result.report.warnings)


def assert_no_worse(result: RefinementResult, network: np.ndarray, truth: np.ndarray) -> None:
    """Nothing that bad video does may cost accuracy."""
    assert np.isfinite(result.world_from_cam).all()
    assert (
        np.median(rotation_errors_deg(result.world_from_cam, truth))
        <= np.median(rotation_errors_deg(network, truth)) + 1e-6
    )
    json.dumps(result.report.as_dict(), allow_nan=False)


@pytest.fixture(scope="module")
def cameras() -> np.ndarray:
    return walk(FRAMES, 0.2)


@pytest.fixture(scope="module")
def images(cameras: np.ndarray) -> list[np.ndarray]:
    return film(ROOM, cameras)


@pytest.fixture(scope="module")
def good(cameras: np.ndarray, images: list[np.ndarray]) -> RefinementResult:
    cv2.setRNGSeed(SEED)
    depth = [depth_of(ROOM, camera) for camera in cameras]
    confidence = [np.ones_like(d) for d in depth]
    return refine(images, disturbed(cameras), K, K=K, depth=depth, confidence=confidence)


def test_good_video_gives_accurate_cameras(good: RefinementResult, cameras: np.ndarray) -> None:
    assert rotation_errors_deg(good.world_from_cam, cameras).max() < 0.15
    assert position_error(good.world_from_cam, cameras) < 0.02
    np.testing.assert_allclose(good.K, np.tile(K, (FRAMES, 1, 1)), atol=1e-9)


def test_cameras_and_depth_share_one_scale(good: RefinementResult, cameras: np.ndarray) -> None:
    """True depth was given: the path must come out in its units, without any alignment."""
    ours, true = good.world_from_cam[:, :3, 3], cameras[:, :3, 3]
    assert np.linalg.norm(ours[-1] - ours[0]) == pytest.approx(np.linalg.norm(true[-1] - true[0]), rel=0.03)
    np.testing.assert_allclose(good.depth_scale * 5 + good.depth_shift, 5, rtol=0.05)


def test_the_report_says_what_was_done(good: RefinementResult) -> None:
    report = good.report
    assert report.before is not None and report.after is not None
    assert report.after.median_px < 0.5 < report.before.median_px
    assert report.after.inlier_share > 0.9 > report.before.inlier_share
    assert report.sources == ["geometry"] * FRAMES and report.shots == [(0, FRAMES - 1)]
    assert report.focal_free is False and report.depth_error < 0.05 and report.camera_motion == "moving"
    assert report.starts == ["tracks"]  # the disturbed network's poses explain too little to begin with
    assert set(report.seconds) >= {"match", "solve"}


def test_uncertainty_covers_the_error(good: RefinementResult, cameras: np.ndarray) -> None:
    """Small, zero for the camera that defines the world, and of the size of the true error."""
    sigma = good.report.rotation_sigma_deg
    assert sigma[0] == good.report.center_sigma[0] == 0 and (sigma[1:] > 0).all() and sigma.max() < 0.2
    error = rotation_errors_deg(good.world_from_cam, cameras)
    assert (error[1:] < 8 * sigma[1:]).all()
    assert 0 < good.report.center_sigma[1:].max() < 0.1 * np.linalg.norm(cameras[-1, :3, 3])


def test_good_cameras_stay(cameras: np.ndarray, images: list[np.ndarray]) -> None:
    result = refine(images, cameras, K, K=K)
    assert rotation_errors_deg(result.world_from_cam, cameras).max() < 0.15


def test_the_focal_length_is_found(cameras: np.ndarray, images: list[np.ndarray]) -> None:
    guess = np.array([[300.0, 0, 119.5], [0, 243.0, 89.5], [0, 0, 1]])  # of a lens with no square pixels
    result = refine(images, disturbed(cameras), guess)
    assert result.K[0, 0, 0] == pytest.approx(result.K[0, 1, 1])
    assert abs(np.log(result.K[0, 0, 0] / 210)) < 0.5 * np.log(270 / 210)
    assert (result.K[0] == result.K).all() and result.report.focal_free


def test_a_focal_length_that_explains_little_is_not_the_last_one_tried(
    cameras: np.ndarray, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    solve, begun = shot._moving, []

    def weak_far_from_the_guess(
        seen: shot.ShotInput, start: np.ndarray, most: int | None = None
    ) -> shot.ShotSolution | None:
        begun.append(start[0, 0])
        solution = solve(seen, start, most)
        assert solution is not None
        if start[0, 0] == seen.K[0, 0]:
            return solution
        return replace(solution, fit=replace(solution.fit, inlier_share=0.3, support=0.3 * solution.fit.support))

    monkeypatch.setattr(shot, "SHORT", 0)  # a short shot begins with several focal lengths anyway
    monkeypatch.setattr("openmore.refinement.cameras.starts.SHORT", 0)
    monkeypatch.setattr(shot, "estimate_intrinsics", lambda seen: shot._with_focal(seen.K, 900.0))
    monkeypatch.setattr(shot, "_moving", weak_far_from_the_guess)
    result = refine(images, disturbed(cameras), K)
    assert begun == [900.0, pytest.approx(210.0)] and result.report.camera_motion == "moving"
    assert rotation_errors_deg(result.world_from_cam, cameras).max() < 0.5


def test_a_short_shot_does_not_stay_where_a_wrong_vote_began(
    cameras: np.ndarray, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shot, "estimate_intrinsics", lambda seen: shot._with_focal(seen.K, 900.0))
    result = refine(images, disturbed(cameras), K)
    assert rotation_errors_deg(result.world_from_cam, cameras).max() < 0.5
    assert result.K[0, 0, 0] == pytest.approx(210, rel=0.1)


def test_no_texture(cameras: np.ndarray) -> None:
    network = disturbed(cameras)
    result = refine([np.full((*SHAPE, 3), 120, np.uint8)] * FRAMES, network, K)
    np.testing.assert_array_equal(result.world_from_cam, network)
    assert warned(result, "no texture") and result.report.count("network") == FRAMES
    assert np.isnan(result.report.rotation_sigma_deg).all()


def test_a_blank_frame_is_bridged(cameras: np.ndarray, images: list[np.ndarray]) -> None:
    seen = [np.zeros_like(image) if s == 3 else image for s, image in enumerate(images)]
    network = disturbed(cameras)
    result = refine(seen, network, K, K=K)
    assert warned(result, "blank frame") and result.report.sources[3] == "interpolated"
    assert_no_worse(result, network, cameras)
    assert rotation_errors_deg(result.world_from_cam, cameras).max() < 1.0


def test_pure_rotation(cameras: np.ndarray) -> None:
    turn = turning(FRAMES, 2.5)
    network = disturbed(turn)
    result = refine(film(ROOM, turn), network, K, K=K)
    assert warned(result, "pure rotation") and result.report.camera_motion == "turning"
    assert rotation_errors_deg(result.world_from_cam, turn).max() < 0.2
    assert np.ptp(result.world_from_cam[:, :3, 3], axis=0).max() < 1e-9


def test_little_parallax_is_not_called_a_turn() -> None:
    truth = walk(FRAMES, 0.008, turn=0.03)  # three quarters of a degree over the clip, at the median depth
    result = refine(film(ROOM, truth), disturbed(truth), K, K=K)
    assert result.report.camera_motion == "moving" and result.report.count("geometry") == FRAMES
    assert rotation_errors_deg(result.world_from_cam, truth).max() < 0.1
    assert position_error(result.world_from_cam, truth) < 0.3


def test_a_static_camera(cameras: np.ndarray) -> None:
    still = np.tile(np.eye(4), (FRAMES, 1, 1))
    rng = np.random.default_rng(0)
    seen = [np.clip(picture(ROOM, np.eye(4)) + rng.normal(0, 3, (*SHAPE, 3)), 0, 255).astype(np.uint8)
            for _ in range(FRAMES)]  # fmt: skip
    result = refine(seen, disturbed(still), K)
    assert warned(result, "static camera") and set(result.report.sources) == {"still"}
    assert (result.world_from_cam == result.world_from_cam[0]).all()


def test_all_pixels_said_to_move(cameras: np.ndarray, images: list[np.ndarray]) -> None:
    network = disturbed(cameras)
    result = refine(images, network, K, K=K, motion=[np.ones((18, 24), np.float32)] * FRAMES)
    assert warned(result, "too few static points")
    assert_no_worse(result, network, cameras)


def test_all_pixels_moving(cameras: np.ndarray) -> None:
    """Every frame shows other noise: nothing is consistent, and the network's cameras stay."""
    rng = np.random.default_rng(0)
    seen = [cv2.resize(rng.integers(0, 255, (45, 60, 3), dtype=np.uint8), SHAPE[::-1]) for _ in range(FRAMES)]
    network = disturbed(cameras)
    result = refine(seen, network, K)
    np.testing.assert_array_equal(result.world_from_cam, network)
    assert warned(result, "the network's cameras are kept")


def test_movers_over_two_fifths_of_the_picture(cameras: np.ndarray) -> None:
    """A card of 47 % of the picture crosses it; the network's mask knows about half of it."""
    mover = Card((-0.3, 0.1, 2.6), (2.1, 1.6), 9, velocity=(0.25, -0.08, 0.1))
    seen, alone = film((*ROOM, mover), cameras), film((mover,), cameras)
    masks = [(a != 90).any(-1) for a in alone]
    assert 0.4 < np.mean(masks) < 0.5
    half = [np.where(np.arange(SHAPE[1]) % 2 == 0, m, 0).astype(np.float32) for m in masks]
    network = disturbed(cameras)
    result = refine(seen, network, K, K=K, motion=half)
    assert_no_worse(result, network, cameras)
    assert rotation_errors_deg(result.world_from_cam, cameras).max() < 0.3


def test_two_shots_are_solved_apart(cameras: np.ndarray, images: list[np.ndarray]) -> None:
    truth = np.concatenate((cameras, cameras))
    network = disturbed(truth)
    result = refine([*images, *film(OTHER_ROOM, cameras)], network, K, K=K)
    assert result.report.shots == [(0, 5), (6, 11)] and warned(result, "cut")
    for part in (slice(0, 6), slice(6, 12)):
        assert rotation_errors_deg(result.world_from_cam[part], truth[part]).max() < 0.2
    np.testing.assert_allclose(result.world_from_cam[6], network[6], atol=1e-9)


def test_exposure_change(cameras: np.ndarray, images: list[np.ndarray]) -> None:
    seen = [(image * (0.45 if s >= 3 else 1.0)).astype(np.uint8) for s, image in enumerate(images)]
    network = disturbed(cameras)
    result = refine(seen, network, K, K=K)
    assert warned(result, "exposure") and rotation_errors_deg(result.world_from_cam, cameras).max() < 0.3


def test_a_wrong_K_is_named(cameras: np.ndarray) -> None:
    truth = walk(FRAMES, 0.25, turn=0.06)
    wrong = np.array([[400.0, 0, 119.5], [0, 400.0, 89.5], [0, 0, 1]])
    network = disturbed(truth, 4.0)
    result = refine(film(ROOM, truth), network, wrong, K=wrong)
    assert warned(result, "wrong K") and result.K[0, 0, 0] == pytest.approx(210, rel=0.05)
    assert_no_worse(result, network, truth)


def test_a_plane_is_named(cameras: np.ndarray) -> None:
    network = disturbed(cameras)
    result = refine(film(WALL, cameras), network, K, K=K)
    assert warned(result, "near-planar")
    assert_no_worse(result, network, cameras)


def test_one_and_two_frames(images: list[np.ndarray], cameras: np.ndarray) -> None:
    for count in (1, 2):
        result = refine(images[:count], cameras[:count], K)
        assert result.world_from_cam.shape == (count, 4, 4) and len(result.report.sources) == count


def test_input_that_cannot_be_meant(images: list[np.ndarray], cameras: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected world_from_cam"):
        refine(images, cameras[0], K)
    bad = cameras.copy()
    bad[2, 0, 0] = np.nan
    with pytest.raises(InputError, match="frame 2"):
        refine(images, bad, K)
    with pytest.raises(InputError, match="another size"):
        refine([images[0], images[1][:90]], cameras[:2], K)
