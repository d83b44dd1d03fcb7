from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from openmore.errors import ConfigError, InputError
from openmore.export.cloud import CLOUD, join, put, take
from openmore.export.points import PointOptions, depth_edges, frame_points, gather
from openmore.export.thinning import VoxelThinner, cell_keys, thin
from openmore.types import Reconstruction
from tests.scenes import SPHERE_RADIUS, UNSURE, distance_to_static, make_scene, sphere_center

EVERYTHING = PointOptions(confidence="0%", edge=0, voxel=0, motion_margin=0)


@pytest.fixture(scope="module")
def scene() -> Reconstruction:
    return make_scene()


def random_cloud(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cloud = np.zeros(n, CLOUD)
    cloud["xyz"] = rng.normal(size=(n, 3))
    cloud["confidence"] = rng.uniform(1, 5, n)
    return cloud


def test_without_filters_every_pixel_becomes_a_point_on_its_surface(scene: Reconstruction) -> None:
    cloud = gather(scene, EVERYTHING)
    assert len(cloud.static) + sum(map(len, cloud.movers)) == len(scene) * 48 * 64
    assert distance_to_static(cloud.static["xyz"]).max() < 1e-4
    for i, movers in enumerate(cloud.movers):
        radius = np.linalg.norm(movers["xyz"] - sphere_center(i), axis=-1)
        assert len(movers) > 50 and np.abs(radius - SPHERE_RADIUS).max() < 1e-4


def test_points_remember_where_they_were_seen(scene: Reconstruction) -> None:
    static, _ = frame_points(scene.frames[2], 2, EVERYTHING)
    u, v = static["pixel"].T
    frame = scene.frames[2]
    assert frame.rgb is not None and (static["frame"] == 2).all()
    assert (static["rgb"] == frame.rgb[v, u]).all()
    assert (static["confidence"] == frame.confidence[v, u]).all()


@pytest.mark.parametrize("step", [2, 5])
def test_taking_every_nth_pixel_takes_a_subset(scene: Reconstruction, step: int) -> None:
    every, _ = frame_points(scene.frames[1], 1, EVERYTHING)
    some, movers = frame_points(scene.frames[1], 1, EVERYTHING, step=step)
    same = every[(every["pixel"] % step == 0).all(-1)]
    assert len(movers) and (some["pixel"] == same["pixel"]).all()
    np.testing.assert_allclose(some["xyz"], same["xyz"], atol=1e-5)


def test_confidence_is_a_threshold_or_a_share_of_each_frame(scene: Reconstruction) -> None:
    by_threshold = gather(scene, replace(EVERYTHING, confidence=2.0)).static
    by_share = gather(scene, replace(EVERYTHING, confidence="20%")).static
    assert by_threshold["confidence"].min() > UNSURE
    assert len(by_share) == len(by_threshold)  # the unsure tenth goes, the ties above it stay


def test_edges_are_jumps_and_never_slanted_planes() -> None:
    rows = np.arange(1, 41, dtype=np.float64)[:, None]
    ground = np.repeat(30 / rows, 30, 1)  # a floor seen to 30 units away: inverse depth is linear in the row
    assert not depth_edges(ground, 0.01).any()
    step = np.where(np.arange(30) < 15, 1.0, 2.0)[None].repeat(40, 0)
    assert np.flatnonzero(depth_edges(step, 0.05)[5]).tolist() == [14, 15]


def test_the_band_around_movers_belongs_to_neither_side(scene: Reconstruction) -> None:
    narrow = gather(scene, EVERYTHING)
    wide = gather(scene, replace(EVERYTHING, motion_margin=2))
    assert len(wide.static) < len(narrow.static)
    assert [len(m) for m in wide.movers] == [len(m) for m in narrow.movers]


def test_static_only_leaves_the_mover_out(scene: Reconstruction) -> None:
    cloud = gather(scene, replace(EVERYTHING, static_only=True))
    assert not any(len(m) for m in cloud.movers)
    assert distance_to_static(cloud.static["xyz"]).max() < 1e-4


def test_without_motion_masks_everything_is_static_and_the_log_says_so(scene, caplog) -> None:
    blind = Reconstruction([replace(frame, motion=None) for frame in scene.frames], scene.info)
    cloud = gather(blind, EVERYTHING)
    assert len(cloud.static) == len(scene) * 48 * 64
    assert "4 of 4 frames have no motion mask" in caplog.text


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (PointOptions(confidence=100), "lower the confidence threshold"),
        (PointOptions(motion=0, static_only=True), "raise the motion threshold"),
        (PointOptions(confidence=0, edge=1e-12), "raise edge"),
    ],
)
def test_an_empty_cloud_names_the_filter_that_emptied_it(scene, options: PointOptions, culprit: str) -> None:
    if "edge" in culprit:
        rng = np.random.default_rng(0)
        frames = [replace(f, depth=f.depth + rng.uniform(0, 1, f.depth.shape).astype(np.float32)) for f in scene.frames]
        # The outermost corner pixels have no neighbours on both sides; give them no depth.
        for frame in frames:
            frame.depth[[0, 0, -1, -1], [0, -1, 0, -1]] = 0
        scene = Reconstruction(frames, scene.info)
    with pytest.raises(InputError, match=culprit):
        gather(scene, options)


