"""The small parts: gaps, scales, triangulation, retrieval, priors, the report."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from openmore.errors import ConfigError
from openmore.refinement.adjustment.bundle import residuals
from openmore.refinement.adjustment.rotations import exp_so3
from openmore.refinement.adjustment.triangulate import best_points, fits, ray_angles, triangulate
from openmore.refinement.cameras.focal import square_pixels
from openmore.refinement.cameras.gaps import LONGEST_GAP, fill, interpolate, nearest_lens
from openmore.refinement.cameras.scaling import fit_depth, rescaled, scene_scale
from openmore.refinement.cameras.shot import judge_clip, state_of, world_from_cam
from openmore.refinement.cameras.turning import adjust_rotations
from openmore.refinement.matching import retrieval
from openmore.refinement.matching.features import Keypoints, detect, match
from openmore.refinement.matching.prior import Prior, moving_mask
from openmore.refinement.matching.tracks import table
from openmore.refinement.options import RefineOptions
from openmore.refinement.report import Fit, RefinementReport
from tests.refinement.world import ROOM, K, depth_of, film, points_problem, rotation_errors_deg, texture, walk


@pytest.mark.parametrize(("fx", "fy", "focal"), [(200, 242, 220), (530, 1.8e6, 530), (1e9, 1e9, 120 * 3**0.5)])
def test_a_focal_length_no_lens_has_is_not_believed(fx: float, fy: float, focal: float) -> None:
    K = square_pixels(np.array([[fx, 0, 120], [0, fy, 90], [0, 0, 1.0]]))
    np.testing.assert_allclose(np.diag(K), (focal, focal, 1))


def test_a_short_gap_is_bridged_and_a_long_one_follows_the_network() -> None:
    truth = walk(20)
    placed = np.ones(20, bool)
    placed[[3, 4]] = False
    placed[19] = False
    placed[8 : 8 + LONGEST_GAP + 1] = False
    broken = np.where(placed[:, None, None], truth, 0)
    out, bridged = fill(broken, placed, truth)
    assert np.flatnonzero(bridged).tolist() == [3, 4]
    np.testing.assert_allclose(out[[8, 19]], truth[[8, 19]], atol=1e-12)
    np.testing.assert_allclose(out[3], interpolate(truth[2], truth[5], 1 / 3))


def test_a_frame_of_no_shot_was_seen_through_the_nearest_lens() -> None:
    lenses = np.stack([np.diag((f, f, 1.0)) for f in (9, 1, 1, 9, 9, 2, 2)])
    assert nearest_lens(lenses, [np.array([1, 2]), np.array([5, 6])])[:, 0, 0].tolist() == [1, 1, 1, 1, 2, 2, 2]
    np.testing.assert_array_equal(nearest_lens(lenses, []), lenses)


def test_shots_are_judged_through_their_own_lenses() -> None:
    (_, first), (_, second) = (points_problem(4, noise_px=0.2, seed=seed) for seed in (1, 2))
    other = np.diag((2.0, 2.0, 1.0)) @ K
    both = table(
        np.concatenate((first.point, second.point + 60)),
        np.concatenate((first.frame, second.frame + 4)),
        np.concatenate((first.uv, 2 * second.uv)),
        np.concatenate((first.depth, second.depth)),
    )
    cameras = np.concatenate((walk(4), walk(4)))
    apart = judge_clip(cameras, np.stack([K] * 4 + [other] * 4), None, both)
    assert apart.observations == len(both) and apart.inlier_share > 0.99 and apart.median_px < 0.4
    assert judge_clip(cameras, np.stack([K] * 8), None, both).support < 0.85 * apart.support


def test_interpolation_is_half_the_turn_and_half_the_way() -> None:
    a, b = np.eye(4), np.eye(4)
    b[:3, :3], b[:3, 3] = exp_so3(np.array([[0.0, 0.4, 0]]))[0], (2, 0, 0)
    half = interpolate(a, b, 0.5)
    np.testing.assert_allclose(half[:3, :3], exp_so3(np.array([[0.0, 0.2, 0]]))[0], atol=1e-7)
    np.testing.assert_allclose(half[:3, 3], (1, 0, 0))


def test_triangulated_points_are_where_they_were() -> None:
    truth, obs = points_problem(4, 30)
    points = triangulate(truth, obs)
    error, inverse = residuals(replace(truth, points=points), obs)
    assert np.abs(error).max() < 1e-6 and fits(replace(truth, points=points), obs, 1.0).all()
    np.testing.assert_allclose(1 / inverse, obs.depth, rtol=1e-6)
    assert (ray_angles(truth, obs) > 0.5).all()


def test_points_of_a_camera_that_only_turns_lie_at_infinity() -> None:
    truth, obs = points_problem(4, 30)
    turned = replace(truth, t=np.zeros((4, 3)))
    far = exp_so3(np.zeros((1, 3)))[0] @ np.array([0.1, 0.2, 1.0])
    camera = truth.R[obs.frame] @ far
    obs = replace(obs, uv=camera[:, :2] / camera[:, 2:] * 210.0 + truth.center)
    points = best_points(turned, obs)
    assert fits(replace(turned, points=points), obs, 0.5).all()


def test_scale_and_shift_of_every_frame_are_found() -> None:
    truth, obs = points_problem(4, 900)
    scale, shift = np.array([1.0, 1.3, 0.8, 1.0]), np.array([0.0, 0.2, -0.1, 0.3])
    predicted = (obs.depth - shift[obs.frame]) / scale[obs.frame]
    predicted[::9] = np.nan
    predicted[4::9] *= 3.0  # and some are wrong
    fit = fit_depth(truth, replace(obs, depth=predicted), 4)
    # Scale and shift may share an error over the range of depths there is; what they make of a depth may not.
    middle = (5 - shift) / scale
    np.testing.assert_allclose(fit.scale * middle + fit.shift, 5, rtol=0.05)
    assert fit.relative_error < 0.05


def test_the_scene_takes_the_scale_of_the_predicted_depth() -> None:
    truth, obs = points_problem(4, 60)
    assert scene_scale(truth, replace(obs, depth=2.5 * obs.depth)) == pytest.approx(2.5, rel=1e-6)
    larger = rescaled(truth, 2.5)
    np.testing.assert_allclose(residuals(larger, obs)[0], residuals(truth, obs)[0], atol=1e-9)
    np.testing.assert_allclose(larger.t, 2.5 * truth.t)


def test_a_return_is_proposed_and_neighbours_are_not() -> None:
    """Frames 0..5 see one place, 6..11 another, 12 the first again."""
    places = [texture(7)[:120, :160, 0], texture(8)[:120, :160, 0]]
    grey = [np.roll(places[0 if s < 6 or s == 12 else 1], 2 * (s % 6), 1) for s in range(13)]
    keypoints = [detect(picture, 300) for picture in grey]
    pairs = retrieval.candidates(retrieval.describe(keypoints), [12], apart=5)
    assert pairs and all(b == 12 and a < 6 for a, b in pairs)


def test_detection_spreads_and_respects_the_mask() -> None:
    grey = texture(3)[:180, :240, 0]
    keep = np.zeros(grey.shape, bool)
    keep[:, :120] = True
    found = detect(grey, 200, keep)
    assert 100 < len(found) <= 200 + 20 and found.uv[:, 0].max() < 121
    itself = match(found.unit(), found.unit())
    assert len(itself) > 0.8 * len(found) and (itself[:, 0] == itself[:, 1]).all()
    assert len(detect(np.full((64, 64), 128, np.uint8), 100)) == 0
    assert match(Keypoints.none().unit(), found.unit()).shape == (0, 2)


def test_the_network_is_read_where_it_is_sure() -> None:
    depth, confidence = np.full((4, 8), 2.0, np.float32), np.ones((4, 8), np.float32)
    depth[:, 4:], confidence[:, 2:] = 3.0, 5.0
    prior = Prior(depth, confidence)
    uv = np.array([[30.0, 20], [70, 20], [5, 20], [75, 5]])
    values = prior.depth_at(uv, (40, 80))
    np.testing.assert_array_equal(values[:2], [2, 3])
    assert np.isnan(values[2]) and np.isnan(Prior().depth_at(uv, (40, 80))).all()


def test_weights_fall_with_motion_and_with_less_than_usual_confidence() -> None:
    motion, confidence = np.zeros((4, 8), np.float32), np.full((4, 8), 4.0, np.float32)
    motion[:, :2], confidence[:, 6:] = 0.4, 2.0
    uv = np.array([[5.0, 20], [40, 20], [75, 20]])
    np.testing.assert_allclose(Prior(None, confidence, motion).weight_at(uv, (40, 80)), [0.6, 1, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(Prior().weight_at(uv, (40, 80)), 1)
    np.testing.assert_array_equal(Prior(motion=np.ones((4, 8), np.float32)).weight_at(uv, (40, 80)), 1)


def test_a_motion_map_that_covers_everything_is_not_believed() -> None:
    assert moving_mask(Prior(motion=np.ones((4, 4), np.float32)), (40, 40)) is None
    half = np.zeros((4, 4), np.float32)
    half[:, 2:] = 1
    mask = moving_mask(Prior(motion=half), (40, 40))
    assert mask is not None and 0.4 < mask.mean() < 0.6


def test_the_report_is_plain_json() -> None:
    report = RefinementReport((180, 240), before=Fit(float("nan"), 0.0, 0), sources=["geometry", "network"])
    report.warn("once")
    report.warn("once")
    plain = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert plain["before"]["median_px"] is None and plain["warnings"] == ["once"] and report.count("network") == 1


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="long_side=10"):
        RefineOptions(long_side=10)


def test_the_test_world_is_what_it_says() -> None:
    """A pixel of frame 0, lifted with its depth, shows the same colour in frame 2."""
    cameras = walk(3)
    a, _, c = film(ROOM, cameras)
    depth = depth_of(ROOM, cameras[0])
    v, u = np.mgrid[20:160:7, 20:200:7].reshape(2, -1)
    X = np.linalg.inv(K) @ np.stack((u, v, np.ones_like(u))) * depth[v, u]
    Y = np.linalg.inv(cameras[2])[:3, :3] @ X + np.linalg.inv(cameras[2])[:3, 3:]
    at = np.round((K @ Y)[:2] / Y[2]).astype(int)
    inside = (at >= 0).all(0) & (at[0] < 240) & (at[1] < 180)
    difference = np.abs(a[v, u][inside].astype(int) - c[at[1], at[0]][inside].astype(int)).mean()
    assert difference < 25


def test_a_turn_is_held_by_all_that_fits_it() -> None:
    """Nothing says how far the points of a turning camera are: that must not cost any of them."""
    rng = np.random.default_rng(0)
    R = exp_so3(0.05 * np.arange(5)[:, None] * np.array([0.2, 1, 0.1]))
    rays = rng.uniform((-0.4, -0.3, 1), (0.4, 0.3, 1), (120, 3))
    seen = np.einsum("sij,pj->psi", R, rays)
    uv = seen[..., :2] / seen[..., 2:] * 210 + K[:2, 2] + rng.normal(size=(120, 5, 2)) * 0.2
    point, frame = (a.ravel() for a in np.indices((120, 5)))
    obs = table(point, frame, uv.reshape(-1, 2), np.full(600, np.nan))
    start = np.tile(np.eye(4), (5, 1, 1))
    start[:, :3, :3] = exp_so3(0.004 * rng.normal(size=(5, 3))) @ R.swapaxes(1, 2)
    state, used = adjust_rotations(state_of(start, K), obs, np.ones(5, bool), 0, True, (np.log(200.0), 0.3))
    assert len(used) == len(obs) and abs(state.focal / 210 - 1) < 0.02
    found = world_from_cam(state)
    truth = np.tile(np.eye(4), (5, 1, 1))
    truth[:, :3, :3] = R.swapaxes(1, 2)
    assert rotation_errors_deg(found, truth).max() < 0.05
