"""Video files and network streams, decoded one frame at a time.

Choices
- PyAV: true time stamps, exact frame numbers, cut-off and damaged files.
- The rotation a phone writes into the file is applied (PyAV leaves that to us), and pixels come out square, as cameras
  are modelled: DV and HDV are stretched to the width they are shown at, before they are turned.
- A frame's number is its rank among the time stamps of all packets read so far, so a lost frame keeps its number and
  is reported under it. Formats without presentation times (AVI, raw streams) are counted instead: their n-th frame
  gets the n-th decoding time.
- An address that tells a length in frames, seconds or bytes is a recording; others are live, and so is what
  `_LIVE_SCHEMES` carry.
- Damaged pictures that the decoder patched up from their neighbours are reported and left out, not reconstructed.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from openmore.errors import InputError
from openmore.io.camera_reader import CameraReader
from openmore.io.source import DamagedFrame, EndedEarly, Frame, LazyFrame, SourceInfo, check_usable

_TEXT_FORMATS = frozenset({"tty", "ass", "srt", "webvtt", "lrc"})  # FFmpeg plays plain text as a terminal recording
# Their packets carry decoding times at best: what they call presentation time is wrong for frames stored out of order.
_CLOCKLESS_FORMATS = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo"})
_LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "udp", "rtp", "srt", "tcp"})
# The bytes of an address are those of a play list here, or made up by a camera.
_SIZELESS_FORMATS = frozenset({"hls", "dash", "mpjpeg"})
WIDEST_PIXEL = 4.0  # or highest: known formats stay at 2
SLIGHTLY_WIDE = 0.01  # what editors write for a size they rounded: not worth the sharpness that resampling costs
OPEN_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 20.0


def open_video(source: str | Path | int) -> VideoReader | CameraReader:
    """Open a video file, an rtsp/http/... URL, or a camera by number. Raises InputError with one line.

    The reader is a context manager; `read()` yields `LazyFrame`s as they come and `info.is_live` tells whether the
    source runs on without us.
    """
    return CameraReader(source) if isinstance(source, int) else VideoReader(source)


class VideoReader:
    """One video file or stream, open."""

    def __init__(self, source: str | Path):
        self.label = str(source)
        self.name = Path(self.label).name or self.label
        self.is_url = isinstance(source, str) and "://" in source
        self._container = _open_container(self.label, self.is_url)
        self._stream = self._container.streams.video[0]
        self._is_live = self.is_url and _runs_on(self.label, self._container)
        # Threads that work on whole frames hold back as many frames as there are cores.
        self._stream.thread_type = "SLICE" if self._is_live else "AUTO"
        self._has_clock = self._container.format.name not in _CLOCKLESS_FORMATS
        self._pixel_width = _pixel_width(self._stream, self.label)
        self._broke_off = False  # while it was read
        self._first_stamp: int | None = None
        self._shape: tuple[int, int] | None = None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    @property
    def info(self) -> SourceInfo:
        """Count and rate as the container declares them; the first frame of a file is decoded for its rotation."""
        stream = self._stream
        coded, wide = stream.codec_context, self._pixel_width
        shape = (coded.height, round(coded.width * wide)) if self.is_url else _first_shape(self.label, wide)
        rate = float(stream.average_rate) if stream.average_rate else None
        count = None if self._is_live else stream.frames or _estimate(self._container.duration, rate)
        return SourceInfo("url" if self.is_url else "video", count, shape, rate, has_end=not self._is_live)

    def read(self) -> Iterator[LazyFrame]:
        """Every frame in display order. Raises EndedEarly when the file holds less than it promises."""
        waiting: list[int] = []  # stamps of packets whose frame has not come out yet, smallest first
        index, hidden, last_s = 0, 0, 0.0
        for picture in self._decode(waiting):
            if picture is None:
                hidden += 1
                continue
            stamp = picture.pts if self._has_clock else (waiting or [None])[0]
            while waiting and stamp is not None and waiting[0] < stamp:
                yield self._lost(index, heapq.heappop(waiting))
                index += 1
            if waiting and waiting[0] == stamp:
                heapq.heappop(waiting)
            last_s = self._time(stamp, index)
            yield self._lazy(index, last_s, picture)
            index += 1
        while waiting:
            yield self._lost(index, heapq.heappop(waiting))
            index += 1
        if loss := self._broken_promise(index + hidden, last_s):
            raise EndedEarly(index, f"the file ends early: {loss}")

    def _broken_promise(self, count: int, last_s: float) -> str | None:
        """What the file lacks after `count` packets, in words; None when it kept its promise or made none."""
        stream = self._stream
        if stream.frames and self._has_clock:
            return (
                f"the last {stream.frames - count} of {stream.frames} frames are missing"
                if count < stream.frames
                else None
            )
        promised = _declared_length(stream)
        # A length is no count: the last frame lasts we know not how long, so two average ones and 5 % are granted.
        if count and last_s * (1 + 2 / count) < 0.95 * promised:
            return f"at {last_s:.2f} s of {promised:.2f} s"
        return "the rest cannot be read" if self._broke_off and not self._is_live else None

    def _decode(self, waiting: list[int]) -> Iterator[Any]:
        """Decoded frames; None for a packet that an edit list hides. Fills `waiting` with packet time stamps."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:  # the file or connection broke off; what was read stays good
                self._broke_off = True
                with suppress(av.FFmpegError):
                    yield from self._stream.decode(None)
                return
            if packet is None:
                return
            if packet.is_discard:
                yield None
            elif packet.size and (stamp := packet.pts if self._has_clock else packet.dts) is not None:
                heapq.heappush(waiting, stamp)
            with suppress(av.InvalidDataError):  # its time stamp stays in `waiting` and is reported as lost
                yield from packet.decode()

    def _time(self, stamp: int | None, index: int) -> float:
        if stamp is None or self._stream.time_base is None:
            return index / float(self._stream.average_rate or 30)
        if self._first_stamp is None:
            self._first_stamp = stamp
        return float((stamp - self._first_stamp) * self._stream.time_base)

    def _lazy(self, index: int, time_s: float, picture: Any) -> LazyFrame:
        name = f"{self.name}#{index}"
        return LazyFrame(index, time_s, name, partial(self._load, picture, index, time_s, name))

    def _lost(self, index: int, stamp: int) -> LazyFrame:
        def load() -> Frame:
            raise DamagedFrame("its data is damaged and cannot be decoded")

        return LazyFrame(index, self._time(stamp, index), f"{self.name}#{index}", load)

    def _load(self, picture: Any, index: int, time_s: float, name: str) -> Frame:
        if picture.is_corrupt:
            raise DamagedFrame("its data is damaged")
        image = upright(picture, self._pixel_width)
        if self._shape is None:
            check_usable(image.shape[:2], self.label)
            self._shape = image.shape[:2]
        if image.shape[:2] != self._shape:
            (h, w), (first_h, first_w) = image.shape[:2], self._shape
            raise DamagedFrame(f"its size changed from {first_w}x{first_h} to {w}x{h}")
        return Frame(index, time_s, image, name)


