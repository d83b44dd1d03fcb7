from __future__ import annotations

import numpy as np
import pytest

from openmore.errors import ConfigError
from openmore.masks.refine import (
    from_probability,
    get_refiner,
    grabcut,
    guided,
    guided_filter,
    pieces,
)
from openmore.types import MOVING, UNKNOWN


def disc_and_rough_mask() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    v, u = np.mgrid[:80, :100]
    disc = (u - 50) ** 2 + (v - 40) ** 2 < 22**2
    rng = np.random.default_rng(0)
    image = np.where(disc[..., None], (200, 60, 40), (40, 90, 160)) + rng.normal(0, 6, (80, 100, 3))
    rough = np.zeros((80, 100), np.uint8)
    rough[20:58, 30:72] = MOVING  # a box about the disc, two pixels off
    return np.clip(image, 0, 255).astype(np.uint8), disc, rough


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(("name", "least"), [("grabcut", 0.93), ("guided", 0.84)])
def test_a_box_becomes_the_disc(name: str, least: float) -> None:
    image, disc, rough = disc_and_rough_mask()
    refine = get_refiner(name)
    assert refine is not None
    before, after = iou(rough == MOVING, disc), iou(refine(rough, image) == MOVING, disc)
    assert before < 0.84 and after > least
    assert after > before


@pytest.mark.parametrize("refine", [grabcut, guided])
def test_unknown_stays_and_nothing_stays_nothing(refine) -> None:
    image, _, rough = disc_and_rough_mask()
    rough[:, :10] = UNKNOWN
    assert (refine(rough, image)[:, :10] == UNKNOWN).all()
    assert not refine(np.zeros((80, 100), np.uint8), image).any()


def test_grabcut_keeps_a_piece_whose_colours_say_nothing() -> None:
    _, _, rough = disc_and_rough_mask()
    blank = np.full((80, 100, 3), 128, np.uint8)
    assert iou(grabcut(rough, blank) == MOVING, rough == MOVING) > 0.6


def test_guided_filter_keeps_constants_and_follows_edges() -> None:
    guide = np.zeros((20, 20), np.float32)
    guide[:, 10:] = 1
    assert np.allclose(guided_filter(guide, np.full((20, 20), 0.3, np.float32), 3, 1e-4), 0.3, atol=1e-4)
    shifted = np.zeros((20, 20), np.float32)
    shifted[:, 11:] = 1  # one pixel off the guide's edge
    assert guided_filter(guide, shifted, 3, 1e-4)[10, 10] > 0.5


def test_pieces_leave_out_specks() -> None:
    mask = np.zeros((30, 30), bool)
    mask[2:10, 2:10], mask[20, 20] = True, True
    found = list(pieces(mask, margin=1))
    assert len(found) == 1 and found[0][1] == (slice(1, 11), slice(1, 11))


def test_probability_and_names() -> None:
    assert from_probability(np.array([[0.2, 0.7]])).tolist() == [[0, 1]]
    assert get_refiner("none") is None
    with pytest.raises(ConfigError, match="grabcut"):
        get_refiner("crf")
