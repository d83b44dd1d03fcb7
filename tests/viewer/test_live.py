from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from openmore.export.points import PointOptions
from openmore.types import Reconstruction
from openmore.viewer.live import LiveView, TakenCells
from openmore.viewer.server import open_server
from tests.scenes import SPHERE_RADIUS, distance_to_static, make_scene, sphere_center

pytest.importorskip("viser")
EVERYTHING = PointOptions(confidence="0%", edge=0, motion_margin=0)


@pytest.fixture()
def view() -> Iterator[LiveView]:
    with LiveView(open_server(), options=EVERYTHING) as view:
        yield view


def show(view: LiveView, scene: Reconstruction) -> None:
    """Offer every frame until it is taken: tests want all of them drawn."""
    for frame in scene.frames:
        while not view.add_frame(frame):
            time.sleep(0.001)
    view.finish()


def test_a_cell_is_taken_once_and_can_be_released() -> None:
    cells = TakenCells(0.1)
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float32)
    rows, slots = cells.take(points)
    assert 400 < len(rows) <= 500
    assert len(cells.take(points)[0]) == 0
    cells.release(slots)
    assert len(cells.take(points)[0]) == len(rows)


def test_the_cloud_grows_and_the_mover_is_replaced(view: LiveView, scene: Reconstruction) -> None:
    show(view, scene)
    assert view.drawn == 4
    drawn = np.concatenate([points for _, points, _ in view._chunks])
    assert set(drawn["frame"]) == {0, 1, 2, 3}  # later frames add what was hidden or outside before
    assert distance_to_static(drawn["xyz"]).max() < 1e-4
    movers = view._nodes["movers"].points
    assert np.abs(np.linalg.norm(movers - sphere_center(3), axis=-1) - SPHERE_RADIUS).max() < 1e-3
    np.testing.assert_allclose(view._nodes["camera"].position, scene.cameras[3].center)
    assert "Frame 3" in view._status.content


def test_the_budget_drops_the_oldest_points() -> None:
    scene = make_scene(1, (60, 80), (120, 160))
    frame = scene.frames[0]

    def moved(i: int):
        shifted = frame.camera.world_from_cam.copy()
        shifted[0, 3] = 10.0 * i  # a new part of the world each time
        return replace(frame, index=i, camera=replace(frame.camera, world_from_cam=shifted))

    with LiveView(open_server(), points_per_frame=5_000, budget=15_000, options=EVERYTHING) as view:
        show(view, Reconstruction([moved(i) for i in range(12)], scene.info))
        assert view.point_count <= 15_000 + 10_000
        drawn = np.concatenate([points for _, points, _ in view._chunks])
        assert drawn["frame"].min() > 5 and drawn["frame"].max() == 11
        assert len(view._chunks) <= 3


def test_each_frame_gives_a_bounded_number_of_points() -> None:
    scene = make_scene(1, (120, 160), (120, 160))
    with LiveView(open_server(), points_per_frame=500, options=EVERYTHING) as view:
        show(view, scene)
        assert 200 < view.point_count + len(view._nodes["movers"].points) <= 500


def test_the_stream_never_waits_for_the_drawing(view: LiveView, scene: Reconstruction, monkeypatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(view, "_draw", lambda frame: release.wait(10))
    begun = time.perf_counter()
    taken = [view.add_frame(scene.frames[i % 4]) for i in range(50)]
    waited = time.perf_counter() - begun
    release.set()
    assert waited < 1 and sum(taken) <= 3 and view.left_out == 50 - sum(taken)
