"""A rolling shutter: the model, its estimate from tracks, and whole clips that a hand shook."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from openmore.refinement.adjustment.bundle import Observations, State, linearise, residuals
from openmore.refinement.adjustment.rolling import twists, unbent, with_twist
from openmore.refinement.adjustment.rotations import exp_so3, log_so3
from openmore.refinement.adjustment.shutter import Shutter
from openmore.refinement.adjustment.solver import Settings, solve
from openmore.refinement.cameras.shot import state_of, world_from_cam
from openmore.refinement.cameras.turning import adjust_rotations
from openmore.refinement.dense.walk import DenseWalk
from openmore.refinement.matching.tracks import table
from openmore.refinement.refine import RefinementResult, refine
from tests.refinement.world import (
    ROOM,
    SHAPE,
    K,
    depth_of,
    disturbed,
    picture,
    position_error,
    rotation_errors_deg,
    state_with_points,
)

FRAMES = 8
DOWN = np.array([0.0, 0.45])  # frame intervals
STRIP = 6  # rows of a drawn picture that are seen at once


def hand(s: np.ndarray) -> np.ndarray:
    """world_from_cam [N, 4, 4] of a camera walking in a shaking hand, at times s [N] in frames."""
    out = np.tile(np.eye(4), (len(s), 1, 1))
    angles = np.stack((0.09 * np.sin(0.4 * s), 0.12 * np.sin(0.3 * s + 1), 0.06 * np.sin(0.5 * s)), 1)
    out[:, :3, :3] = exp_so3(angles)
    out[:, :3, 3] = np.stack((0.15 * s, 0.05 * np.sin(s), 0.04 * s), 1)
    return out


def rolled(readout: np.ndarray, still: bool = False, points: int = 150) -> tuple[State, Observations]:
    """The true state of the walk, its shutter left out, and what a rolling shutter sees of random points."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform((-2, -1.5, 3), (3, 1.5, 7), (points, 3))
    uv = np.zeros((points, FRAMES, 2)) + K[:2, 2]
    for _ in range(6):  # the moment depends on the pixel and the pixel on the moment
        moment = ((uv - K[:2, 2]) / (2 * K[:2, 2])) @ readout
        cameras = hand((np.arange(FRAMES) + moment).ravel()).reshape(points, FRAMES, 4, 4)
        if still:
            cameras[..., :3, 3] = 0
        seen = np.einsum("psji,psj->psi", cameras[..., :3, :3], xyz[:, None] - cameras[..., :3, 3])
        uv = seen[..., :2] / seen[..., 2:] * 210 + K[:2, 2]
    point, frame = (a.ravel() for a in np.indices((points, FRAMES)))
    obs = table(
        point, frame, uv.reshape(-1, 2) + 0.1 * rng.normal(size=(points * FRAMES, 2)), np.full(uv.size // 2, np.nan)
    )
    cameras = hand(np.arange(FRAMES))
    if still:
        cameras[:, :3, 3] = 0
    return state_with_points(state_of(cameras, K), obs), obs


def but_first() -> np.ndarray:
    return np.arange(FRAMES) > 0


def test_rotation_vectors_and_matrices_are_inverse() -> None:
    w = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(log_so3(exp_so3(w)), w, atol=1e-12)
    np.testing.assert_allclose(log_so3(np.eye(3)[None]), 0)


def test_twist_is_the_motion_between_the_frames_around() -> None:
    state, _ = rolled(np.zeros(2))
    known = np.ones(FRAMES, bool)
    known[[3, 4, 5]] = False
    twist = twists(state, known)
    assert (twist[~known] == 0).all()
    fine = state_of(hand(np.array([1.0, 1.01])), K)  # the derivative itself
    turn = fine.R[1] @ fine.R[0].T
    np.testing.assert_allclose(twist[1, :3], log_so3(turn[None])[0] / 0.01, atol=0.01)
    np.testing.assert_allclose(twist[1, 3:], (fine.t[1] - turn @ fine.t[0]) / 0.01, atol=0.03)


def test_derivatives_along_the_readouts_are_those_of_the_residuals() -> None:
    state, obs = rolled(DOWN)
    state = with_twist(state, np.ones(FRAMES, bool))
    lin, h = linearise(state, obs, readout=True), 1e-6
    for axis in range(2):
        step = np.zeros(3)
        step[1 + axis] = h
        moved = residuals(state.moved(np.zeros((FRAMES, 6)), step, np.zeros((len(state.points), 3))), obs)[0]
        np.testing.assert_allclose((moved - lin.residual) / h, lin.shared[:, :, 1 + axis], rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize("readout", [(0.0, 0.45), (0.0, -0.3), (0.4, 0.0)])
def test_readout_side_and_direction_are_found(readout: tuple[float, float]) -> None:
    truth, obs = rolled(np.array(readout))
    settings = Settings(but_first(), iterations=30)
    bent = solve(truth, obs, settings).state
    straight = unbent(bent, obs, settings)
    assert straight is not None
    free = (readout[0] != 0, readout[1] != 0)
    for _ in range(3):
        straight = solve(with_twist(straight, np.ones(FRAMES, bool)), obs, replace(settings, free_readout=free)).state
    assert straight.shutter is not None
    np.testing.assert_allclose(straight.shutter.readout, np.tile(readout, (FRAMES, 1)), atol=0.03)
    true = hand(np.arange(FRAMES))
    errors = [rotation_errors_deg(world_from_cam(s), true).max() for s in (bent, straight)]
    assert errors[1] < 0.15 < errors[0]


def test_a_global_shutter_stays_one() -> None:
    truth, obs = rolled(np.zeros(2))
    settings = Settings(but_first(), iterations=30)
    assert unbent(solve(truth, obs, settings).state, obs, settings) is None


def test_a_camera_on_the_spot_rolls_too() -> None:
    truth, obs = rolled(DOWN, still=True)
    state, used = adjust_rotations(state_of(world_from_cam(truth), K), obs, np.ones(FRAMES, bool), 0, True, None)
    assert state.shutter is not None and len(used) > 0.95 * len(obs)
    np.testing.assert_allclose(state.shutter.readout[0], DOWN, atol=0.03)
    assert abs(state.focal / 210 - 1) < 0.01
    true = hand(np.arange(FRAMES))
    assert rotation_errors_deg(world_from_cam(state), true).max() < 0.1


def test_a_shift_is_what_the_turn_within_the_frame_does() -> None:
    state, obs = rolled(DOWN, still=True)
    shutter = with_twist(state, np.ones(FRAMES, bool)).shutter
    assert shutter is not None
    shutter, moved = shutter.slower(DOWN), []
    for s in range(1, FRAMES - 1):
        seen, upright = (o.uv[o.frame == s] for o in (obs, rolled(np.zeros(2), still=True)[1]))
        found = seen - shutter.shift(s, seen.T, K).T
        moved.append(np.abs(upright - seen).max())
        assert np.quantile(np.abs(found - upright), 0.9) < 0.5
    assert max(moved) > 1.5


# -- pictures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """The room, every strip of a picture seen at its moment."""
    out = []
    for s in range(FRAMES):
        image = np.empty((*SHAPE, 3), np.uint8)
        for top in range(0, SHAPE[0], STRIP):
            moment = DOWN[1] * (top + (STRIP - 1) / 2 - K[1, 2]) / (2 * K[1, 2])
            image[top : top + STRIP] = picture(ROOM, hand(np.array([s + moment]))[0])[top : top + STRIP]
        out.append(image)
    return out


@pytest.fixture(scope="module")
def found(images: list[np.ndarray]) -> RefinementResult:
    cv2.setRNGSeed(0)
    return refine(images, disturbed(hand(np.arange(FRAMES))), K)


def test_a_shaken_clip_is_solved_and_the_report_says_how(found: RefinementResult) -> None:
    true = hand(np.arange(FRAMES))
    assert found.report.sources == ["geometry"] * FRAMES
    assert found.report.readouts[0] == pytest.approx(tuple(DOWN), abs=0.08)
    assert any("rolling shutter" in w and "top to bottom" in w for w in found.report.warnings)
    assert rotation_errors_deg(found.world_from_cam, true).max() < 0.3
    assert position_error(found.world_from_cam, true) < 0.05
    assert abs(found.K[0, 0, 0] / 210 - 1) < 0.05
    assert found.report.after is not None and found.report.after.inlier_share > 0.9


def test_depth_of_a_shaken_clip_needs_the_shutter(images: list[np.ndarray], found: RefinementResult) -> None:
    from openmore.flow import get_flow

    true = hand(np.arange(FRAMES))
    twist = twists(state_of(true, K), np.ones(FRAMES, bool))
    shutter = Shutter(np.tile(DOWN, (FRAMES, 1)), twist)
    errors = []
    for used in (shutter, None):
        walk = DenseWalk(
            images.__getitem__, np.tile(K, (FRAMES, 1, 1)), true, np.zeros(FRAMES, int),
            lambda s: np.ones((90, 120), np.float32), get_flow("dis"), used,
        )  # fmt: skip
        depth = [frame.depth for frame, _ in walk][3]
        assert depth is not None
        expected = depth_of(ROOM, true[3])[::2, ::2]
        errors.append(np.median(np.abs(depth / expected - 1)[expected > 0]))
    assert errors[0] < 0.1 and errors[0] < 0.7 * errors[1]
