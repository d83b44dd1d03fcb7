"""`openmore view SCENE...`: the 4D viewer in the browser, or one HTML page that plays by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openmore.cli.progress import progress_bar
from openmore.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(view)


def view(
    scenes: Annotated[list[Path], typer.Argument(help="Scene folders; several stand side by side.")],
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page instead of serving.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to serve on. Default: the first free one from 8080.")] = None,
    share_port: Annotated[
        bool, typer.Option("--share-port", help="Let other machines connect, not only this one.")
    ] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
    confidence: Annotated[float, typer.Option(help="Percent of the least sure points to hide.")] = 20.0,
    points: Annotated[int, typer.Option(help="Points drawn of the static world.")] = 300_000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing page.")] = False,
) -> None:
    """Look at scenes: time line, static world and movers, cameras, thresholds, colours."""
    from openmore.types import Reconstruction
    from openmore.viewer.layers import Settings

    loaded = [Reconstruction.load(path) for path in scenes]
    settings = Settings(confidence=confidence, budget=points)
    if html is not None:
        if len(loaded) > 1:
            raise InputError(f"--html holds one scene and {len(loaded)} were given: call it once per scene")
        from openmore.viewer.page import write_page

        with progress_bar() as progress:
            write_page(loaded[0], html, settings=settings, overwrite=overwrite, progress=progress)
        typer.echo(f"page -> {html}")
        return
    from openmore.viewer.scene_view import SceneView
    from openmore.viewer.server import address, open_server

    server = open_server(port, share_port)
    shown = SceneView(server, dict(zip(labels(scenes), loaded, strict=True)), settings)
    typer.echo(f"{address(server)}  (Ctrl-C ends)")
    if browser:
        typer.launch(address(server))
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
