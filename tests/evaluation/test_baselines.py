"""Baselines, epipolar distances and the prediction cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from openmore.errors import DataError
from openmore.evaluation.baselines import ConstantVelocity, NoMotion, TwoView
from openmore.evaluation.epipolar import median_sampson, sampson
from openmore.evaluation.matching import Features, consecutive_matches, match
from openmore.evaluation.poses import invert, relative_steps, rotation_angles
from openmore.evaluation.prediction import Clip, Prediction, load_prediction, save_prediction
from openmore.evaluation.trajectory import trajectory_errors

K = np.array([[240.0, 0, 160], [0, 240, 120], [0, 0, 1]])
SHAPE = (240, 320)


def cameras(count: int) -> np.ndarray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    for i in range(count):
        yaw = 0.03 * i
        poses[i, :3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        poses[i, :3, 3] = [0.25 * i, 0.05 * i * i, 0.1 * i]
    return poses


def textured_clip(count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of a random relief seen from moving cameras, rendered by intersecting rays with two textured planes."""
    rng = np.random.default_rng(0)
    textures = [np.clip(gaussian_filter(rng.normal(size=(700, 700)), 1.5) * 160 + 128, 0, 255) for _ in range(2)]
    poses = cameras(count)
    v, u = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    images = []
    for pose in poses:
        rays = np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(K).T @ pose[:3, :3].T
        hits = []
        for normal, distance in (([0, 0.0, 1], 4.0), ([0, 0.8, 0.6], 2.6)):  # a wall and a slanted floor
            z = (distance - pose[:3, 3] @ normal) / (rays @ np.array(normal))
            hits.append(np.where(z > 0, z, np.inf))
        which = np.argmin(hits, 0)
        points = pose[:3, 3] + rays * np.min(hits, 0)[..., None]
        grey = np.zeros(SHAPE)
        for k, texture in enumerate(textures):
            at = np.stack((points[..., 1] * 90 + 350, points[..., 0] * 90 + 350))
            grey = np.where(which == k, map_coordinates(texture, at, order=1, mode="wrap"), grey)
        images.append(np.repeat(grey[..., None], 3, -1).round().astype(np.uint8))
    return np.stack(images), poses


def clip_of(images: np.ndarray) -> Clip:
    return Clip("test", images, np.arange(len(images)) / 10, np.tile(K, (len(images), 1, 1)))


def test_two_view_odometry_finds_the_cameras() -> None:
    images, poses = textured_clip()
    prediction = TwoView().predict(clip_of(images)).check(clip_of(images))
    assert prediction.world_from_cam is not None
    errors = trajectory_errors(prediction.world_from_cam, poses)
    assert errors.ate < 0.05 * errors.truth_rms
    assert errors.rpe_rotation_deg < 0.3


def test_two_view_odometry_stands_still_with_the_camera() -> None:
    images, _ = textured_clip(1)
    still = np.repeat(images, 4, axis=0)
    prediction = TwoView().predict(clip_of(still))
    assert prediction.world_from_cam == pytest.approx(np.tile(np.eye(4), (4, 1, 1)))


def test_two_view_survives_pictures_without_texture() -> None:
    images, _ = textured_clip(3)
    images[1] = 128
    prediction = TwoView().predict(clip_of(images))
    assert prediction.world_from_cam is not None and np.isfinite(prediction.world_from_cam).all()


def test_two_view_guesses_a_lens_when_nobody_knows_it() -> None:
    images, _ = textured_clip(3)
    guessed = TwoView().predict(Clip("test", images, np.arange(3) / 10))
    assert guessed.K is None
    assert guessed.world_from_cam is not None and np.linalg.norm(guessed.world_from_cam[2, :3, 3]) > 0.1


def test_no_motion_and_constant_velocity() -> None:
    images, _ = textured_clip(1)
    clip = clip_of(np.repeat(images, 6, axis=0))
    still, gliding = NoMotion().predict(clip), ConstantVelocity().predict(clip)
    assert still.world_from_cam is not None and gliding.world_from_cam is not None
    line = np.tile(np.eye(4), (6, 1, 1))
    line[:, :3, 3] = np.arange(6)[:, None] * [3.0, 1.0, -2.0]
    assert trajectory_errors(gliding.world_from_cam, line).ate == pytest.approx(0, abs=1e-9)
    assert trajectory_errors(still.world_from_cam, line, static_estimate=True).ate > 1


