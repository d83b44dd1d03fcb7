"""Tiny videos and pictures with known content for the io tests."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
from PIL import Image

SHAPE = (48, 64)
_MILLISECOND = Fraction(1, 1000)
# Display matrices (a, b, c, d) of a tkhd box: how many quarter turns clockwise a player shows the picture.
TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def picture(i: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """[H, W, 3] uint8: blocks of noise and a bright bar whose width is the frame number."""
    height, width = shape
    blocks = np.random.default_rng(0).integers(0, 160, (height // 8, width // 8, 3))
    image = np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8)
    image[:, :i] = 230
    return image


def bar_width(image: np.ndarray) -> int:
    """The number that `picture` drew into the frame."""
    return int((image.min(-1).mean(0) > 195).sum())


def make_video(
    path: Path,
    times_ms: list[int] | None = None,
    options: dict[str, str] | None = None,
    first: int = 0,
    pixel_width: Fraction | None = None,
) -> Path:
    """H.264 with B frames, a key frame every 10, one frame per time stamp (default: 40 at 10 per second).

    They show `picture(first)` and so on.
    """
    times = [100 * i for i in range(40)] if times_ms is None else times_ms
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("h264", rate=10, options={"g": "10", "crf": "10"})
        stream.height, stream.width = SHAPE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _MILLISECOND
        if pixel_width is not None:
            stream.codec_context.sample_aspect_ratio = pixel_width
        for i, time_ms in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(first + i), format="rgb24")
            frame.pts, frame.time_base = time_ms, _MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def rotate_tag(path: Path, degrees: int, target: Path) -> Path:
    """Copy an mp4 and write a rotation into its track header, as phones do."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    a, b, c, d = (65536 * value for value in TURNS[degrees])
    data[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target


def write_folder(folder: Path, count: int = 5, suffix: str = ".png") -> Path:
    """Pictures 0 .. count-1, named so that only natural order is right."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(picture(i)).save(folder / f"frame{i + 8}{suffix}")
    return folder


@contextmanager
def served(*answers: bytes, sized: int | None = None) -> Iterator[str]:
    """An address that gives each answer once and the last for ever, of `sized` bytes if that is told."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if sized is not None:
                self.send_header("Content-Length", str(sized))
            self.end_headers()
            self.wfile.write(left.pop(0) if len(left) > 1 else left[0])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/clip"
        finally:
            server.shutdown()
