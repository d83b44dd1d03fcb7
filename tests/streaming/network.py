"""Video servers on the loopback address for the tests: HTTP, UDP and a small RTSP server, all fed by PyAV."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:video\r\n"
)


def send(target: Any, format: str, pictures: list[np.ndarray], fps: int) -> None:
    """Encode pictures in real time to a URL or a file object; ends quietly when the other side leaves."""
    with suppress(OSError), av.open(target, "w", format=format) as container:
        stream = container.add_stream(
            "h264", rate=fps, options={"tune": "zerolatency", "preset": "ultrafast", "g": "5"}
        )
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        begun = time.monotonic()
        for i, picture in enumerate(pictures):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            time.sleep(max(0.0, begun + (i + 1) / fps - time.monotonic()))
        container.mux(stream.encode(None))


@contextmanager
def background(work: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(10)


@contextmanager
def http(pictures: list[np.ndarray], fps: int, connections: int = 1) -> Iterator[str]:
    """MPEG-TS over HTTP to one client at a time, without a length; gone after so many connections."""
    server = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        for _ in range(connections):
            client, _ = server.accept()
            with client, client.makefile("wb") as body:
                client.recv(4096)
                client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
                send(body, "mpegts", pictures, fps)
        server.close()

    with server, background(work):
        yield f"http://127.0.0.1:{server.getsockname()[1]}/live.ts"


@contextmanager
def udp(pictures: list[np.ndarray], fps: int) -> Iterator[str]:
    """MPEG-TS datagrams, sent whether anybody listens or not, though not before somebody could: machines are slow."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def work() -> None:
        table, deadline = Path("/proc/net/udp"), time.monotonic() + 30
        while table.exists() and f":{port:04X} " not in table.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        send(url, "mpegts", pictures, fps)

    url = f"udp://127.0.0.1:{port}"
    with background(work):
        yield url


@contextmanager
def rtsp(pictures: list[np.ndarray], fps: int) -> Iterator[str]:
    """RTP inside one RTSP connection over TCP: the packets of FFmpeg's RTP sender, passed on."""
    server = socket.create_server(("127.0.0.1", 0))
    url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"

    def work() -> None:
        client, _ = server.accept()
        with client, socket.socket(type=socket.SOCK_DGRAM) as packets:
            packets.bind(("127.0.0.1", 0))
            packets.settimeout(1)
            _play(client)
            target = f"rtp://127.0.0.1:{packets.getsockname()[1]}"
            with background(lambda: send(target, "rtp", pictures, fps)):
                try:
                    while data := packets.recv(65536):
                        client.sendall(b"$\0" + len(data).to_bytes(2, "big") + data)
                except OSError:  # the sender is done, or the client has left
                    return

    with server, background(work):
        yield url


def _play(client: socket.socket) -> None:
    """Answer requests until PLAY."""
    pending = b""
    while True:
        while b"\r\n\r\n" not in pending:
            pending += client.recv(4096)
        request, pending = pending.split(b"\r\n\r\n", 1)
        text = request.decode()
        method = text.split(" ", 1)[0]
        number = re.search(r"CSeq: *(\d+)", text, re.I)
        answer = f"RTSP/1.0 200 OK\r\nCSeq: {number[1] if number else 0}\r\nSession: 1\r\n"
        body = ""
        if method == "OPTIONS":
            answer += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = SDP
            answer += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            answer += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        client.sendall(f"{answer}\r\n{body}".encode())
        if method == "PLAY":
            return
