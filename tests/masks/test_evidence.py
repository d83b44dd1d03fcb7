from __future__ import annotations

import numpy as np

from openmore.flow.base import FlowResult
from openmore.flow.dis import DISFlow
from openmore.masks.decision import Rule
from openmore.masks.ego import Ego
from openmore.masks.evidence import Evidence, ask_the_picture, combine, plain, stabilised, warp, weighed
from tests.masks.conftest import texture


def still(shape: tuple[int, int]) -> Ego:
    return Ego(np.zeros((2, *shape), np.float32), np.ones(shape, bool), "geometry")


def constant(shape: tuple[int, int], u: float, confidence: float = 1.0) -> FlowResult:
    flow = np.zeros((2, *shape), np.float32)
    flow[0] = u
    return FlowResult(flow, np.full(shape, confidence, np.float32))


def test_combine_needs_a_majority_of_those_that_can_tell() -> None:
    nan, inf = np.nan, np.inf
    rows = [[0.0, 9, nan, nan, 0], [9, 9, 9, nan, inf], [0, 0, nan, nan, inf], [9, 9, nan, nan, nan]]
    combined = combine([np.array([row], np.float32) for row in rows])
    assert np.array_equal(combined, [[0, 9, 9, nan, inf]], equal_nan=True)  # a tie is static


def test_plain_residual_is_the_papers() -> None:
    flow = constant((4, 5), 3.0)
    flow.confidence[0, 0] = 0.1
    evidence = plain(1, still((4, 5)), flow, 0.2)
    assert np.isnan(evidence.residual[0, 0]) and np.allclose(evidence.residual[1:], 3) and evidence.noise == 0.2


def test_stabilising_finds_the_mover_behind_a_fast_pan() -> None:
    wall, square = texture((80, 180), 0), texture((24, 24), 1)
    a, b = wall[:, 40:140].copy(), wall[:, :100].copy()  # the picture moves 40 px to the right
    a[30:54, 20:44], b[30:54, 66:90] = square, square  # and the square 6 px more
    ego = Ego(constant((80, 100), 40.0).flow, np.ones((80, 100), bool), "geometry")
    evidence = stabilised(1, ego, a, b, DISFlow())
    assert abs(np.nanmedian(evidence.residual[34:50, 24:40]) - 6) < 1
    assert np.nanmedian(evidence.residual[:25, :55]) < 0.1
    assert np.isnan(evidence.residual[:, 62:]).all()  # left the picture: undecided
    assert abs(np.median(evidence.flow.flow[0, 34:50, 24:40]) - 46) < 1


def test_colours_contradict_flow_on_a_blank_wall_but_not_on_a_mover() -> None:
    shape = (40, 60)
    a, b = (np.full((*shape, 3), 100, np.uint8) for _ in range(2))
    square = texture((16, 16), 2)
    a[12:28, 10:26], b[12:28, 16:32] = square, square
    evidence = Evidence(1, np.full(shape, 6, np.float32), constant(shape, 6.0), 0.05, "geometry")
    asked = ask_the_picture(evidence, still(shape), a, b, Rule())
    assert np.isnan(asked.residual[:, 40:52]).all()  # blank: both flows explain it
    assert np.median(asked.residual[14:26, 12:24]) == 6


def test_a_pixel_that_no_flow_explains_is_lost() -> None:
    shape = (40, 60)
    a = texture(shape, 3)
    b = a.copy()
    b[10:30, 20:40] = texture((20, 20), 4)
    flow = constant(shape, 0.0)
    flow.confidence[10:30, 20:40] = 0.1
    residual = np.where(flow.confidence > 0.5, 0, np.nan).astype(np.float32)
    asked = ask_the_picture(Evidence(1, residual, flow, 0.05, "geometry"), still(shape), a, b, Rule())
    assert np.isinf(asked.residual[13:27, 23:37]).mean() > 0.9
    assert not np.isinf(asked.residual[:6]).any()


def test_colours_weigh_the_residual_down_on_a_blank_wall_and_up_on_a_mover() -> None:
    shape = (40, 60)
    a, b = (np.full((*shape, 3), 100, np.uint8) for _ in range(2))
    square = texture((16, 16), 2)
    a[12:28, 10:26], b[12:28, 16:32] = square, square
    evidence = Evidence(1, np.full(shape, 1, np.float32), constant(shape, 1.0), 0.05, "geometry")
    weight = weighed(evidence, still(shape), a, b, Rule()).residual
    assert (weight[:, 40:52] < 1 / 3).all() and np.median(weight[14:26, 12:24]) > 1 / 3  # 1/3 px is the floor
    outside = Ego(np.full((2, *shape), 100, np.float32), np.ones(shape, bool), "geometry")
    assert np.array_equal(weighed(evidence, outside, a, b, Rule()).residual, evidence.residual)


def test_lost_pixels_weigh_most_where_colours_differ_and_others_stay_undecided() -> None:
    shape = (40, 60)
    a = texture(shape, 3)
    b = a.copy()
    b[10:30, 20:40] = texture((20, 20), 4)
    nothing = Evidence(1, np.full(shape, np.nan, np.float32), constant(shape, 0.0, 0.1), 0.05, "geometry")
    weight = weighed(nothing, still(shape), a, b, Rule()).residual
    assert np.median(weight[13:27, 23:37]) > 2 / 3 and np.isnan(weight[:6]).all()


def test_exposure_changes_are_no_motion() -> None:
    a = texture((40, 60), 5)
    b = np.clip(a * 0.7, 0, 255).astype(np.uint8)
    flow = constant((40, 60), 0.0, confidence=0.1)
    undecided = Evidence(1, np.full((40, 60), np.nan, np.float32), flow, 0.05, "geometry")
    asked = ask_the_picture(undecided, still((40, 60)), a, b, Rule())
    assert not np.isinf(asked.residual).any()


def test_warp_reads_where_the_flow_points() -> None:
    image = texture((10, 12), 6)
    warped = warp(image, constant((10, 12), 2.0).flow)
    assert np.allclose(warped[:, :10], image[:, 2:]) and np.isnan(warped[:, 10:]).all()
