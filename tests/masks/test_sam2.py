from __future__ import annotations

import numpy as np
import pytest
import torch

from openmore.errors import CheckpointError
from openmore.masks.sam2 import SAM2Predictor, SAM2Segmenter, innermost, stability
from openmore.types import MOVING, UNKNOWN
from tests.masks.conftest import texture

pytest.importorskip("transformers")
pytestmark = pytest.mark.slow  # importing SAM2 alone takes seconds


@pytest.fixture(scope="module")
def predictor() -> SAM2Predictor:
    return SAM2Predictor.from_pretrained("tiny", "untrained")


def test_prompts_of_all_kinds_give_three_candidates_each(predictor: SAM2Predictor) -> None:
    picture = predictor.embed(texture((60, 80), 0))
    logits, iou = predictor.predict(picture, points=np.array([[10, 20], [30, 40.0]]))
    assert logits.shape[:2] == (2, 3) and iou.shape == (2, 3)
    mask = np.zeros((60, 80), bool)
    mask[20:40, 20:50] = True
    with_all, _ = predictor.predict(picture, np.array([[35, 30.0]]), np.array([[20, 20, 50, 40.0]]), mask)
    point_only, _ = predictor.predict(picture, np.array([[35, 30.0]]))
    assert not torch.allclose(with_all, point_only)  # box and mask are heard
    assert predictor.to_picture(with_all[0], picture).shape == (3, 60, 80)


def test_automatic_masks_cover_with_consecutive_labels(predictor: SAM2Predictor) -> None:
    segmenter = SAM2Segmenter(predictor, grid=4, least_iou=0.0, least_stability=0.0, batch=5)
    labels = segmenter(texture((60, 80), 1), 0, np.zeros((60, 80), np.float32), 1.0)
    assert labels.shape == (60, 80) and set(np.unique(labels)) >= {0}
    assert np.array_equal(np.unique(labels[labels >= 0]), np.arange(labels.max() + 1))


def test_nothing_passes_the_scores(predictor: SAM2Predictor) -> None:
    segmenter = SAM2Segmenter(predictor, grid=2, least_iou=2.0)
    assert (segmenter(texture((60, 80), 1), 0, np.zeros((60, 80), np.float32), 1.0) == -1).all()


def test_refinement_keeps_the_piece_when_no_candidate_fits_it(predictor: SAM2Predictor) -> None:
    labels = np.zeros((60, 80), np.uint8)
    labels[10:14, 10:40] = MOVING
    labels[50:, 60:] = UNKNOWN
    refined = predictor.refine(labels, texture((60, 80), 2))
    assert np.array_equal(refined, labels)  # random weights cannot hit a thin bar


def test_stability_and_innermost() -> None:
    logits = torch.tensor([[[5.0, 5, -5, -5]], [[5.0, 0, -5, -5]]])
    assert stability(logits).tolist() == [1.0, 0.5]
    mask = np.zeros((20, 30), bool)
    mask[5:16, 10:21] = True
    assert innermost(mask).tolist() == [15, 10]
    assert innermost(np.ones((5, 5), bool)).tolist() == [2, 2]


def test_missing_weights_say_what_to_do(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="sam2-tiny:FOLDER"):
        SAM2Predictor.from_pretrained("tiny", str(tmp_path))


def test_a_hub_that_cannot_be_reached_is_not_asked(unreachable_hub: list) -> None:
    with pytest.raises(CheckpointError, match="sam2-tiny:FOLDER"):
        SAM2Predictor.from_pretrained("tiny")
    assert not unreachable_hub
