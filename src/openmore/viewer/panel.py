"""The viewer's panel: sliders, buttons, keys. It says what is wanted and draws nothing.

Choices
- Keys are those of editing programs: space plays and pauses, J and L step back and forward, C looks through the camera.
- A slider reaches as far as the value it starts at: the command line takes more than is worth a slider's length.
- The panel tells one listener that "frame", "settings", "size" or a part changed; the listener asks for the values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from openmore.viewer.colours import MODES
from openmore.viewer.layers import MAYBE_MOVING, Settings

FASTEST = 60.0  # frames per second
PARTS = {"static": "Static world", "movers": "Movers", "path": "Camera path", "camera": "Camera picture"}
_STEPS = {"|<": "first", "<": "back", ">": "forward", ">|": "last"}


class Panel:
    """The widgets of a `SceneView`, in the order of use: time, what is shown, points, view."""

    def __init__(self, gui: Any, frame_count: int, fps: float, start: Settings):
        single, last = frame_count == 1, max(frame_count - 1, 1)
        with gui.add_folder("Time"):
            self.time = gui.add_slider("Frame", 0, last, 1, 0, disabled=single, hint="J and L step")
            self.play = gui.add_button("Play", disabled=single, hint="Space")
            self.step = gui.add_button_group("Step", list(_STEPS), disabled=single)
            self.fps = gui.add_slider("Frames per second", 1.0, FASTEST, 0.5, fps)
            self.loop = gui.add_checkbox("Loop", True)
        self.status = gui.add_markdown("Loading")
        with gui.add_folder("Points"):
            self.colour = gui.add_dropdown("Colour", MODES, initial_value=start.colour)
            self.legend = gui.add_image(np.full((1, 1, 3), 255, np.uint8), visible=False)
            self.confidence = gui.add_slider(
                "Hide least sure, %", 0.0, max(95.0, start.confidence), 1.0, start.confidence
            )
            self.motion = gui.add_slider("Moving from", MAYBE_MOVING, 1.0, 0.05, start.motion)
            self.trail = gui.add_slider("Trail, frames", 0, min(20, frame_count), 1, start.trail)
            fewest, most = min(10_000, start.budget), max(2_000_000, start.budget)
            self.budget = gui.add_slider("Static points", fewest, most, 10_000, start.budget)
            self.size = gui.add_slider("Point size", 0.2, 5.0, 0.1, 1.0)
        with gui.add_folder("View"):
            self.follow = gui.add_checkbox("Follow the camera", False)
            self.through = gui.add_button("Look through the camera", hint="C")
            self.reset = gui.add_button("Back to the start")
            self.screenshot = gui.add_button("Screenshot")
            self.dark = gui.add_checkbox("Dark background", True)
        with gui.add_folder("Show", expand_by_default=False):
            self.boxes = {part: gui.add_checkbox(label, True) for part, label in PARTS.items()}
            self.boxes["frusta"] = gui.add_checkbox("All cameras", False)
        self._keys(gui)

    def settings(self) -> Settings:
        """What the sliders say."""
        return Settings(
            confidence=self.confidence.value,
            motion=self.motion.value,
            budget=self.budget.value,
            trail=self.trail.value,
            colour=self.colour.value,
        )

    def listen(self, changed: Callable[[str], None], play: Callable[[], None]) -> None:
        """Call `changed` with "frame", "settings", "size" or the name of a part; `play` when playing is toggled."""
        self.time.on_update(lambda _: changed("frame"))
        self.follow.on_update(lambda _: changed("frame"))
        for widget in (self.confidence, self.motion, self.trail, self.budget, self.colour):
            widget.on_update(lambda _: changed("settings"))
        self.size.on_update(lambda _: changed("size"))
        for part, box in self.boxes.items():
            box.on_update(lambda _, part=part: changed(part))
        self.play.on_click(lambda _: play())
        self.step.on_click(lambda _: self.move(_STEPS[self.step.value]))
        self._space.on_trigger(lambda _: play())

    def move(self, where: str) -> None:
        """Go to the first or last frame, or one back or forward; never past the ends."""
        last, now = int(self.time.max), int(self.time.value)
        places = {"first": 0, "back": now - 1, "forward": now + 1, "last": last}
        self.time.value = min(max(places[where], 0), last)

    def say(self, lines: list[str]) -> None:
        """Show paragraphs of markdown below the time line."""
        text = "\n\n".join(lines)
        if text != self.status.content:
            self.status.content = text

    def _keys(self, gui: Any) -> None:
        self._space = gui.add_command("Play or pause", hotkey="space")
        gui.add_command("One frame back", hotkey="J").on_trigger(lambda _: self.move("back"))
        gui.add_command("One frame forward", hotkey="L").on_trigger(lambda _: self.move("forward"))
        self.look = gui.add_command("Look through the camera", hotkey="C")
