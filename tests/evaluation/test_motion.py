"""J and F: against an implementation written another way, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from openmore.errors import DataError
from openmore.evaluation.motion import Calibration, boundary_f, jaccard, mask_errors, mean_of, statistics


def blob(seed: int, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 5)
    return noise > np.quantile(noise, 0.7)


def independent_j(a: np.ndarray, b: np.ndarray) -> float:
    left, right = set(np.flatnonzero(a)), set(np.flatnonzero(b))
    return len(left & right) / len(left | right) if left | right else 1.0


def independent_f(a: np.ndarray, b: np.ndarray) -> float:
    """Boundary F by distances instead of dilation, boundary pixels by loops instead of shifts."""

    def edge(mask: np.ndarray) -> np.ndarray:
        h, w = mask.shape
        out = np.zeros_like(mask)
        for y in range(h):
            for x in range(w):
                around = mask[y : min(y + 2, h), x : min(x + 2, w)]
                out[y, x] = around.any() and not around.all()
        return out

    radius = np.ceil(0.008 * np.linalg.norm(a.shape))
    ea, eb = edge(a), edge(b)
    if not ea.any() or not eb.any():
        return float(ea.any() == eb.any())
    p = (distance_transform_edt(~eb)[ea] <= radius).mean()
    r = (distance_transform_edt(~ea)[eb] <= radius).mean()
    return 2 * p * r / (p + r) if p + r else 0.0


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_an_independent_implementation(seed: int) -> None:
    shape = (40 + 7 * seed, 60 + 11 * seed)
    a = blob(seed, shape)
    b = np.roll(a, seed % 4, axis=1) ^ (np.random.default_rng(seed).random(shape) < 0.002)
    assert jaccard(a, b) == pytest.approx(independent_j(a, b), abs=1e-4)
    assert boundary_f(a, b) == pytest.approx(independent_f(a, b), abs=1e-4)


def test_truth_against_itself_is_one() -> None:
    truth = np.stack([blob(seed) for seed in range(5)])
    errors = mask_errors(truth, truth)
    assert errors.jf == errors.j_mean == errors.f_mean == errors.j_recall == 1.0
    assert errors.j_decay == 0.0


def test_empty_masks() -> None:
    empty, some = np.zeros((1, 20, 20), bool), np.zeros((1, 20, 20), bool)
    some[0, 5:9, 5:9] = True
    assert mask_errors(empty, empty).jf == 1.0
    assert mask_errors(some, empty).jf == 0.0
    assert mask_errors(empty, some).jf == 0.0


def test_void_pixels_count_for_nobody() -> None:
    truth = np.stack([blob(0)])
    prediction = truth.copy()
    void = np.zeros(truth.shape, bool)
    void[0, 10:20] = True
    prediction[0, 10:20] = ~prediction[0, 10:20]
    assert mask_errors(prediction, truth).j_mean < 1
    assert mask_errors(prediction, truth, void).j_mean == 1


def test_a_frame_without_a_known_pixel_counts_for_nobody() -> None:
    truth = np.stack([blob(seed) for seed in range(3)])
    void = np.zeros(truth.shape, bool)
    void[1:] = True
    prediction = np.roll(truth, 5, axis=2)
    errors, alone = mask_errors(prediction, truth, void), mask_errors(prediction[:1], truth[:1])
    assert errors == alone and errors.frames == 1 and errors.jf < 0.9
    with pytest.raises(DataError, match="nothing to measure"):
        mask_errors(prediction, truth, np.ones(truth.shape, bool))


def test_statistics_of_a_falling_sequence() -> None:
    mean, recall, decay = statistics(np.linspace(1, 0, 9))
    assert mean == pytest.approx(0.5)
    assert recall == pytest.approx(4 / 9)
    assert decay > 0.5


def test_mean_is_over_sequences_not_frames() -> None:
    truth = np.stack([blob(seed) for seed in range(6)])
    perfect, wrong = mask_errors(truth, truth), mask_errors(~truth[:2], truth[:2])
    assert mean_of([perfect, wrong])["j_mean"] == pytest.approx(0.5)


def test_calibration_finds_the_threshold() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((4, 50, 50)) < 0.3
    probability = np.where(truth, rng.uniform(0.3, 0.6, truth.shape), rng.uniform(0, 0.25, truth.shape))
    counts = Calibration.empty()
    for frame in range(4):
        counts.add(probability[frame], truth[frame])
    summary = counts.summary()
    assert summary["average_precision"] == pytest.approx(1.0)
    assert 0.25 <= summary["best_threshold"] <= 0.31
    assert summary["iou_at_best"] == pytest.approx(1.0)
    assert summary["iou_at_half"] < 0.5


def test_other_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="same \\[S, H, W\\]"):
        mask_errors(np.zeros((2, 4, 4), bool), np.zeros((1, 4, 4), bool))
