"""The viewer's logic without a browser: what is drawn, when, and where."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openmore.errors import DataError, InputError
from openmore.types import Reconstruction
from openmore.viewer.layers import Settings
from openmore.viewer.panel import Panel
from openmore.viewer.scene_view import SceneView, native_fps
from openmore.viewer.server import close_server, open_server
from openmore.viewer.stage import MOST_FRUSTA
from tests.scenes import make_scene

pytest.importorskip("viser")


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def pair() -> Iterator[SceneView]:
    """A scene of four frames beside one of two."""
    scenes = {"long": make_scene(4), "short": make_scene(2, (24, 32), (48, 64))}
    view = SceneView(open_server(), scenes, Settings(confidence=0))
    view.wait_until_loaded(20)
    yield view
    view.close()


def test_scenes_stand_side_by_side(pair: SceneView) -> None:
    left, right = pair.stages
    assert left._frame.position[0] + left.extent_x()[1] < right._frame.position[0] + right.extent_x()[0]


def test_the_first_view_takes_in_every_scene(pair: SceneView) -> None:
    position, look_at = pair.first_view()
    ahead = look_at - position
    for stage in pair.stages:
        for x in stage.extent_x() + stage.offset_x:
            to_corner = np.array([x, 0, look_at[2]]) - position
            assert abs(np.degrees(np.arctan2(to_corner[0], to_corner[2]) - np.arctan2(ahead[0], ahead[2]))) < 37


def test_the_shorter_scene_waits_at_its_end(pair: SceneView) -> None:
    pair.show(3)
    wait_for(lambda: [stage.drawn for stage in pair.stages] == [3, 1])
    np.testing.assert_allclose(pair.stages[0]._nodes["camera"].position, pair.stages[0].cameras[3].center)


def test_the_status_names_every_scene_and_its_frame(pair: SceneView) -> None:
    pair.show(3)
    wait_for(lambda: "**long**: frame 3, 0.30 s, of 4 frames" in pair.panel.status.content)
    assert "**short**: frame 1, 0.10 s, of 2 frames" in pair.panel.status.content


def test_the_step_buttons_and_keys_stop_at_the_ends(pair: SceneView) -> None:
    for where, frame in (("first", 0), ("back", 0), ("forward", 1), ("last", 3), ("forward", 3), ("back", 2)):
        pair.panel.move(where)
        assert pair.panel.time.value == frame


def test_an_empty_world_says_which_threshold_did_it(scene: Reconstruction) -> None:
    moving = [replace(frame, motion=np.full(frame.shape, 0.8, np.float32)) for frame in scene.frames]
    view = SceneView(open_server(), {"wild": Reconstruction(moving, scene.info)}, Settings(motion=0.5))
    try:
        wait_for(lambda: "raise 'Moving from'" in view.panel.status.content)
        view.panel.motion.value = 0.9
        wait_for(lambda: "no static point" not in view.panel.status.content)
    finally:
        view.close()


def test_sliders_change_what_is_drawn(pair: SceneView) -> None:
    def drawn() -> int:
        return len(pair.stages[0]._nodes["static"].points)

    everything = drawn()
    pair.panel.confidence.value = 50.0
    wait_for(lambda: drawn() < everything)
    pair.panel.confidence.value = 0.0
    wait_for(lambda: drawn() == everything)
    size = pair.stages[0]._nodes["static"].point_size
    pair.panel.size.value = 2.0
    wait_for(lambda: pair.stages[0]._nodes["static"].point_size == pytest.approx(2 * size))


@pytest.mark.parametrize("start", [Settings(confidence=100), Settings(budget=5000), Settings(budget=3_000_000)])
def test_sliders_reach_to_where_they_start(start: Settings) -> None:
    server = open_server()
    try:
        assert Panel(server.gui, 4, 10.0, start).settings() == start
    finally:
        close_server(server)


def test_the_scene_is_looked_at_from_behind_the_first_camera(pair: SceneView) -> None:
    position, look_at = pair.stages[0].first_view()
    assert position[2] < 0 < look_at[2] and position[1] < 0  # y points down


def test_a_missing_array_is_named_and_the_other_frames_are_shown(scene: Reconstruction, tmp_path: Path) -> None:
    folder = scene.save(tmp_path / "scene")
    (folder / "depth" / "000002.npy").unlink()
    view = SceneView(open_server(), {"holed": Reconstruction.load(folder)})
    try:
        wait_for(lambda: "000002.npy is missing" in view.panel.status.content)
        for frame in (2, 3):
            view.show(frame)
        wait_for(lambda: view.stages[0].drawn == 3)
    finally:
        view.close()


def test_a_scene_whose_first_frame_is_damaged_opens(scene: Reconstruction, tmp_path: Path) -> None:
    folder = scene.save(tmp_path / "scene")
    (folder / "depth" / "000000.npy").unlink()
    view = SceneView(open_server(), {"holed": Reconstruction.load(folder), "whole": scene})
    try:
        view.wait_until_loaded(20)
        named = f"**{folder / 'depth' / '000000.npy'} is missing"  # on a line of its own: what is asked for now
        wait_for(lambda: named in view.panel.status.content)
        assert view.stages[1].drawn == 0, "the other scene is drawn all the same"
        assert "1 damaged, left out of the background" in view.panel.status.content
        assert len(view.stages[0].background.points(Settings())[0]) > 1000
        view.show(1)
        wait_for(lambda: view.stages[0].drawn == 1 and named not in view.panel.status.content)
        assert view.stages[0]._nodes["camera"].image is not None
    finally:
        view.close()


def test_a_scene_without_a_readable_frame_is_refused_in_one_line(scene: Reconstruction, tmp_path: Path) -> None:
    folder = scene.save(tmp_path / "scene")
    for path in (folder / "depth").iterdir():
        path.unlink()
    server = open_server()
    try:
        with pytest.raises(DataError, match=r"no frame of the scene can be read: .*000000\.npy is missing"):
            SceneView(server, {"gone": Reconstruction.load(folder)})
    finally:
        close_server(server)


def test_a_long_path_draws_a_bounded_number_of_frusta() -> None:
    short = make_scene(1, (6, 8), (12, 16))
    frames = [replace(short.frames[0], index=i, time_s=i / 10) for i in range(3 * MOST_FRUSTA)]
    view = SceneView(open_server(), {"long": Reconstruction(frames, short.info)})
    assert len(view.stages[0]._nodes["frusta"].points) == 8 * MOST_FRUSTA
    view.close()


def test_nothing_to_show_is_refused(scene: Reconstruction) -> None:
    server = open_server()
    try:
        for scenes in ({}, {"empty": Reconstruction([], scene.info)}):
            with pytest.raises(InputError, match="without frames"):
                SceneView(server, scenes)
    finally:
        close_server(server)


@pytest.mark.parametrize(("step", "fps"), [(0.1, 10), (1 / 29.97, 30), (1 / 240, 60), (5, 1), (0, 10)])
def test_the_rate_is_the_scenes_own_within_the_sliders_range(scene: Reconstruction, step: float, fps: float) -> None:
    frames = [replace(frame, time_s=i * step) for i, frame in enumerate(scene.frames)]
    assert native_fps(Reconstruction(frames, scene.info)) == fps
    assert native_fps(Reconstruction(frames[:1], scene.info)) == 10
