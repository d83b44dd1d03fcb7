"""The network that settles measurements: what it is shown, what it may change, and what it is worth as shipped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from openmore.refinement.dense import appearance, sweep
from openmore.refinement.dense.cues import CHANNELS, MOST, Cues, cues_of
from openmore.refinement.dense.depth import complete
from openmore.refinement.dense.fusion import CANDIDATES, OUT, RELUCTANCE, FusionNet, settle, settler
from openmore.refinement.dense.predictions import keep, settled
from openmore.refinement.dense.residual_motion import Found
from openmore.refinement.dense.smoothing import edges_of
from openmore.refinement.dense.triangulated import triangulate
from openmore.refinement.dense.walk import DenseFrame
from tests.refinement.test_dense import exact_sight
from tests.refinement.world import ROOM, SHAPE, depth_of, film, walk

RAYS = np.zeros((2, *SHAPE), np.float32)


def nobody(shape: tuple[int, int]) -> np.ndarray:
    """What is looked up of a frame without neighbours."""
    return np.zeros((len(appearance.CHANNELS) + len(sweep.CHANNELS), *shape), np.float32)


def channel(cues: Cues, name: str) -> np.ndarray:
    return cues.values[CHANNELS.index(name)]


def cues(scale: float = 1.0) -> Cues:
    """A frame of the room, exactly measured, in a world of another unit."""
    cameras = walk(4)
    image = film(ROOM, cameras)[1]
    depth = depth_of(ROOM, cameras[1])
    scaled = cameras.copy()
    scaled[:, :3, 3] *= scale
    sights = [exact_sight(scaled, 1, b, depth * scale) for b in (2, 0, 3)]
    found = triangulate(sights, SHAPE)
    predicted = np.full(SHAPE, 4 * scale, np.float32)
    dense = complete(found, edges_of(image), predicted=predicted)
    return cues_of(image, RAYS, sights, found, dense, predicted, None, nobody(SHAPE))


def blank(shape: tuple[int, int] = (40, 56)) -> Cues:
    """A frame of which nothing was measured."""
    image = np.full((*shape, 3), 128, np.uint8)
    rays, predicted = np.zeros((2, *shape), np.float32), np.ones(shape, np.float32)
    return cues_of(image, rays, [], triangulate([], shape), None, predicted, None, nobody(shape))


def test_cues_do_not_know_the_unit_of_the_world() -> None:
    one, ten = cues(), cues(10.0)
    assert one.level - ten.level == pytest.approx(np.log(10), abs=1e-4)
    np.testing.assert_allclose(one.values, ten.values, atol=2e-3)
    true = depth_of(ROOM, walk(4)[1])
    seen = channel(one, "seen") > 0
    assert np.median(np.abs(np.exp(-one.completed)[seen] / true[seen] - 1)) < 0.03


def test_what_was_not_measured_is_zero_and_said_so() -> None:
    empty = blank()
    for name in ("measured", "measured_trust", "residual", "seen", "has_depth", "moving", "odds_known", "off"):
        assert not channel(empty, name).any(), name
    assert np.isfinite(empty.values).all() and np.abs(empty.values).max() <= MOST


def test_lost_pixels_are_cues_like_others() -> None:
    shape = (40, 56)
    off = np.full(shape, np.inf, np.float32)
    off[0] = np.nan
    moving = Found(np.full(shape, 0.5, np.float32), np.full(shape, np.nan, np.float32), off, off)
    image = np.zeros((*shape, 3), np.uint8)
    rays, predicted = np.zeros((2, *shape), np.float32), np.ones(shape, np.float32)
    made = cues_of(image, rays, [], triangulate([], shape), None, predicted, moving, nobody(shape))
    assert np.isfinite(made.values).all()
    assert not channel(made, "off")[0].any() and (channel(made, "off")[1:] == MOST).all()


def test_an_untrained_network_keeps_what_was_measured_but_for_a_little_of_the_candidates() -> None:
    torch.manual_seed(0)
    measured = cues()
    answer = settle(measured, FusionNet())
    share = np.exp(-RELUCTANCE)
    mixed = share / (1 + len(CANDIDATES) * share) * measured.values[CANDIDATES].sum(0)
    np.testing.assert_allclose(answer.depth, np.exp(-measured.completed - mixed), rtol=1e-5)
    np.testing.assert_allclose(answer.motion, 0.5, atol=1e-6)


def test_a_candidate_that_is_voted_for_is_taken_as_it_stands() -> None:
    net, number = FusionNet(), 1
    with torch.no_grad():
        net.head.bias.view(OUT, 4)[3 + number] = 100.0
    seen = cues()
    seen.values[CANDIDATES[number]] = np.linspace(-2, 2, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    taken = np.exp(-seen.completed - seen.values[CANDIDATES[number]])
    np.testing.assert_allclose(settle(seen, net).depth, taken, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (33, 70), (160, 224), (64, 31)])
def test_pictures_of_any_size(shape: tuple[int, int]) -> None:
    answer = settler()(0, blank(shape))
    for values in (answer.depth, answer.relative_sigma, answer.motion):
        assert values.shape == shape and values.dtype == np.float32 and np.isfinite(values).all()
    assert (answer.depth > 0).all() and (answer.relative_sigma > 0).all()
    assert ((answer.motion >= 0) & (answer.motion <= 1)).all()


def test_the_shipped_network_does_no_harm_where_all_is_known() -> None:
    measured = cues()
    answer = settler()(0, measured)
    true = depth_of(ROOM, walk(4)[1])
    seen = channel(measured, "seen") > 0
    off = np.median(np.abs(answer.depth / true - 1)[seen])
    assert off < 0.1


def test_motion_that_nobody_could_see_stays_unknown() -> None:
    measured = cues()
    answer = settler()(0, measured)
    frame = DenseFrame(np.ones(SHAPE, np.float32), np.ones(SHAPE, np.float32), None, 0.5)
    new = settled(frame, answer)
    assert new.motion is None and new.depth is answer.depth and new.confidence is not None
    assert (new.confidence >= 1).all() and new.triangulated == 0.5
    assert settled(frame, keep(0, measured)) is frame


def test_the_residuals_behind_a_settled_mask_are_kept_for_the_solver() -> None:
    measured = cues()
    motion = np.full(SHAPE, 0.25, np.float32)
    frame = DenseFrame(np.ones(SHAPE, np.float32), np.ones(SHAPE, np.float32), motion, 0.5)
    new = settled(frame, settler()(0, measured))
    assert new.residuals is not None and (new.residuals == 0.25).all()
    assert new.motion is not None and new.motion is not motion
