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

from openmore.errors import InputError
from openmore.export.cameras import frame_times
from openmore.types import Reconstruction
from openmore.viewer.colours import MODES
from openmore.viewer.layers import MAYBE_MOVING, Settings
from openmore.viewer.server import close_server
from openmore.viewer.stage import Stage

FASTEST = 60.0  # frames per second


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
        self._native_fps = native_fps(next(iter(scenes.values())))
        self._gui(settings)
        self.look_from_first_camera()
        self.threads = [threading.Thread(target=self._work, daemon=True)]
        self.threads += [threading.Thread(target=self._accumulate, args=(stage,), daemon=True) for stage in self.stages]
        for thread in self.threads:
            thread.start()

    def show(self, frame: int) -> None:
        """Go to a frame, as the slider does."""
        self._time.value = frame

    def play(self, playing: bool = True) -> None:
        """Start or stop, as the button does."""
        self._playing = playing
        self._play.label = "Pause" if playing else "Play"
        self._notify()

    def look_from_first_camera(self) -> None:
        """Let new visitors start a little behind the first scene's first camera."""
        stage = self.stages[0]
        self.server.initial_camera.position, self.server.initial_camera.look_at = stage.first_view()

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
        """Side by side along x, each as wide as its first frame."""
        stages, x = [], 0.0
        for number, (name, scene) in enumerate(scenes.items()):
            stage = Stage(self.server, f"/scene{number}", name, scene)
            stages.append(stage)
            low, high = stage.extent_x()
            stage.move_to(x - low if number else 0.0)
            x = (x - low if number else 0.0) + high + 0.1 * (high - low)
        return stages

    def _gui(self, start: Settings) -> None:
        gui = self.server.gui
        with gui.add_folder("Time"):
            last = max(self.frame_count - 1, 1)
            self._time = gui.add_slider("Frame", 0, last, 1, 0, disabled=self.frame_count == 1)
            self._play = gui.add_button("Play", disabled=self.frame_count == 1)
            self._fps = gui.add_slider("Frames per second", 1.0, FASTEST, 0.5, self._native_fps)
            self._loop = gui.add_checkbox("Loop", True)
        with gui.add_folder("Show"):
            names = {"static": "Static world", "movers": "Movers", "path": "Camera path", "camera": "Camera picture"}
            boxes = {part: gui.add_checkbox(label, True) for part, label in names.items()}
            boxes["frusta"] = gui.add_checkbox("All cameras", False)
        with gui.add_folder("Points"):
            self._confidence = gui.add_slider("Hide least sure, %", 0.0, 95.0, 1.0, start.confidence)
            self._motion = gui.add_slider("Moving from", MAYBE_MOVING, 1.0, 0.05, start.motion)
            self._trail = gui.add_slider("Trail, frames", 0, min(20, self.frame_count), 1, start.trail)
            self._budget = gui.add_slider("Static points", 10_000, 2_000_000, 10_000, start.budget)
            self._size = gui.add_slider("Point size", 0.2, 5.0, 0.1, 1.0)
            self._colour = gui.add_dropdown("Colour", MODES, initial_value=start.colour)
            self._legend = gui.add_image(np.full((1, 1, 3), 255, np.uint8), visible=False)
        with gui.add_folder("View"):
            self._follow = gui.add_checkbox("Follow the camera", False)
            screenshot = gui.add_button("Screenshot")
        self._status = gui.add_markdown("Loading")
        self._connect(boxes, screenshot)

    def _connect(self, boxes: dict[str, Any], screenshot: Any) -> None:
        self._time.on_update(lambda _: self._notify(frame=self._time.value))
        self._play.on_click(lambda _: self.play(not self._playing))
        for slider in (self._confidence, self._motion, self._trail, self._budget, self._colour):
            slider.on_update(lambda _: self._notify(settings=True))
        self._size.on_update(lambda _: [stage.set_point_size(self._size.value) for stage in self.stages])
        self._follow.on_update(lambda _: self._notify(frame=self._time.value))
        for part, box in boxes.items():
            box.on_update(lambda event, part=part: [stage.show_part(part, event.target.value) for stage in self.stages])
        screenshot.on_click(self._screenshot)

    def _notify(self, frame: int | None = None, settings: bool = False) -> None:
        with self._wake:
            if frame is not None:
                self._shown.frame = frame
            if settings:
                self._shown.settings_changed = True
                self._shown.settings = Settings(
                    confidence=self._confidence.value,
                    motion=self._motion.value,
                    budget=self._budget.value,
                    trail=self._trail.value,
                    colour=self._colour.value,
                )
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
                self._draw(shown)
                drawn = shown.frame
            if self._playing:
                time.sleep(max(0.0, 1 / self._fps.value - (time.perf_counter() - begun)))
                self._step()

    def _step(self) -> None:
        following = self._time.value + 1
        if following >= self.frame_count and not self._loop.value:
            self.play(False)
            return
        self._time.value = following % self.frame_count
        self._notify(frame=self._time.value)

    def _draw(self, shown: _Shown) -> None:
        with self.server.atomic():
            for stage in self.stages:
                if shown.settings_changed:
                    stage.draw_background(shown.settings)
                stage.draw_frame(shown.frame, shown.settings)
        if shown.settings_changed:
            self._draw_legend(shown.settings.colour)
        if self._follow.value:
            self._follow_camera(shown.frame)

    def _draw_legend(self, colour: str) -> None:
        self._legend.visible = colour != "rgb"
        if colour != "rgb":
            self._legend.image = self.stages[0].colours.legend(colour)

    def _accumulate(self, stage: Stage) -> None:
        stage.background.accumulate(self._report)

    def _report(self) -> None:
        """More background is there: draw it and say how far it is."""
        self._notify(settings=True)
        lines = []
        for stage in self.stages:
            done, total = stage.background.done, len(stage.background.numbers)
            state = "" if done == total else f", background from {done} of {total} frames"
            lines.append(f"**{stage.name}**: {len(stage.recon)} frames{state}")
        self._status.content = "\n\n".join(lines)

    def _follow_camera(self, frame: int) -> None:
        wxyz, position, fov = self.stages[0].view_of(frame)
        for client in self.server.get_clients().values():
            with client.atomic():
                client.camera.wxyz, client.camera.position, client.camera.fov = wxyz, position, fov

    def _screenshot(self, event: Any) -> None:
        from PIL import Image

        camera = event.client.camera
        picture = event.client.get_render(camera.image_height, camera.image_width, timeout=20)
        buffer = io.BytesIO()
        Image.fromarray(picture[..., :3]).save(buffer, "PNG")
        event.client.send_file_download(f"openmore_{self._time.value:06d}.png", buffer.getvalue())


def native_fps(scene: Reconstruction) -> float:
    """The scene's own rate, within what the slider offers; 10 when time stamps say nothing."""
    steps = np.diff(frame_times(scene))
    step = float(np.median(steps)) if len(steps) else 0.0
    return float(np.clip(round(2 / step) / 2, 1, FASTEST)) if step > 0 else 10.0
