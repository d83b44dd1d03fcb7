"""One self-contained HTML page that plays a scene from file://, by viser's recorder.

Choices
- Each frame's movers are a node that is switched on at its time: scrubbing back costs nothing but switches.
- The page holds viser's own client (about 1 MB) and nothing of it is fetched; point budgets keep the rest small.
"""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np

from openmore.errors import InputError
from openmore.export.cameras import timeline
from openmore.export.cloud import pick_evenly
from openmore.io.atomic import write_text
from openmore.io.output import FILE, require_free
from openmore.progress import ProgressCallback, silent
from openmore.types import Reconstruction
from openmore.viewer.layers import Settings
from openmore.viewer.server import close_server, open_server
from openmore.viewer.stage import Stage


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
    movers = []
    for number in range(len(stage.recon)):
        cloud = pick_evenly(stage.cache.movers(number, settings), budget)
        spacing = stage.spacing_of(cloud, number)
        movers.append(stage.add_points(f"movers_{number:06d}", cloud, settings.colour, spacing, visible=False))
        progress("page", number + 1, len(stage.recon))
    recorder = server.get_scene_serializer()
    for number, pause in enumerate(_durations(stage.recon)):
        movers[number - 1].visible = False
        movers[number].visible = True
        stage.draw_camera(number)
        recorder.insert_sleep(pause)
    return recorder.as_html(dark_mode=True)


def _durations(scene: Reconstruction) -> list[float]:
    """Seconds each frame stays; the last one as long as the typical frame."""
    steps = np.diff(timeline(scene))
    return [*steps.tolist(), float(np.median(steps)) if len(steps) else 0.0]
