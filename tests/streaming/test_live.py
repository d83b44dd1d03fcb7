"""The loop and its sinks: the whole way from frames to a scene folder, a trajectory, a queue and a callback."""

from __future__ import annotations

import io
import queue
from pathlib import Path

import numpy as np
import pytest

from openmore.errors import InputError, StreamError
from openmore.io.trajectories import read_trajectory
from openmore.model.more import MoRe
from openmore.pipeline import reconstruct
from openmore.streaming.live import Meter, run
from openmore.streaming.session import Refined, StreamingSession
from openmore.streaming.sinks import Callback, Queue, RefinedPath, SceneFolder, TumLines
from openmore.streaming.streamers import InputStreamer, OutputStreamer
from openmore.types import Reconstruction, SceneInfo
from tests.streaming.conftest import pictures

INFO = SceneInfo("source", {"name": "test"}, "stream", (28, 42), (60, 80))
SIDE = {"long_side": 42}


def test_every_sink_gets_the_same_stream(model: MoRe, tmp_path: Path) -> None:
    clip = np.stack(pictures(6))
    expected = reconstruct(clip, model, mode="stream", window=2, points=True, **SIDE)
    text, seen, mailbox = io.StringIO(), [], queue.Queue()
    sinks = [SceneFolder(tmp_path / "scene"), TumLines(text), Callback(seen.append), Queue(mailbox)]
    with (
        InputStreamer(clip) as frames,
        StreamingSession(model, window=2, **SIDE) as session,
        OutputStreamer(sinks) as output,
    ):
        assert run(session, frames, output) == 6
        output.finish(INFO)
    scene = Reconstruction.load(tmp_path / "scene")
    np.testing.assert_allclose(scene.world_from_cam, expected.world_from_cam, atol=1e-9)
    np.testing.assert_array_equal(scene.depth, expected.depth)
    np.testing.assert_array_equal(np.stack([p.depth for p in seen]), expected.depth)
    assert [mailbox.get_nowait() for _ in range(6)] == seen and mailbox.get_nowait() is None
    assert text.getvalue() == (tmp_path / "scene" / "trajectory.txt").read_text()


def test_an_error_in_the_middle_keeps_what_came_before(model: MoRe, tmp_path: Path) -> None:
    frames: queue.Queue = queue.Queue()
    for picture in (*pictures(3), pictures(1, (60, 60))[0], None):
        frames.put(picture)
    with (
        InputStreamer(frames) as stream,
        StreamingSession(model, **SIDE) as session,
        OutputStreamer([SceneFolder(tmp_path / "scene")]) as output,
    ):
        with pytest.raises(StreamError, match="60x60"):
            run(session, stream, output)
        output.finish(INFO)
    assert len(Reconstruction.load(tmp_path / "scene")) == 3


def test_a_stream_without_frames_leaves_no_folder(tmp_path: Path) -> None:
    with OutputStreamer([SceneFolder(tmp_path / "scene")]) as output:
        output.finish(INFO)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_stops_the_stream(model: MoRe, tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene" / "mine.txt").write_text("precious")
    with (
        StreamingSession(model, **SIDE) as session,
        OutputStreamer([SceneFolder(tmp_path / "scene")], buffer=1) as output,
        pytest.raises(InputError, match="exists"),
        InputStreamer(np.stack(pictures(30))) as frames,
    ):
        run(session, frames, output)
    assert (tmp_path / "scene" / "mine.txt").read_text() == "precious"


def test_refined_cameras_come_every_so_often(model: MoRe, tmp_path: Path) -> None:
    got: list[Refined] = []
    with (
        InputStreamer(np.stack(pictures(7))) as frames,
        StreamingSession(model, window=3, refinable=True, **SIDE) as session,
        OutputStreamer([]) as output,
    ):
        run(session, frames, output, refine_every=3, on_refined=got.append)
    assert [refined.frames for refined in got] == [(0, 1, 2), (0, 3, 4, 5), (0, 4, 5, 6)]
    path = RefinedPath()
    path.save(tmp_path / "refined.txt")
    assert not list(tmp_path.iterdir())  # there is nothing yet
    for refined in got:
        path.add(refined, {i: i / 10 for i in range(1, 7)})
    path.save(tmp_path / "refined.txt")
    written = read_trajectory(tmp_path / "refined.txt")
    np.testing.assert_allclose(written.times_s, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    np.testing.assert_allclose(written.world_from_cam[3], got[2].cameras[1].world_from_cam, atol=1e-6)


def test_the_meter_counts() -> None:
    meter = Meter()
    assert meter.fps == 0 and meter.latency_ms(50) == 0
    for latency in (0.01, 0.02, 0.09):
        meter.add(latency)
    assert meter.frames == 3 and meter.latency_ms(50) == pytest.approx(20) and meter.network_s == pytest.approx(0.12)
    assert meter.fps > 0
