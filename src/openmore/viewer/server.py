"""A viser server that stays on this machine: loopback unless asked, a free port or a clear refusal.

Choices
- Without a port the first free one from 8080 is taken; a port that was asked for and is busy is an error.
- The share button (a tunnel through a third party) is hidden: nothing leaves the machine.
- The world is OpenCV's: y points down, so the viewer's up direction is -y.
- Without a display no browser is started: over ssh one would start on the wrong machine, or in the terminal.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from openmore.errors import InputError, MissingExtra

FIRST_PORT, TRIED_PORTS = 8080, 100


def open_server(port: int | None = None, everyone: bool = False, label: str = "OpenMoRe") -> Any:
    """Start and return a `viser.ViserServer`.

    `everyone` listens on all network interfaces instead of loopback. Raises MissingExtra without viser and InputError
    when the port is busy or out of range.
    """
    try:
        import viser
    except ImportError as error:
        raise MissingExtra("viser", "viewer", "the viewer") from error
    host = "0.0.0.0" if everyone else "127.0.0.1"
    usable = _usable_port(host, port)
    with _quiet():
        server = viser.ViserServer(host=host, port=usable, label=label, verbose=False)
    set_theme(server)
    server.scene.set_up_direction("-y")
    return server


def set_theme(server: Any, dark: bool = True) -> None:
    """Dark, as programs for pictures are, or light."""
    server.gui.configure_theme(show_share_button=False, show_logo=False, control_width="medium", dark_mode=dark)


def close_server(server: Any) -> None:
    """Stop a server made by `open_server`."""
    with _quiet():
        server.stop()


def address(server: Any) -> str:
    """The URL to open on this machine."""
    return f"http://localhost:{server.get_port()}"


def open_browser(url: str) -> str | None:
    """Show `url` in this machine's browser; without one, return what to do instead."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        port = url.rpartition(":")[2]
        return f"no display here: from your own machine, ssh -L {port}:localhost:{port} this one, then open {url}"
    return None if webbrowser.open(url) else f"no browser could be started: open {url}"


@contextmanager
def _quiet() -> Iterator[None]:
    """viser prints banners whatever `verbose` says; a library does not print."""
    with redirect_stdout(io.StringIO()):
        yield


def _usable_port(host: str, port: int | None) -> int:
    if port is None:
        for candidate in range(FIRST_PORT, FIRST_PORT + TRIED_PORTS):
            if _is_free(host, candidate):
                return candidate
        raise InputError(f"ports {FIRST_PORT} to {FIRST_PORT + TRIED_PORTS - 1} are all in use: give --port")
    if not 0 < port < 65536:
        raise InputError(f"port {port} does not exist: give one from 1 to 65535")
    if not _is_free(host, port):
        raise InputError(f"port {port} is in use: give another --port, or none to take a free one")
    return port


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise InputError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return True
