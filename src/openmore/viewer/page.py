"""One self-contained HTML page that plays a scene from file://, by viser's recorder.

Choices
- Each frame's movers are a node that is switched on at its time: scrubbing back costs nothing but switches.
- A damaged frame is left out with a warning: the one before it stays until the next that can be read.
- The page holds viser's own client (about 1 MB) and nothing of it is fetched; point budgets keep the rest small.
"""

from __future__ import annotations

import html
import logging
from pathlib import Path

import numpy as np

from openmore.errors import DataError, InputError
from openmore.export.cameras import timeline
from openmore.export.cloud import pick_evenly
from openmore.io.atomic import write_text
from openmore.io.output import FILE, require_free
from openmore.progress import ProgressCallback, silent
from openmore.types import Reconstruction
from openmore.viewer.layers import Settings
from openmore.viewer.server import close_server, open_server
from openmore.viewer.stage import Stage

log = logging.getLogger(__name__)


def write_page(
    scene: Reconstruction,
    path: Path,
    *,
    settings: Settings = Settings(),
    mover_budget: int = 2_000_000,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
) -> Path:
    """Write `path` (.html). `mover_budget` is shared by all frames. Raises InputError when `path` exists."""
    require_free(path, FILE, overwrite)
    if not len(scene):
        raise InputError("the scene has no frames: nothing to show")
    server = open_server()
    try:
        stage = Stage(server, "/scene", path.stem, scene)
        server.initial_camera.position, server.initial_camera.look_at = stage.first_view()
        page = _record(server, stage, settings, mover_budget // len(scene) or 1, progress)
    finally:
        close_server(server)
    title = f"<title>{html.escape(path.stem)} - OpenMoRe</title>"
    write_text(path, page.replace("<title>Viser</title>", title, 1))
    return path


def _record(server, stage: Stage, settings: Settings, budget: int, progress: ProgressCallback) -> str:
    """Build every node, then record the switches over time."""
    stage.background.accumulate()
    stage.draw_background(settings)
    numbers, movers = [], []
    for number in range(len(stage.recon)):
        try:
            cloud = pick_evenly(stage.cache.movers(number, settings), budget)
        except DataError as error:
            log.warning("a frame is left out of the page: %s", error)
            continue
        spacing = stage.spacing_of(cloud, number)
        numbers.append(number)
        movers.append(stage.add_points(f"movers_{number:06d}", cloud, settings.colour, spacing, visible=False))
        progress("page", number + 1, len(stage.recon))
    recorder = server.get_scene_serializer()
    for place, (number, pause) in enumerate(zip(numbers, _durations(stage.recon, numbers), strict=True)):
        movers[place - 1].visible = False
        movers[place].visible = True
        stage.draw_camera(number)
        recorder.insert_sleep(pause)
    return recorder.as_html(dark_mode=True)


def _durations(scene: Reconstruction, numbers: list[int]) -> list[float]:
    """Seconds each of these frames stays; the last one as long as the typical frame."""
    steps = np.diff(np.asarray(timeline(scene))[numbers])
    return [*steps.tolist(), float(np.median(steps)) if len(steps) else 0.0]
