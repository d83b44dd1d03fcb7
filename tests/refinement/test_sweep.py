"""Trying all depths: finds the true one from any start and at outlines, in any unit, and says where it cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from openmore.refinement.dense.cues import looked_up
from openmore.refinement.dense.sweep import CHANNELS, Neighbour, sweep
from tests.refinement.world import ROOM, SHAPE, Card, K, depth_of, film, turning, walk

FRAME = 2


def swept(pictures: list[np.ndarray], cameras: np.ndarray, inverse: np.ndarray) -> dict[str, np.ndarray]:
    """Channels [H, W] by name, of frame FRAME."""
    found = sweep(pictures[FRAME], neighbours(pictures, cameras), K, inverse.astype(np.float32))
    assert found.shape == (len(CHANNELS), *SHAPE) and found.dtype == np.float32 and np.isfinite(found).all()
    return dict(zip(CHANNELS, found))


def neighbours(pictures: list[np.ndarray], cameras: np.ndarray) -> Callable[[int], Neighbour | None]:
    def other(offset: int) -> Neighbour | None:
        s = FRAME + offset
        if not 0 <= s < len(pictures):
            return None
        return pictures[s], K, np.linalg.inv(cameras[s]) @ cameras[FRAME]

    return other


def test_depth_is_found_from_a_flat_start_and_at_outlines() -> None:
    cameras = walk(5)
    true = depth_of(ROOM, cameras[FRAME])
    flat = np.full(SHAPE, 1 / np.median(true))
    found = swept(film(ROOM, cameras), cameras, flat)
    off = np.abs(np.log(flat) + found["sweep"] + np.log(true))
    inner = (slice(20, -20), slice(20, -20))
    assert np.median(off[inner]) < 0.03 < np.median(np.abs(np.log(flat * true))[inner])
    outline = np.abs(np.log(true[:, 5:] / true[:, :-5]))[20:-20, 20:-25] > 0.2
    assert np.median(off[20:-20, 22:-28][outline]) < 0.1
    wrong = np.abs(np.log(flat * true)) > 0.2
    assert np.median(found["sweep_here"][inner][wrong[inner]]) > np.median(found["sweep_here"][inner][~wrong[inner]])
    assert (found["sweep_second_cost"] >= 0).all() and (found["sweep_known"] == 1).all()


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_it_does_not_know_the_unit_of_the_world(unit: float) -> None:
    cameras = walk(5)
    pictures, inverse = film(ROOM, cameras), 1 / depth_of(ROOM, cameras[FRAME])
    one = swept(pictures, cameras, inverse)
    scaled = cameras.copy()
    scaled[:, :3, 3] *= unit
    other = swept(pictures, scaled, inverse / unit)
    for name in CHANNELS:
        assert np.mean(np.abs(one[name] - other[name]) > 1e-2) < 0.01, name


def test_no_depth_explains_a_mover() -> None:
    cameras = walk(5, step=0.05)
    mover = Card((-0.3, 0.0, 2.5), (0.7, 0.7), seed=77, velocity=(0.0, 0.12, 0.0))
    moving = film((*ROOM, mover), cameras)
    where = np.abs(moving[FRAME].astype(int) - film(ROOM, cameras)[FRAME]).max(-1) > 30
    cost = swept(moving, cameras, 1 / depth_of(ROOM, cameras[FRAME]))["sweep_cost"]
    assert np.median(cost[where]) > 2 * np.median(cost[~where])


def test_without_parallax_or_neighbours_nothing_is_said() -> None:
    still = turning(5, 1.0)
    inverse = 1 / depth_of(ROOM, still[FRAME])
    assert not any(x.any() for x in swept(film(ROOM, still), still, inverse).values())
    assert not sweep(film(ROOM, still)[0], lambda offset: None, K, inverse).any()


def test_no_depth_is_tried_where_the_shutter_rolls() -> None:
    cameras = walk(5)
    pictures, inverse = film(ROOM, cameras), (1 / depth_of(ROOM, cameras[FRAME])).astype(np.float32)
    for upright in (True, False):
        found = looked_up(pictures[FRAME], neighbours(pictures, cameras), K, inverse, upright)
        assert found[-len(CHANNELS) :].any() == upright and found[: -len(CHANNELS)].any()


def test_cameras_that_look_away_or_stand_behind_cost_everything() -> None:
    image = film(ROOM, walk(1))[0]
    behind = np.eye(4)
    behind[:3, 3] = 3.0, 0.0, -50.0
    found = dict(zip(CHANNELS, sweep(image, lambda offset: (image, K, behind), K, np.ones(SHAPE, np.float32))))
    assert np.isfinite(np.stack(list(found.values()))).all()
    assert found["sweep_cost"].max() <= 1 + 1e-3
