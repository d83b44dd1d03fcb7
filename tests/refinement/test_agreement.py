"""Depth settled among neighbours: true depth stays, what one frame has wrong goes, movers and other shots keep out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openmore.refinement.dense.agreement import agreed
from openmore.refinement.dense.triangulated import weighted_median
from openmore.refinement.dense.walk import DenseFrame
from tests.refinement.world import ROOM, SHAPE, K, depth_of, walk

FRAMES = 5
KS = np.tile(K, (FRAMES, 1, 1))
CAMERAS = walk(FRAMES)
TRUE = [depth_of(ROOM, camera).astype(np.float32) for camera in CAMERAS]
ONE_SHOT = np.zeros(FRAMES, int)
PATCH = np.s_[70:110, 90:150]


def measured(depth: np.ndarray, motion: np.ndarray | None = None) -> DenseFrame:
    return DenseFrame(depth, np.full(SHAPE, 3.0, np.float32), motion, 1.0)


def errors(frames: list[DenseFrame]) -> list[np.ndarray]:
    found = []
    for frame, true in zip(frames, TRUE):
        assert frame.depth is not None and frame.depth.dtype == np.float32
        found.append(np.abs(np.log(frame.depth / true)))
    return found


def test_true_depth_stays() -> None:
    for error in errors(agreed([measured(d) for d in TRUE], KS, CAMERAS, ONE_SHOT)):
        assert np.median(error) < 1e-3 and (error < 0.02).mean() > 0.95  # outlines are interpolated over


def test_what_one_frame_has_wrong_is_overruled() -> None:
    wrong = TRUE[2].copy()
    wrong[PATCH] *= 1.2
    frames = [measured(wrong if s == 2 else d) for s, d in enumerate(TRUE)]
    assert np.median(errors(agreed(frames, KS, CAMERAS, ONE_SHOT))[2][PATCH]) < 0.02
    alone = np.array([0, 0, 1, 2, 2])  # each of its neighbours is of another shot
    np.testing.assert_array_equal(agreed(frames, KS, CAMERAS, alone)[2].depth, wrong)
    sure = [replace(f, confidence=np.full(SHAPE, 3.0 if s != 2 else 99.0, np.float32)) for s, f in enumerate(frames)]
    assert np.median(errors(agreed(sure, KS, CAMERAS, ONE_SHOT))[2][PATCH]) > 0.15


def test_noise_is_averaged() -> None:
    rng = np.random.default_rng(0)
    noisy = [measured((d * np.exp(0.05 * rng.normal(size=SHAPE))).astype(np.float32)) for d in TRUE]
    for before, after in zip(errors(noisy), errors(agreed(noisy, KS, CAMERAS, ONE_SHOT))):
        assert after.mean() < 0.75 * before.mean()


def test_movers_keep_their_depth_and_have_no_say() -> None:
    moving = np.zeros(SHAPE, np.float32)
    moving[PATCH] = 0.9
    wrong = TRUE[2].copy()
    wrong[PATCH] *= 1.2
    kept = agreed([measured(wrong if s == 2 else d, moving) for s, d in enumerate(TRUE)], KS, CAMERAS, ONE_SHOT)[2]
    assert kept.depth is not None
    np.testing.assert_array_equal(kept.depth[PATCH], wrong[PATCH])
    everything = np.ones(SHAPE, np.float32)
    frames = [measured(wrong) if s == 2 else measured(d, everything) for s, d in enumerate(TRUE)]
    np.testing.assert_allclose(agreed(frames, KS, CAMERAS, ONE_SHOT)[2].depth, wrong)


def test_frames_without_depth_or_camera_are_left_alone() -> None:
    nothing = DenseFrame(None, None, None, 0.0)
    frames = [nothing, measured(TRUE[1]), nothing, measured(TRUE[3]), measured(TRUE[4])]
    found = agreed(frames, KS, CAMERAS, np.array([0, 0, 0, -1, -1]))
    assert found[0] is nothing and found[2] is nothing and found[3] is frames[3]
    np.testing.assert_allclose(found[1].depth, TRUE[1])
    assert agreed([], KS[:0], CAMERAS[:0], ONE_SHOT[:0]) == []


def test_the_weighted_median_is_where_half_the_weight_is() -> None:
    values, weights = np.array([3.0, 1.0, 2.0, 9.0])[:, None], np.array([1.0, 1.0, 1.0, 4.0])[:, None]
    assert weighted_median(values, weights)[0] == 9.0
    assert weighted_median(values[:3], weights[:3])[0] == 2.0
    assert weighted_median(values, np.array([0.0, 0, 1, 0])[:, None])[0] == 2.0
