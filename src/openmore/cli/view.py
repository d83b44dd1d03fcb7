"""`openmore view SCENE...`: the 4D viewer in the browser, or files to look at: a page, a video, a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmore.cli.endings import kept
from openmore.cli.progress import progress_bar
from openmore.errors import InputError

if TYPE_CHECKING:
    from openmore.types import Reconstruction
    from openmore.viewer.layers import Settings


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(view)


def view(
    scenes: Annotated[list[Path], typer.Argument(help="Scene folders; several stand side by side.")],
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page instead of serving.")] = None,
    video: Annotated[
        Path | None, typer.Option(help="Write an mp4, gif or webp: picture, depth, motion, path from above.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a PNG of the camera path.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Trajectory file to compare with in --plot.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to serve on. Default: the first free one from 8080.")] = None,
    share_port: Annotated[
        bool, typer.Option("--share-port", help="Let other machines connect, not only this one.")
    ] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
    confidence: Annotated[float, typer.Option(min=0, max=100, help="Percent of the least sure points to hide.")] = 20.0,
    points: Annotated[int, typer.Option(min=1, help="Points drawn of the static world.")] = 500_000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing page.")] = False,
) -> None:
    """Look at scenes: time line, static world and movers, cameras, thresholds, colours."""
    from openmore.types import Reconstruction
    from openmore.viewer.layers import Settings

    loaded = {name: Reconstruction.load(path) for name, path in zip(labels(scenes), scenes, strict=True)}
    settings = Settings(confidence=confidence, budget=points)
    if truth is not None and plot is None:
        raise InputError("--truth is drawn by --plot: give --plot OUT.png too")
    for path, suffixes in ((html, (".html", ".htm")), (video, (".mp4", ".gif", ".webp")), (plot, (".png",))):
        if path is not None and path.suffix.lower() not in suffixes:
            raise InputError(f"{path} is no name for it: give one that ends in {' or '.join(suffixes)}")
    if html or video or plot:
        write_files(loaded, settings, html, video, plot, truth, overwrite)
    else:
        serve(loaded, settings, port, share_port, browser)


def write_files(
    scenes: dict[str, Reconstruction],
    settings: Settings,
    html: Path | None,
    video: Path | None,
    plot: Path | None,
    truth: Path | None,
    overwrite: bool,
) -> None:
    """Write what was asked for, for the one scene given."""
    from openmore.io.output import FILE, require_free

    if len(scenes) > 1:
        raise InputError(f"--html, --video and --plot take one scene and {len(scenes)} were given: call once per scene")
    ((name, scene),) = scenes.items()
    for path in filter(None, (html, video, plot)):
        require_free(path, FILE, overwrite)
    written: list[Path] = []
    with kept(written), progress_bar() as progress:
        if html:
            from openmore.viewer.page import write_page

            written.append(write_page(scene, html, settings=settings, overwrite=overwrite, progress=progress))
        if video:
            from openmore.viewer.preview_video import write_preview_video

            written.append(write_preview_video(scene, video, overwrite=overwrite, progress=progress))
        if plot:
            _write_plot(name, scene, plot, truth)
            written.append(plot)
    for path in written:
        typer.echo(f"wrote {path}")


def _write_plot(name: str, scene: Reconstruction, plot: Path, truth: Path | None) -> None:
    import numpy as np

    from openmore.export.cameras import frame_times
    from openmore.io.trajectories import Trajectory, read_trajectory
    from openmore.viewer.plots import plot_trajectory

    estimate = Trajectory(np.asarray(frame_times(scene)), scene.world_from_cam)
    plot_trajectory(plot, estimate, None if truth is None else read_trajectory(truth), name)


def serve(
    scenes: dict[str, Reconstruction], settings: Settings, port: int | None, share_port: bool, browser: bool
) -> None:
    """Run the viewer until Ctrl-C."""
    from openmore.viewer.scene_view import SceneView
    from openmore.viewer.server import address, open_browser, open_server

    server = open_server(port, share_port)
    shown = SceneView(server, scenes, settings)
    typer.echo(f"{address(server)}  (Ctrl-C ends)")
    if browser and (hint := open_browser(address(server))):
        typer.echo(hint, err=True)
    try:
        server.sleep_forever()
    except KeyboardInterrupt:
        pass
    finally:
        shown.close()


def labels(scenes: list[Path]) -> list[str]:
    """A name per scene: the folder's, numbered where two are called the same."""
    names = [path.resolve().name for path in scenes]
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names, 1)]
