"""What a reconstruction carries after depth and motion were measured, and what the solver's second run may change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openmore.refinement.apply import refine_predictions
from openmore.refinement.cameras.second_solve import compare, difference, without_movers
from openmore.refinement.cameras.shot import judge, state_of
from openmore.refinement.dense.predictions import describe, replaced
from openmore.refinement.dense.walk import DenseFrame
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.survey import Survey
from openmore.refinement.matching.twoview import Pair
from openmore.refinement.report import RefinementReport
from openmore.types import Camera, FramePrediction, Reconstruction, SceneInfo
from tests.refinement.world import ROOM, SHAPE, Card, K, disturbed, film, points_problem, walk

SMALL = (60, 80)


def predictions(cameras: np.ndarray) -> list[FramePrediction]:
    """What a network without an idea might say."""
    ones = np.ones(SMALL, np.float32)
    return [
        FramePrediction(s, s / 10, Camera(pose, K, SHAPE[1], SHAPE[0]), 5 * ones, 2 * ones, 0.1 * ones)
        for s, pose in enumerate(cameras)
    ]


def test_measured_frames_replace_the_network_and_keep_its_motion_beside() -> None:
    given = predictions(walk(2))
    measured = DenseFrame(np.full(SMALL, 3.0, np.float32), np.full(SMALL, 9.0, np.float32), np.ones(SMALL), 0.9)
    new = replaced(given, [measured, DenseFrame(None, None, None, 0.0)])
    assert (new[0].depth == 3).all() and (new[0].confidence == 9).all()
    assert new[0].motion is not None and (new[0].motion == 1).all()
    assert (new[1].depth == 5).all() and new[1].motion is given[1].motion
    assert (new[1].confidence >= 1).all() and (new[1].confidence < 2).all()
    assert all(frame.network_motion is p.motion for frame, p in zip(new, given))


def test_the_report_names_the_sources_and_warns() -> None:
    given, report = predictions(walk(2)), RefinementReport(SHAPE)
    measured = DenseFrame(np.ones(SMALL), np.ones(SMALL), np.ones(SMALL), 0.5)
    describe(report, given, [measured, DenseFrame(None, None, None, 0.0)], "dis")
    assert report.dense is not None
    assert report.dense.depth_sources == ["triangulated", "network"]
    assert report.dense.motion_sources == ["residuals", "network"]
    assert report.motion_change == 1.0
    assert any("depth could not be measured in 1 of 2 frames" in text for text in report.warnings)


def test_the_networks_motion_survives_the_scene_folder(tmp_path) -> None:
    given = predictions(walk(2))
    frames = [replace(p, network_motion=np.full(SMALL, 0.2, np.float32)) for p in given]
    Reconstruction(frames, SceneInfo("test", {}, "full", SMALL, SHAPE)).save(tmp_path / "scene")
    loaded = Reconstruction.load(tmp_path / "scene").frames[1]
    assert loaded.network_motion is not None and np.allclose(loaded.network_motion, 0.2, atol=1 / 255)
    Reconstruction(given, SceneInfo("test", {}, "full", SMALL, SHAPE)).save(tmp_path / "plain")
    assert Reconstruction.load(tmp_path / "plain").frames[0].network_motion is None


def test_matches_on_movers_are_dropped() -> None:
    uv = np.array([[20.0, 90.0], [220.0, 90.0]], np.float32)
    points = Keypoints(uv, np.zeros((2, 128), np.uint8))
    pair = Pair(0, 1, np.array([[0, 0], [1, 1]]), None, 0.0, 0.0)
    seen = Survey(SHAPE, [points] * 2, [np.ones(2)] * 2, [np.ones(2, np.float32)] * 2, [90.0] * 2, {(0, 1): pair})
    motion = np.zeros(SMALL, np.float32)
    motion[:, 40:] = 1
    static, dropped = without_movers(seen, [motion, np.zeros(SMALL, np.float32)])
    assert dropped == 0.5
    assert static.pairs[0, 1].index.tolist() == [[0, 0]]
    assert static.weight[0][1] < static.weight[0][0] == 1
    assert seen.pairs[0, 1].index.shape == (2, 2)


def test_the_better_of_two_answers_is_taken() -> None:
    _, obs = points_problem(noise_px=0.2)
    truth = walk(6)
    false = disturbed(truth)
    good, bad = judge(state_of(truth, K), obs), judge(state_of(false, K), obs)
    assert compare(bad, good, false, truth, 0.3).taken
    assert not compare(good, bad, truth, false, 0.3).taken
    assert not compare(good, good, truth, truth, 0.3).taken


def test_difference_ignores_the_scale() -> None:
    truth = walk(5)
    larger = truth.copy()
    larger[:, :3, 3] *= 3
    turn, shift = difference(truth, larger)
    assert turn < 1e-3 and shift < 1e-9
    assert difference(truth, disturbed(truth))[0] > 1


def test_a_clip_gets_depth_and_movers_and_says_so() -> None:
    cameras = walk(6)
    mover = Card((-0.6, 0.5, 2.6), (0.9, 0.9), 9, velocity=(0.0, -0.12, 0.0))
    refined, report, _ = refine_predictions(predictions(disturbed(cameras)), film((*ROOM, mover), cameras))
    assert report.dense is not None and set(report.dense.depth_sources) == {"triangulated"}
    assert report.dense.triangulated_share > 0.3 and report.dense.flow == "dis-medium"
    assert refined[2].motion is not None and refined[2].network_motion is not None
    assert 0.005 < (refined[2].motion > 0.5).mean() < 0.2
    assert refined[2].depth.std() > 0.1 * refined[2].depth.mean()
