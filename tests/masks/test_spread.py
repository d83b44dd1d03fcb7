from __future__ import annotations

import numpy as np
import pytest

from openmore.masks.spread import average, spread


def test_average_is_geometric_over_those_that_can_tell() -> None:
    a, b = (np.array([row], np.float32) for row in ([1, 4, np.nan, 0], [4, np.nan, np.nan, 1]))
    assert average([a, b])[0] == pytest.approx([2, 4, np.nan, 1e-3], nan_ok=True)


def test_spread_fills_within_edges_and_leaves_open_what_nobody_saw() -> None:
    image = np.zeros((60, 200, 3), np.uint8)
    image[:, 60:] = 200
    residual = np.full((60, 200), 0.1, np.float32)
    residual[:, 60:120] = 3
    residual[20:30, 45:55], residual[20:30, 65:75], residual[:, 150:] = np.nan, np.nan, np.nan
    out = spread(residual, image, 0.5)
    assert out[25, 50] == pytest.approx(0.1, rel=0.2) and out[25, 70] == pytest.approx(3, rel=0.2)
    assert np.isnan(out[:, 180:]).all() and not np.isnan(out[:, :150]).any()
    assert (out[:, 62:100] > 0.5).all() and (out[:, :58] < 0.5).all()


def test_one_wild_pixel_drowns() -> None:
    residual = np.full((60, 200), 0.1, np.float32)
    residual[30, 100] = 5
    assert (spread(residual, np.full((60, 200, 3), 128, np.uint8), 0.5) < 0.5).all()
