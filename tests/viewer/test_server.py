from __future__ import annotations

import socket
import sys

import pytest

from openmore.errors import InputError, MissingExtra
from openmore.viewer.server import address, close_server, open_browser, open_server

pytest.importorskip("viser")


def test_it_listens_on_loopback_only_unless_asked(capfd) -> None:
    server = open_server()
    try:
        assert server.get_host() == "127.0.0.1"
        assert address(server) == f"http://localhost:{server.get_port()}"
    finally:
        close_server(server)
    assert capfd.readouterr().out == ""  # no banner of the library below


def test_sharing_the_port_listens_everywhere() -> None:
    server = open_server(everyone=True)
    assert server.get_host() == "0.0.0.0"
    close_server(server)


def test_a_busy_port_is_refused_when_asked_for_and_avoided_when_not() -> None:
    first = open_server()
    try:
        with pytest.raises(InputError, match=f"port {first.get_port()} is in use"):
            open_server(first.get_port())
        second = open_server()
        assert second.get_port() != first.get_port()
        close_server(second)
    finally:
        close_server(first)


def test_the_port_that_is_asked_for_is_used() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = open_server(port)
    assert server.get_port() == port
    close_server(server)


@pytest.mark.parametrize("port", [0, -1, 70000])
def test_impossible_ports_are_refused(port: int) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_server(port)


def test_without_viser_the_pip_command_is_given(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(MissingExtra, match=r"pip install 'openmore\[viewer\]'"):
        open_server()


def test_without_a_display_no_browser_is_started(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("webbrowser.open", lambda url: pytest.fail("started a browser"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert "ssh -L 8123:localhost:8123" in (open_browser("http://localhost:8123") or "")


def test_with_a_display_the_browser_is_asked(monkeypatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    for works, answer in ((True, None), (False, "no browser could be started: open http://localhost:1")):
        monkeypatch.setattr("webbrowser.open", lambda url, works=works: works)
        assert open_browser("http://localhost:1") == answer
