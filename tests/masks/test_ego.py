from __future__ import annotations

import numpy as np
import pytest

from openmore.errors import ConfigError
from openmore.flow.base import FlowResult
from openmore.masks.clip import Geometry
from openmore.masks.ego import BestEgo, GeometricEgo, ParametricEgo, explained, matches

SHAPE = (60, 80)
K = np.array([[80.0, 0, 40], [0, 80.0, 30], [0, 0, 1]])


def geometry(depth: np.ndarray, shift: tuple[float, float, float]) -> Geometry:
    world_from_cam = np.tile(np.eye(4), (2, 1, 1))
    world_from_cam[1, :3, 3] = shift
    return Geometry(depth.astype(np.float32), np.tile(K, (2, 1, 1)), world_from_cam, "test")


def perfect(flow: np.ndarray) -> FlowResult:
    return FlowResult(flow.astype(np.float32), np.ones(flow.shape[1:], np.float32))


def test_sideways_camera_moves_near_things_more() -> None:
    depth = np.full((2, *SHAPE), 4.0)
    depth[:, :, 40:] = 2.0
    ego = GeometricEgo(geometry(depth, (0.1, 0, 0)))(0, 1, None)
    assert np.allclose(ego.flow[0, :, 10:30], -2.0, atol=1e-4) and np.allclose(ego.flow[0, :, 50:], -4.0, atol=1e-4)
    assert np.allclose(ego.flow[1], 0, atol=1e-4) and ego.model == "geometry"


def test_pixels_without_depth_out_of_view_or_hidden_are_invalid() -> None:
    depth = np.full((2, *SHAPE), 4.0)
    depth[0, 5, 20] = 0
    depth[1, 20:40, 20:40] = 1.0  # something stands there in the second frame
    ego = GeometricEgo(geometry(depth, (0.1, 0, 0)))(0, 1, None)
    assert not ego.valid[5, 20] and ego.valid[5, 21]
    assert not ego.valid[:, :2].any()  # leaves to the left
    assert not ego.valid[21:39, 24:40].any() and ego.valid[45, 30]


def test_what_comes_nearer_hides_nothing_behind_it_elsewhere() -> None:
    near = GeometricEgo(geometry(np.full((2, *SHAPE), 4.0), (0, 0, 0)))(0, 1, None)
    assert near.valid.all()


def zoom(shape: tuple[int, int], factor: float) -> np.ndarray:
    v, u = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    return np.stack(((u - shape[1] / 2) * factor, (v - shape[0] / 2) * factor))


def test_homography_ignores_a_mover() -> None:
    flow = zoom(SHAPE, 0.05)
    flow[:, 20:40, 30:50] += 8
    ego = ParametricEgo()(0, 1, perfect(flow))
    assert ego.model == "homography" and np.abs(ego.flow - zoom(SHAPE, 0.05)).max() < 0.05
    again = ParametricEgo()(0, 1, perfect(flow))
    assert np.array_equal(ego.flow, again.flow)  # the random search is seeded


def test_parallax_falls_back_to_epipolar_lines() -> None:
    depth = np.random.default_rng(0).uniform(1, 6, SHAPE)
    static = GeometricEgo(geometry(np.stack((depth, depth)), (0.2, 0, 0.1)))(0, 1, None).flow
    flow = static.copy()
    flow[1, 20:40, 30:50] += 5  # a mover across its lines
    ego = ParametricEgo()(0, 1, perfect(flow))
    residual = np.linalg.norm(flow - ego.flow, axis=0)
    assert ego.model == "epipolar"
    assert np.median(residual[20:40, 30:50]) > 2 and np.median(residual[45:]) < 0.2


def test_estimated_geometry_is_believed_only_where_it_explains_the_flow() -> None:
    depth = np.random.default_rng(0).uniform(1, 6, SHAPE)
    true = GeometricEgo(geometry(np.stack((depth, depth)), (0.2, 0, 0.1)))
    flow = perfect(true(0, 1, None).flow)
    assert explained(flow, true(0, 1, None)) > 0.4  # the rest is hidden behind random depth
    assert BestEgo(true)(0, 1, flow).model == "geometry"
    wrong = GeometricEgo(geometry(np.stack((depth, depth)), (-0.2, 0.3, 0)))
    assert BestEgo(wrong)(0, 1, flow).model == "epipolar"
    assert BestEgo(wrong)(0, 1, perfect(zoom(SHAPE, 0.05))).model == "homography"


def test_nothing_reliable_gives_no_answer() -> None:
    nothing = FlowResult(np.zeros((2, *SHAPE), np.float32), np.zeros(SHAPE, np.float32))
    assert not ParametricEgo()(0, 1, nothing).valid.any()
    with pytest.raises(ConfigError, match="observed flow"):
        ParametricEgo()(0, 1, None)


def test_matches_follow_the_flow() -> None:
    here, there = matches(perfect(np.stack((np.full(SHAPE, 3.0), np.full(SHAPE, -1.0)))))
    assert len(here) == 10 * 13 and np.allclose(there - here, (3, -1))
