"""Writing, logos and borders: found while the camera moves, kept out of depth and flow, called moving."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from openmore.flow import get_flow
from openmore.refinement.apply import refine_predictions
from openmore.refinement.dense.flow_window import FlowWindow
from openmore.refinement.dense.on_screen import FAR, FEWEST, on_screen, painted_over, path
from openmore.types import Camera, FramePrediction
from tests.refinement.world import ROOM, SHAPE, K, depth_of, disturbed, film, turning, walk

FRAMES = FEWEST
EVERY = np.arange(FRAMES)
BOX = np.zeros(SHAPE, bool)
BOX[130:156, 40:200] = True


@lru_cache(maxsize=1)
def plain() -> list[np.ndarray]:
    return film(ROOM, walk(FRAMES, 0.15))


def written(pictures: list[np.ndarray], noise: float = 2.0) -> list[np.ndarray]:
    """A dark box with bright letters over every picture, and what a codec leaves of it."""
    letters = np.zeros(SHAPE, bool)
    letters[136:150, 50:190] = (np.arange(140) // 7 % 2 == 0)[None]
    rng = np.random.default_rng(0)
    out = []
    for picture in pictures:
        image = np.where(letters[..., None], 240, np.where(BOX[..., None], 25, picture))
        out.append(np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8))
    return out


def test_writing_is_found_and_nothing_else() -> None:
    found = on_screen(written(plain()), EVERY)
    assert found is not None and found[BOX].all()
    assert (found & ~BOX).mean() < 0.025  # a rim
    assert on_screen(plain(), EVERY) is None


def test_black_bars_are_found() -> None:
    bars = [picture.copy() for picture in plain()]
    for picture in bars:
        picture[:20] = picture[-20:] = 0
    found = on_screen(bars, EVERY)
    assert found is not None and found[:20].all() and found[-20:].all() and not found[30:-30].any()


def test_plain_sky_is_no_writing() -> None:
    sky = [picture.copy() for picture in plain()]
    for s, picture in enumerate(sky):
        picture[: 50 + 2 * s] = 200, 210, 230  # its edge moves
    assert on_screen(sky, EVERY) is None


def test_a_camera_that_stands_still_and_few_frames_show_no_screen() -> None:
    assert on_screen([plain()[0]] * FRAMES, EVERY) is None
    assert on_screen(written(plain()), EVERY[:-1]) is None
    assert on_screen(written(plain()), np.zeros(0, int)) is None


def test_how_far_a_camera_goes() -> None:
    def far(cameras: np.ndarray) -> float:
        return path(np.tile(K, (len(cameras), 1, 1)), cameras, lambda i: np.full((90, 120), 4.0, np.float32), SHAPE)

    assert far(walk(FRAMES, 0.15)) > FAR > far(walk(FRAMES, 0.01, 0.001))
    assert far(turning(5, 2.0)) == pytest.approx(4 * 210 * np.radians(2.0) / SHAPE[1], rel=0.2)
    assert far(walk(1)) == far(walk(0)) == 0


def test_there_is_no_flow_on_the_screen_nor_onto_it() -> None:
    cameras, Ks = turning(2, 2.0), np.tile(K, (2, 1, 1))
    images = written(film(ROOM, cameras))
    seen = FlowWindow(lambda s: images[s], Ks, cameras, get_flow("dis"), BOX).seen(0, 1)
    assert seen is not None and not seen[2][BOX].any() and (seen[2] > 0.5).mean() > 0.3
    sure = seen[2] > 0
    x, y = seen[:2, sure].round().astype(int).clip(0, [[SHAPE[1] - 1], [SHAPE[0] - 1]])
    assert BOX[y, x].mean() < 0.01


def test_what_is_painted_over_has_the_colours_around_it() -> None:
    image = np.full((*SHAPE, 3), 120, np.uint8)
    image[BOX] = 255
    assert np.abs(painted_over(image, BOX).astype(int) - 120).max() <= 8


@pytest.fixture(scope="module")
def reconstructed() -> tuple[list[FramePrediction], float, list[str]]:
    cameras = walk(FRAMES, 0.15)
    network, maps = disturbed(cameras), np.ones((90, 120), np.float32)
    given = [
        FramePrediction(s, s / 10, Camera(pose, K, SHAPE[1], SHAPE[0]), 4 * maps, 2 * maps, 0 * maps)
        for s, pose in enumerate(network)
    ]
    frames, report, _ = refine_predictions(given, written(plain()))
    assert report.dense is not None
    return frames, report.dense.screen_share, report.warnings


def test_masks_say_that_it_moves_and_depth_goes_on_below_it(
    reconstructed: tuple[list[FramePrediction], float, list[str]],
) -> None:
    frames, share, warnings = reconstructed
    assert share == pytest.approx(BOX.mean(), rel=0.4) and any("never changes" in text for text in warnings)
    inside, truth = BOX[::2, ::2], depth_of(ROOM, walk(FRAMES, 0.15)[3])[::2, ::2]
    frame = frames[3]
    assert frame.motion is not None and (frame.motion[inside] == 1).all() and (frame.confidence[inside] == 1).all()
    assert (frame.motion > 0.5)[~inside].mean() < 0.05
    ratio = frame.depth / truth
    ratio /= np.median(ratio[~inside])
    assert np.median(np.abs(ratio[~inside] - 1)) < 0.05 and np.median(np.abs(ratio[inside] - 1)) < 0.25
