"""Dense losses: what counts, what is dropped, what cannot hurt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from openmore.training.losses.dense import DenseConfig, dense_terms
from openmore.training.losses.reduce import drop_outliers

GRADIENT, NORMAL = DenseConfig(), DenseConfig(detail="normal")
STREAM3R = DenseConfig(first_frame_apart=True, image_cap=100.0)


def maps(channels: int, B: int = 2, S: int = 3, H: int = 20, W: int = 24) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    prediction, truth = torch.randn(2, B, S, H, W, channels)
    return prediction.requires_grad_(), truth, 1 + torch.rand(B, S, H, W), torch.rand(B, S, H, W) < 0.8


@pytest.mark.parametrize("config", [GRADIENT, NORMAL, STREAM3R], ids=["gradient", "normal", "stream3r"])
def test_whatever_stands_in_invalid_pixels_is_ignored(config: DenseConfig) -> None:
    prediction, truth, confidence, valid = maps(3)
    clean = dense_terms(prediction, truth, confidence, valid, config)
    dirty = dense_terms(prediction, torch.where(valid[..., None], truth, torch.nan), confidence, valid, config)
    assert torch.equal(torch.stack(clean), torch.stack(dirty))
    slope = torch.autograd.grad(torch.stack(dirty).sum(), prediction)[0]
    assert slope.isfinite().all()


@pytest.mark.parametrize("config", [GRADIENT, NORMAL, STREAM3R], ids=["gradient", "normal", "stream3r"])
def test_too_few_valid_pixels_give_zero_and_keep_the_graph(config: DenseConfig) -> None:
    prediction, truth, confidence, valid = maps(3)
    terms = dense_terms(prediction, truth, confidence, torch.zeros_like(valid), config)
    assert torch.stack(terms).abs().max() == 0
    assert torch.autograd.grad(torch.stack(terms).sum(), prediction)[0].abs().max() == 0


def test_truth_has_only_the_confidence_bonus() -> None:
    _, truth, confidence, valid = maps(1)
    terms = dense_terms(truth, truth, confidence, valid, replace(GRADIENT, quantile=None))
    assert terms.regression == 0 == terms.detail
    torch.testing.assert_close(terms.confidence, -0.2 * confidence[valid].log().mean())


def test_a_constant_offset_has_no_gradient_error_and_a_scaled_map_no_normal_error() -> None:
    _, truth, confidence, valid = maps(3)
    assert dense_terms(truth + 1, truth, confidence, valid, GRADIENT).detail < 1e-5
    assert dense_terms(truth * 3, truth, confidence, valid, NORMAL).detail < 1e-5
    assert dense_terms(truth + torch.randn_like(truth), truth, confidence, valid, NORMAL).detail > 0.1


def test_the_squared_form_is_the_papers_formula() -> None:
    prediction, truth, confidence, valid = maps(3)
    config = DenseConfig(squared=True, quantile=None)
    error = (prediction - truth)[valid].square().sum(-1)
    expected = (confidence[valid] * error - 0.2 * confidence[valid].log()).mean()
    torch.testing.assert_close(dense_terms(prediction, truth, confidence, valid, config).confidence, expected)


def test_the_first_frame_apart_equals_all_frames_when_there_is_one() -> None:
    prediction, truth, confidence, valid = maps(3, S=1)
    together = dense_terms(prediction, truth, confidence, valid, GRADIENT)
    apart = dense_terms(prediction, truth, confidence, valid, replace(GRADIENT, first_frame_apart=True))
    assert torch.equal(torch.stack(together), torch.stack(apart))


def test_outliers_go_only_from_groups_large_enough() -> None:
    values = torch.arange(2000.0) / 100
    assert drop_outliers(values, 0.98).numel() == 1959  # those below the value of rank round(0.98 * 1999)
    assert drop_outliers(values[:1000], 0.98).numel() == 1000
    assert drop_outliers(values, None) is values
    assert drop_outliers(values * 100, 0.98).max() <= 100
