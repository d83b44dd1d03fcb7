"""The viewer and the page in a real browser, against a scene whose mover is known."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmore.types import Reconstruction
from openmore.viewer.page import write_page
from openmore.viewer.scene_view import SceneView
from openmore.viewer.server import address, open_server
from tests.scenes import make_scene, render
from tests.viewer.conftest import Visit

pytestmark = pytest.mark.browser
pytest.importorskip("viser")
SHAPE = (240, 320)


def wait_for(what: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def fine_scene() -> Reconstruction:
    return make_scene(4, (120, 160), SHAPE)


@pytest.fixture(scope="module")
def view(fine_scene: Reconstruction) -> Iterator[SceneView]:
    view = SceneView(open_server(), {"ball": fine_scene})
    view.wait_until_loaded(30)
    yield view
    view.close()


@pytest.fixture(scope="module")
def visit(view: SceneView, browser) -> Visit:
    visit = Visit(browser, address(view.server))
    wait_for(view.server.get_clients)
    return visit


def picture(view: SceneView, frame: int) -> np.ndarray:
    """What the browser draws from the first camera at a time, [240, 320, 3]."""
    view.show(frame)
    wait_for(lambda: view.stages[0].drawn == frame)
    client = next(iter(view.server.get_clients().values()))
    wxyz, position, fov = view.stages[0].view_of(0)
    return client.get_render(*SHAPE, wxyz=wxyz, position=position, fov=fov, timeout=60)[..., :3].astype(int)


def ball(scene: Reconstruction, frame: int) -> np.ndarray:
    """[240, 320] bool: where the ball of a frame is, seen from the first camera."""
    camera = scene.cameras[0]
    return render(camera, camera.K, SHAPE, frame)[2]


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    out = mask.copy()
    for dy in range(-by, by + 1):
        for dx in range(-by, by + 1):
            out |= np.roll(mask, (dy, dx), (0, 1))
    return out


def test_the_picture_changes_where_the_mover_is_and_nowhere_else(view, visit, fine_scene) -> None:
    for part in ("path", "camera"):
        view.stages[0].show_part(part, False)
    first, last = picture(view, 0), picture(view, 3)
    changed = np.abs(first - last).sum(-1) > 60
    here, there = ball(fine_scene, 0), ball(fine_scene, 3)
    only_one = here ^ there
    assert changed[only_one].mean() > 0.95
    assert changed[~grown(here | there, 3)].mean() < 0.001
    red = (first[..., 0] > 180) & (first[..., 1] < 80)
    assert (red & here).sum() / (red | here).sum() > 0.95  # and it is drawn where the camera saw it


def test_the_slider_in_the_page_moves_time(view: SceneView, visit: Visit) -> None:
    view.show(0)
    wait_for(lambda: view.stages[0].drawn == 0)
    thumb = visit.page.get_by_role("slider").first
    for frame in (1, 2):
        wait_for(lambda frame=frame: thumb.get_attribute("aria-valuenow") == str(frame - 1))
        thumb.press("ArrowRight")
        wait_for(lambda frame=frame: view.stages[0].drawn == frame)


def test_play_runs_through_all_frames_and_loops(view: SceneView, visit: Visit) -> None:
    seen = []
    visit.page.get_by_role("button", name="Play").click()
    wait_for(lambda: seen.append(view.stages[0].drawn) or {0, 1, 2, 3} <= set(seen))
    visit.page.get_by_role("button", name="Pause").click()
    wait_for(lambda: visit.page.get_by_role("button", name="Play").is_visible())


def test_colours_and_thresholds_redraw(view: SceneView, visit: Visit) -> None:
    before = picture(view, 1)
    view.panel.colour.value = "depth"
    wait_for(lambda: view.panel.legend.visible)
    time.sleep(0.5)
    assert np.abs(picture(view, 1) - before).mean() > 10
    view.panel.colour.value = "rgb"


def test_keys_step_and_play(view: SceneView, visit: Visit) -> None:
    view.show(0)
    wait_for(lambda: view.stages[0].drawn == 0)
    wait_for(lambda: visit.page.get_by_role("slider").first.get_attribute("aria-valuenow") == "0")
    visit.page.mouse.click(200, 600)  # away from the panel, whose inputs would take the keys
    visit.page.keyboard.press("l")
    wait_for(lambda: view.stages[0].drawn == 1)
    visit.page.keyboard.press("j")
    wait_for(lambda: view.stages[0].drawn == 0)


def test_following_moves_the_visitors_camera(view: SceneView, visit: Visit, fine_scene: Reconstruction) -> None:
    client = next(iter(view.server.get_clients().values()))
    view.panel.follow.value = True
    for frame in (3, 1):
        view.show(frame)
        wait_for(lambda frame=frame: np.allclose(client.camera.position, fine_scene.cameras[frame].center, atol=1e-3))
    view.panel.follow.value = False


def test_the_screenshot_is_what_the_window_shows(view: SceneView, visit: Visit) -> None:
    with visit.page.expect_download(timeout=60_000) as download:
        visit.page.get_by_role("button", name="Screenshot").click()
    assert download.value.suggested_filename == f"openmore_{view.panel.time.value:06d}.png"
    picture = np.asarray(Image.open(download.value.path()))
    assert picture.shape[2] == 3 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_nothing_leaves_the_machine_and_nothing_complains(view: SceneView, visit: Visit) -> None:
    origin = address(view.server)
    assert visit.foreign_requests(origin, origin.replace("http", "ws")) == []
    assert visit.errors == []


def red_middle(visit: Visit) -> float | None:
    """Column of the ball's middle in a screenshot of the page, None when it is not there."""
    shot = np.asarray(Image.open(io.BytesIO(visit.page.screenshot())).convert("RGB")).astype(int)
    red = (shot[..., 0] > 200) & (shot[..., 1] < 60) & (shot[..., 2] < 60)
    return float(np.nonzero(red)[1].mean()) if red.sum() > 500 else None


def test_the_page_plays_from_disk(fine_scene: Reconstruction, browser, tmp_path: Path) -> None:
    path = write_page(fine_scene, tmp_path / "ball.html")
    visit = Visit(browser, path.as_uri())
    places: list[float] = []

    def moved() -> bool:
        middle = red_middle(visit)
        if middle is not None:
            places.append(middle)
        return bool(places) and max(places) - min(places) > 30

    wait_for(moved, 60)
    assert visit.errors == []
    assert visit.foreign_requests("file://") == []