def test_matches_are_mutual() -> None:
    rng = np.random.default_rng(0)
    descriptors = rng.uniform(0, 255, (50, 128)).astype(np.float32)
    order = rng.permutation(50)
    a = Features(rng.uniform(0, 100, (50, 2)), descriptors)
    b = Features(a.uv[order], descriptors[order] + rng.normal(0, 1, (50, 128)).astype(np.float32))
    pairs = match(a, b)
    assert len(pairs) == 50
    assert (order[pairs[:, 1]] == pairs[:, 0]).all()


def test_sampson_is_zero_for_the_true_cameras_and_grows_with_the_error() -> None:
    rng = np.random.default_rng(0)
    pose_b = cameras(4)[3]
    points = rng.uniform([-2, -1, 3], [2, 1, 8], (200, 3))
    uv_a = (points @ K.T)[:, :2] / points[:, 2:]
    in_b = (points - pose_b[:3, 3]) @ pose_b[:3, :3]
    uv_b = (in_b @ K.T)[:, :2] / in_b[:, 2:]
    b_from_a = invert(pose_b)
    assert sampson(uv_a, uv_b, K, K, b_from_a).max() < 1e-9
    shifted = uv_b + [0, 1.0]  # about one pixel across the epipolar lines
    assert 0.3 < np.median(sampson(uv_a, shifted, K, K, b_from_a)) < 1.0
    scaled = b_from_a.copy()
    scaled[:3, 3] *= 7
    assert sampson(uv_a, uv_b, K, K, scaled).max() < 1e-9
    turned = b_from_a.copy()
    turned[:3, 3] = 0
    assert np.median(sampson(uv_a, uv_b, K, K, turned)) > 5  # the distance that rotation alone leaves


def test_sampson_of_pictures_prefers_the_true_cameras() -> None:
    images, poses = textured_clip(4)
    matches = consecutive_matches(images)
    intrinsics = np.tile(K, (4, 1, 1))
    right = median_sampson(matches, intrinsics, poses)
    assert right < 0.3
    assert median_sampson(matches, intrinsics, invert(poses)) > 5 * right
    assert np.isnan(median_sampson([], intrinsics, poses))


def test_steps_and_angles() -> None:
    poses = cameras(5)
    assert np.degrees(rotation_angles(relative_steps(poses)[:, :3, :3])) == pytest.approx(np.degrees(0.03))


def test_prediction_cache(tmp_path: Path) -> None:
    prediction = Prediction(cameras(3), np.tile(K, (3, 1, 1)), np.ones((3, 4, 5)), np.full((3, 4, 5), 0.25), 1.5)
    path = tmp_path / "deep/scene.npz"
    save_prediction(path, prediction, {"method": "x", "sizes": (1, 2)})
    loaded = load_prediction(path, {"method": "x", "sizes": (1, 2)})
    assert loaded is not None and loaded.seconds == 1.5
    assert loaded.world_from_cam == pytest.approx(prediction.world_from_cam)
    assert loaded.motion == pytest.approx(prediction.motion, abs=1 / 255)
    assert load_prediction(path, {"method": "y"}) is None
    path.write_bytes(path.read_bytes()[:100])
    assert load_prediction(path, {"method": "x", "sizes": (1, 2)}) is None
    assert load_prediction(tmp_path / "none.npz", {}) is None


def test_a_prediction_is_checked() -> None:
    images, _ = textured_clip(1)
    clip = clip_of(np.repeat(images, 3, axis=0))
    with pytest.raises(DataError, match="2 predicted world_from_cam for 3 frames"):
        Prediction(cameras(2)).check(clip)
    depth = np.ones((3, 4, 4))
    depth[1, 0, 0] = np.nan
    with pytest.raises(DataError, match="predicted depth of frame 1 is not finite"):
        Prediction(cameras(3), depth=depth).check(clip)


def test_odometry_without_K_does_not_look_at_it() -> None:
    images, _ = textured_clip(3)
    told, alone = clip_of(images), Clip("test", images, np.arange(3) / 10)
    method = TwoView(known_K=False)
    np.testing.assert_array_equal(method.predict(told).world_from_cam, method.predict(alone).world_from_cam)
    assert not np.array_equal(TwoView().predict(told).world_from_cam, method.predict(told).world_from_cam)
    assert method.name != TwoView().name and method.describe() != TwoView().describe()
