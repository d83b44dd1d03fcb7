"""The sliding window of a stream: accurate, final when returned, of constant size, calm when nothing can be seen."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from openmore.io.intrinsics import parse_intrinsics
from openmore.refinement.stream.window import LOST, SlidingWindow
from openmore.types import Camera, FramePrediction
from tests.refinement.world import (
    OTHER_ROOM,
    ROOM,
    SHAPE,
    K,
    depth_of,
    disturbed,
    film,
    position_error,
    rotation_errors_deg,
    turning,
    walk,
)

FRAMES = 12


def prediction(s: int, pose: np.ndarray, depth: np.ndarray) -> FramePrediction:
    camera = Camera(pose, np.diag([1.15, 1.15, 1]) @ K, SHAPE[1], SHAPE[0])
    return FramePrediction(s, s / 10, camera, depth, np.ones_like(depth))


def run(window: SlidingWindow, images: list[np.ndarray], network: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """world_from_cam [S, 4, 4] as they were returned."""
    cv2.setRNGSeed(0)
    out = [
        window.push(image, prediction(s, network[s], depth_of(ROOM, truth[s])[2::4, 2::4]))
        for s, image in enumerate(images)
    ]
    return np.stack([p.camera.world_from_cam for p in out])


@pytest.fixture(scope="module")
def cameras() -> np.ndarray:
    return walk(FRAMES, 0.15)


@pytest.fixture(scope="module")
def images(cameras: np.ndarray) -> list[np.ndarray]:
    return film(ROOM, cameras)


def test_cameras_are_accurate_and_the_window_stays_small(cameras: np.ndarray, images: list[np.ndarray]) -> None:
    window = SlidingWindow(parse_intrinsics(K), keyframes=5)
    found = run(window, images, disturbed(cameras), cameras)
    assert rotation_errors_deg(found, cameras).max() < 0.3 and position_error(found, cameras) < 0.03
    assert window.sources["geometry"] >= FRAMES - 2
    assert len(window._window) <= 5 and max(b for _, b in window._window.pairs) < len(window._window)


def test_the_future_changes_nothing(cameras: np.ndarray, images: list[np.ndarray]) -> None:
    """What was returned for the first frames is the same whatever follows."""
    network = disturbed(cameras)
    whole = run(SlidingWindow(), images, network, cameras)
    part = run(SlidingWindow(), images[:7], network[:7], cameras)
    np.testing.assert_array_equal(whole[:7], part)


def test_the_path_has_the_scale_of_the_depth(cameras: np.ndarray, images: list[np.ndarray]) -> None:
    window = SlidingWindow(parse_intrinsics(K))
    found = run(window, images, disturbed(cameras), cameras)
    length = np.linalg.norm(cameras[-1, :3, 3])
    assert np.linalg.norm(found[-1, :3, 3] - found[0, :3, 3]) == pytest.approx(length, rel=0.1)


def test_a_camera_that_turns_keeps_its_place() -> None:
    turn = turning(8, 2.0)
    window = SlidingWindow(parse_intrinsics(K))
    found = run(window, film(ROOM, turn), disturbed(turn), turn)
    assert rotation_errors_deg(found, turn).max() < 0.5
    assert window.sources["turning"] == 7 and np.ptp(found[:, :3, 3], axis=0).max() < 1e-9


def test_blank_frames_follow_the_network_and_a_cut_begins_anew(cameras: np.ndarray, images: list[np.ndarray]) -> None:
    blank = [np.zeros_like(images[0])] * LOST
    seen = [*images[:5], *blank, *film(OTHER_ROOM, cameras[5:])]
    truth = np.concatenate((cameras[:5], cameras[4:5].repeat(LOST, 0), cameras[5:]))
    window = SlidingWindow(parse_intrinsics(K))
    found = run(window, seen, truth, truth)
    assert np.isfinite(found).all() and len(window.warnings) == 1 and "cut" in window.warnings[0]
    assert window.sources["network"] >= LOST
    np.testing.assert_allclose(found[5], found[4] @ np.linalg.inv(truth[4]) @ truth[5], atol=1e-9)
    after = slice(5 + LOST, None)
    assert rotation_errors_deg(found[after], truth[after]).max() < 0.5