def test_no_depth_at_all_is_said_plainly(scene: Reconstruction) -> None:
    empty = Reconstruction([replace(f, depth=np.zeros_like(f.depth)) for f in scene.frames], scene.info)
    with pytest.raises(InputError, match="no pixel of the scene has a finite positive depth"):
        gather(empty, PointOptions())


@pytest.mark.parametrize(
    "bad",
    [
        {"confidence": "many"},
        {"confidence": "100%"},
        {"confidence": "nan"},
        {"confidence": None},
        {"motion": 2},
        {"motion": "0.5"},
        {"motion_margin": 1.5},
        {"edge": -1},
        {"voxel": float("nan")},
        {"static_only": "no"},
        {"max_points": 0},
        {"max_points": "5"},
        {"max_mover_points": None},
    ],
    ids=str,
)
def test_impossible_options_are_refused(bad: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        PointOptions(**bad)


def test_thinning_keeps_the_surest_static_point_of_every_cell() -> None:
    cloud = random_cloud(2000)
    thinned = thin(cloud, 0.5)
    keys = cell_keys(cloud["xyz"], 0.5)
    assert len(thinned) == len(np.unique(keys))
    best = {key: cloud["confidence"][keys == key].max() for key in np.unique(keys)}
    assert thinned["confidence"].tolist() == pytest.approx(list(best.values()))


def test_thinning_in_pieces_equals_thinning_at_once() -> None:
    cloud = random_cloud(3000)
    thinner = VoxelThinner(0.3, budget=10_000)
    for piece in np.array_split(cloud, 7):
        thinner.add(piece)
        thinner.result()  # forces a merge, so that later pieces meet occupied cells
    assert (thinner.result() == thin(cloud, 0.3)).all()


@pytest.mark.parametrize("voxel", [0.0, 0.01])
@pytest.mark.parametrize("budget", [1, 50, 500])
def test_the_budget_holds_and_keeps_every_region(voxel: float, budget: int) -> None:
    thinner = VoxelThinner(voxel, budget)
    for seed in range(5):
        thinner.add(random_cloud(1000, seed))
    cloud = thinner.result()
    assert budget / 8 <= len(cloud) <= budget
    if budget >= 50:  # all eight octants are still there
        assert len(np.unique(cell_keys(cloud["xyz"], 100.0))) == 8


def test_mover_budget_is_shared_by_the_frames(scene: Reconstruction) -> None:
    cloud = gather(scene, replace(EVERYTHING, max_mover_points=40))
    assert [len(m) for m in cloud.movers] == [10] * 4


def test_moving_rows_as_bytes_equals_numpys_own_indexing() -> None:
    cloud, other = random_cloud(50, 1), random_cloud(7, 2)
    rows, mask = np.array([3, 3, 49, 0]), cloud["confidence"] > 2
    assert (take(cloud, rows) == cloud[rows]).all()
    assert (take(cloud, mask) == cloud[mask]).all()
    assert (take(cloud.reshape(5, 10), mask.reshape(5, 10)) == cloud[mask]).all()
    assert (join([cloud, other]) == np.concatenate([cloud, other])).all()
    assert len(join([])) == 0 and join([]).dtype == CLOUD
    expected = cloud.copy()
    expected[:7] = other
    put(cloud, np.arange(7), other)
    assert (cloud == expected).all()
