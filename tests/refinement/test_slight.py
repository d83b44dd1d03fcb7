"""A camera that hardly moves: found from the turn on, and told from a turn by the signs of its points."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from openmore.refinement.adjustment.bundle import Observations, State, residuals
from openmore.refinement.adjustment.rotations import exp_so3
from openmore.refinement.adjustment.solver import Settings
from openmore.refinement.cameras.scaling import fit_depth
from openmore.refinement.cameras.shot import state_of, world_from_cam
from openmore.refinement.cameras.slight import moved_slightly
from openmore.refinement.cameras.turning import adjust_rotations
from openmore.refinement.matching.tracks import renumber, table
from openmore.refinement.refine import refine
from tests.refinement.world import (
    ROOM,
    K,
    depth_of,
    disturbed,
    film,
    points_problem,
    position_error,
    rotation_errors_deg,
    walk,
)

FRAMES, POINTS, NOISE_PX = 8, 250, 0.2


def turn_of(reach: float, predicted: bool = True) -> tuple[State, Observations, Settings, np.ndarray]:
    """Tracks of points 2 to 8 away in a camera that turns and moves by `reach`, the turn that fits them, and truth."""
    rng = np.random.default_rng(0)
    truth = walk(FRAMES, reach / FRAMES, turn=0.01)
    depth = rng.uniform(2, 8, POINTS)
    xyz = np.concatenate((rng.uniform(-0.45, 0.45, (POINTS, 2)), np.ones((POINTS, 1))), 1) * depth[:, None]
    seen = np.einsum("sij,pj->psi", np.linalg.inv(truth), np.concatenate((xyz, np.ones((POINTS, 1))), 1))[..., :3]
    uv = seen[..., :2] / seen[..., 2:] * 210 + K[:2, 2] + NOISE_PX * rng.normal(size=(POINTS, FRAMES, 2))
    point, frame = (a.ravel() for a in np.indices((POINTS, FRAMES)))
    guess = depth[point] ** 0.5 if predicted else np.full(len(point), np.nan)  # flatter than it is, of another scale
    obs = table(point, frame, uv.reshape(-1, 2), guess)
    start = truth.copy()
    start[:, :3, :3] = start[:, :3, :3] @ exp_so3(0.003 * rng.normal(size=(FRAMES, 3)))
    start[:, :3, 3] = 0
    turn, used = adjust_rotations(state_of(start, K), obs, np.ones(FRAMES, bool), 0, False, None)
    return turn, used, Settings(np.arange(FRAMES) > 0), truth


@pytest.mark.parametrize("predicted", [True, False])
def test_a_motion_of_a_few_pixels_is_found_from_the_turn_on(predicted: bool) -> None:
    turn, obs, settings, truth = turn_of(0.08, predicted)  # 2 to 8 pixels at the depths there are
    answer = moved_slightly(turn, obs, settings)
    assert answer is not None
    state, used = answer
    found = world_from_cam(state)
    assert position_error(found, truth) < 0.1
    assert rotation_errors_deg(found, truth).max() < rotation_errors_deg(world_from_cam(turn), truth).max()
    error, inverse = residuals(state, used)
    assert (inverse > 0).all() and np.sqrt(np.square(error).sum(1)).mean() < 2 * NOISE_PX
    np.testing.assert_allclose(found[0], world_from_cam(turn)[0], atol=1e-12)


def test_a_turn_shows_parallax_of_either_sign() -> None:
    turn, obs, settings, _ = turn_of(0.0)
    assert moved_slightly(turn, obs, settings) is None


def test_tracks_that_fit_no_camera_or_miss_a_frame_are_no_evidence() -> None:
    turn, obs, settings, _ = turn_of(0.08)
    rng = np.random.default_rng(1)
    anywhere = replace(obs, uv=rng.uniform(0, 200, obs.uv.shape))
    assert moved_slightly(turn, anywhere, settings) is None
    without_the_last = renumber(obs.select(obs.frame < FRAMES - 1))
    answer = moved_slightly(turn, without_the_last, settings)
    assert answer is not None and np.isfinite(answer[0].t).all() and not answer[0].t[-1].any()


def test_little_parallax_beside_a_wide_turn_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    turn, obs, settings, _ = turn_of(0.08)
    assert moved_slightly(turn, obs, settings) is not None
    monkeypatch.setattr("openmore.refinement.cameras.slight.OF_TURN", 0.5)
    assert moved_slightly(turn, obs, settings) is None


def test_a_clip_that_hardly_moves_is_solved_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the map is no better than the turn: here there is none."""
    cv2.setRNGSeed(0)
    truth = walk(6, 0.008, turn=0.01)
    monkeypatch.setattr("openmore.refinement.cameras.shot._moving", lambda *_: None)
    result = refine(film(ROOM, truth), disturbed(truth), K, K=K, depth=[depth_of(ROOM, camera) for camera in truth])
    assert result.report.camera_motion == "moving" and result.report.count("geometry") == 6
    assert position_error(result.world_from_cam, truth) < 0.3
    assert rotation_errors_deg(result.world_from_cam, truth).max() < 0.1


def test_a_few_points_next_to_the_camera_do_not_set_a_frame_s_depth() -> None:
    truth, obs = points_problem(4, 300)
    points = truth.points.copy()
    points[::15, 3] *= 100  # a hundred times nearer than predicted
    state = State(**{**vars(truth), "points": points / np.linalg.norm(points, axis=1, keepdims=True)})
    fit = fit_depth(state, obs, 4)
    np.testing.assert_allclose(fit.scale * 5 + fit.shift, 5, rtol=0.1)
