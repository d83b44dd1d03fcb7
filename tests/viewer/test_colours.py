from __future__ import annotations

import numpy as np
import pytest

from openmore.export.points import PointOptions, frame_points
from openmore.io.colours import LEGEND_HEIGHT, legend, ramp
from openmore.types import Reconstruction
from openmore.viewer.colours import MODES, CloudColours, Range


@pytest.fixture(scope="module")
def cloud(scene: Reconstruction) -> np.ndarray:
    return np.concatenate(frame_points(scene.frames[0], 0, PointOptions(confidence="0%")))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_colours_every_point(scene: Reconstruction, cloud: np.ndarray, mode: str) -> None:
    colours = CloudColours(scene.cameras)
    colours.fit(cloud)
    rgb = colours(cloud, mode)
    assert rgb.shape == (len(cloud), 3) and rgb.dtype == np.uint8


def test_depth_runs_over_the_map_from_near_to_far(scene: Reconstruction, cloud: np.ndarray) -> None:
    colours = CloudColours(scene.cameras)
    colours.fit(cloud)
    near, far = cloud["xyz"][:, 2].argmin(), cloud["xyz"][:, 2].argmax()
    rgb = colours(cloud, "depth")
    assert (rgb[near] == ramp(np.array(0.0))).all() and (rgb[far] == ramp(np.array(1.0))).all()


def test_motion_and_rgb_are_what_the_cloud_says(scene: Reconstruction, cloud: np.ndarray) -> None:
    colours = CloudColours(scene.cameras)
    assert (colours(cloud, "rgb") == cloud["rgb"]).all()
    moving = cloud["motion"] == 255
    rgb = colours(cloud, "motion")
    assert (rgb[moving] == ramp(np.array(1.0))).all() and (rgb[~moving] == ramp(np.array(0.0))).all()


def test_a_range_without_extent_is_not_a_division_by_zero() -> None:
    assert Range(2, 2).share(np.array([2.0])).tolist() == [0]


def test_the_legend_shows_the_map_over_text() -> None:
    image = legend(ramp(np.linspace(0, 1, 50)), "0.5", "depth, scene units", "12", 200)
    assert image.shape == (LEGEND_HEIGHT, 200, 3)
    assert (image[5, 0] == ramp(np.array(0.0))).all() and (image[5, -1] == ramp(np.array(1.0))).all()
    assert (image[18:] < 128).any()  # something is written


def test_a_narrow_legend_leaves_text_out_rather_than_overlapping() -> None:
    for width, written in ((40, False), (60, True)):
        assert (legend(None, "0.5", "a long explanation of it", "12", width) < 128).any() == written