def _runs_on(url: str, container: Any) -> bool:
    """Whether a stream produces frames without us: by its protocol, or because it declares no end."""
    if url.split("://")[0] in _LIVE_SCHEMES:
        return True
    sized = container.format.name not in _SIZELESS_FORMATS and container.size > 0  # negative: not told
    return not (sized or container.streams.video[0].frames or container.duration)


def upright(picture: Any, pixel_width: float = 1.0) -> np.ndarray:
    """A PyAV frame -> [H, W, 3] uint8 RGB of square pixels with the container's rotation applied."""
    width = round(picture.width * pixel_width)
    stretch = {} if width == picture.width else {"width": width, "interpolation": "BICUBIC"}
    image = picture.to_ndarray(format="rgb24", **stretch)
    turns = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _pixel_width(stream: Any, label: str) -> float:
    """Width of a pixel as coded over its height, 1 where the video does not say. Raises InputError for nonsense."""
    ratio = float(stream.sample_aspect_ratio or 1)
    if not 1 / WIDEST_PIXEL <= ratio <= WIDEST_PIXEL:
        advice = "re-encode it with the true ratio (ffmpeg -vf setsar=1)"
        raise InputError(f"{label} says its pixels are {ratio:g} times as wide as high, no camera's are: {advice}")
    return ratio if abs(ratio - 1) > SLIGHTLY_WIDE else 1.0


def _open_container(label: str, is_url: bool) -> Any:
    import av

    options = {"rtsp_transport": "tcp"} if label.startswith("rtsp") else {}
    timeout = (OPEN_TIMEOUT_S, READ_TIMEOUT_S) if is_url else None
    try:
        # FFmpeg takes what stands before a colon for a protocol: 12:30:00.mp4 is a file all the same.
        container = av.open(label if is_url else f"file:{label}", options=options, timeout=timeout)
    except (av.FFmpegError, OSError) as error:
        if is_url:
            raise InputError(
                f"{label} cannot be opened: {_reason(error)}; check the address and the network"
            ) from error
        advice = "it is no video, or a recording that was cut off before it was closed; play or re-encode it first"
        raise InputError(f"{label} cannot be read as a video ({_reason(error)}): {advice}") from error
    if not container.streams.video or container.format.name in _TEXT_FORMATS:
        container.close()
        raise InputError(
            f"{label} holds no video ({container.format.long_name}): give a video, a folder of pictures or a picture"
        )
    return container


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _first_shape(label: str, pixel_width: float) -> tuple[int, int]:
    """(height, width) of the first frame that decodes, upright and of square pixels."""
    import av

    with _open_container(label, is_url=False) as container, suppress(av.FFmpegError):
        for picture in container.decode(container.streams.video[0]):
            width, height = round(picture.width * pixel_width), picture.height
            sideways = round(picture.rotation / 90) % 2
            return (width, height) if sideways else (height, width)
    raise InputError(f"no frame of {label} can be decoded: re-encode it, or give another file")


def _declared_length(stream: Any) -> float:
    """Seconds the container promises for the video itself, 0 when it does not say."""
    if tag := re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", "")):  # Matroska, WebM
        hours, minutes, seconds = map(float, tag.groups())
        return 3600 * hours + 60 * minutes + seconds
    # AVI counts slots of constant length, empty ones too.
    return float(stream.frames / stream.average_rate) if stream.frames and stream.average_rate else 0.0


def _estimate(duration: int | None, rate: float | None) -> int | None:
    # Containers such as MPEG-TS declare a length (in microseconds) but no frame count.
    return round(duration / 1e6 * rate) if duration and rate else None
