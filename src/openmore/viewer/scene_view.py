"""The 4D viewer: a time line over one or several scenes in the browser.

Choices
- One worker thread draws; callbacks only change what should be shown and wake it. A slow frame is then skipped, not
  queued, and no two callbacks race.
- Several scenes stand side by side and share time and settings: the i-th frame of each is shown, shorter ones wait.
- Opening reads cameras and one frame; the background arrives while one is already looking.
"""

from __future__ import annotations

import io
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from openmore.errors import InputError, OpenMoReError
from openmore.export.cameras import frame_times
from openmore.types import Reconstruction
from openmore.viewer.layers import Settings
from openmore.viewer.panel import FASTEST, Panel
from openmore.viewer.server import close_server, set_theme
from openmore.viewer.stage import Stage

START_FOV = float(np.radians(50))  # vertical, radians


@dataclass
class _Shown:
    """What the worker has to draw."""

    settings: Settings
    frame: int = 0
    settings_changed: bool = True


class SceneView:
    """Shows scenes on a server made by `viewer.server.open_server`. Call `close` when done."""

    def __init__(self, server: Any, scenes: dict[str, Reconstruction], settings: Settings = Settings()):
        if not scenes or not all(len(scene) for scene in scenes.values()):
            raise InputError("a scene without frames cannot be shown: give at least one scene with frames")
        self.server = server
        self._shown = _Shown(settings=settings)
        self._wake = threading.Condition()
        self._closed = False
        self._playing = False
        self.stages = self._place(scenes)
        self.frame_count = max(len(scene) for scene in scenes.values())
        self.panel = Panel(server.gui, self.frame_count, native_fps(next(iter(scenes.values()))), settings)
        self._connect()
        self.server.initial_camera.position, self.server.initial_camera.look_at = self.first_view()
        self.threads = [threading.Thread(target=self._work, daemon=True)]
        self.threads += [threading.Thread(target=self._accumulate, args=(stage,), daemon=True) for stage in self.stages]
        for thread in self.threads:
            thread.start()

    def show(self, frame: int) -> None:
        """Go to a frame, as the slider does."""
        self.panel.time.value = frame

    def play(self, playing: bool = True) -> None:
        """Start or stop, as the button does."""
        self._playing = playing
        self.panel.play.label = "Pause" if playing else "Play"
        self._notify()

    def first_view(self) -> tuple[np.ndarray, np.ndarray]:
        """(position, look_at): a little behind the first camera; with several scenes, far enough to see all."""
        position, look_at = self.stages[0].first_view()
        if len(self.stages) == 1:
            return position, look_at
        ends = [stage.extent_x() + stage.offset_x for stage in self.stages]
        width, middle = np.ptp(ends), np.mean((np.min(ends), np.max(ends)))
        # The panel hides the right quarter of the window.
        back = max(0.0, 0.9 * width - look_at[2] + position[2])
        aside = middle + 0.1 * width - position[0]
        return position + [aside, -0.15 * back, -back], look_at + [middle + 0.1 * width - look_at[0], 0, 0]

    def wait_until_loaded(self, timeout_s: float | None = None) -> None:
        """Block until every background is complete."""
        for thread in self.threads[1:]:
            thread.join(timeout_s)

    def close(self) -> None:
        """Stop the threads and the server."""
        self._closed = True
        for stage in self.stages:
            stage.background.stop()
        self._notify()
        for thread in self.threads:
            thread.join()
        close_server(self.server)

    def _place(self, scenes: dict[str, Reconstruction]) -> list[Stage]:
        """Side by side along x, each as wide as its first frame, with their names when there are several."""
        stages, x = [], 0.0
        for number, (name, scene) in enumerate(scenes.items()):
            stage = Stage(self.server, f"/scene{number}", name, scene)
            stages.append(stage)
            low, high = stage.extent_x()
            stage.move_to(x - low if number else 0.0)
            x = (x - low if number else 0.0) + high + 0.1 * (high - low)
            if len(scenes) > 1:
                stage.add_name()
        return stages

    def _connect(self) -> None:
        panel = self.panel
        panel.listen(self._changed, lambda: self.play(not self._playing))
        panel.dark.on_update(lambda _: set_theme(self.server, panel.dark.value))
        panel.through.on_click(lambda _: self._look_through(panel.time.value))
        panel.look.on_trigger(lambda _: self._look_through(panel.time.value))
        panel.reset.on_click(lambda _: self._look_from_start())
        panel.screenshot.on_click(self._screenshot)

    def _changed(self, what: str) -> None:
        if what == "frame":
            self._notify(frame=self.panel.time.value)
        elif what == "settings":
            self._notify(settings=True)
        elif what == "size":
            for stage in self.stages:
                stage.set_point_size(self.panel.size.value)
        else:
            for stage in self.stages:
                stage.show_part(what, self.panel.boxes[what].value)

    def _notify(self, frame: int | None = None, settings: bool = False) -> None:
        with self._wake:
            if frame is not None:
                self._shown.frame = frame
            if settings:
                self._shown.settings_changed = True
                self._shown.settings = self.panel.settings()
            self._wake.notify()

    def _work(self) -> None:
        """Draw whenever something changed; while playing, also step through time."""
        drawn = -1
        while not self._closed:
            with self._wake:
                idle = self._shown.frame == drawn and not self._shown.settings_changed and not self._playing
                if idle:
                    self._wake.wait()
                shown = replace(self._shown)
                self._shown.settings_changed = False
            if self._closed:
                return
            begun = time.perf_counter()
            if shown.frame != drawn or shown.settings_changed:
                self._report(shown.settings, self._draw(shown))
                drawn = shown.frame
            if self._playing:
                time.sleep(max(0.0, 1 / self.panel.fps.value - (time.perf_counter() - begun)))
                self._step()

    def _step(self) -> None:
        following = self.panel.time.value + 1
        if following >= self.frame_count and not self.panel.loop.value:
            self.play(False)
            return
        self.panel.time.value = following % self.frame_count
        self._notify(frame=self.panel.time.value)

    def _draw(self, shown: _Shown) -> list[str]:
        """Draw a frame of every scene; returns what is wrong with those that cannot be shown."""
        problems = []
        with self.server.atomic():
            for stage in self.stages:
                if shown.settings_changed:
                    stage.draw_background(shown.settings)
                try:
                    stage.draw_frame(shown.frame, shown.settings)
                except OpenMoReError as error:  # this frame cannot be shown; other frames and scenes can
                    problems.append(str(error))
        if shown.settings_changed:
            self._draw_legend(shown.settings.colour)
        if self.panel.follow.value:
            self._look_through(shown.frame)
        return problems

    def _report(self, settings: Settings, problems: list[str]) -> None:
        lines = [line for stage in self.stages for line in stage.report(settings)]
        self.panel.say([*lines, *(f"**{problem}**" for problem in problems)])

    def _draw_legend(self, colour: str) -> None:
        self.panel.legend.visible = colour != "rgb"
        if colour != "rgb":
            self.panel.legend.image = self.stages[0].colours.legend(colour)

    def _accumulate(self, stage: Stage) -> None:
        stage.background.accumulate(lambda: self._notify(settings=True))

    def _look_through(self, frame: int) -> None:
        wxyz, position, fov = self.stages[0].view_of(frame)
        for client in self.server.get_clients().values():
            with client.atomic():
                client.camera.wxyz, client.camera.position, client.camera.fov = wxyz, position, fov

    def _look_from_start(self) -> None:
        position, look_at = self.first_view()
        for client in self.server.get_clients().values():
            with client.atomic():
                client.camera.up_direction, client.camera.fov = (0.0, -1.0, 0.0), START_FOV
                client.camera.position, client.camera.look_at = position, look_at

    def _screenshot(self, event: Any) -> None:
        from PIL import Image

        camera = event.client.camera
        picture = event.client.get_render(camera.image_height, camera.image_width, timeout=20)
        buffer = io.BytesIO()
        Image.fromarray(picture[..., :3]).save(buffer, "PNG")
        name = f"openmore_{self.panel.time.value:06d}.png"
        event.client.send_file_download(name, buffer.getvalue(), save_immediately=True)


def native_fps(scene: Reconstruction) -> float:
    """The scene's own rate, within what the slider offers; 10 when time stamps say nothing."""
    steps = np.diff(frame_times(scene))
    step = float(np.median(steps)) if len(steps) else 0.0
    return float(np.clip(round(2 / step) / 2, 1, FASTEST)) if step > 0 else 10.0
