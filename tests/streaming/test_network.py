"""Live video over the loopback address, reconstructed while it is sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmore.cli.main import main
from openmore.streaming.streamers import InputStreamer
from openmore.types import Reconstruction
from tests.io.clips import bar_width, picture
from tests.streaming import network

pytestmark = pytest.mark.slow
PICTURES = [picture(i + 5, (96, 128)) for i in range(20)]


@pytest.mark.parametrize("serve", [network.http, network.udp, network.rtsp])
def test_a_live_stream_becomes_a_scene(serve, tmp_path: Path) -> None:
    with serve(PICTURES, 10) as url, pytest.raises(SystemExit) as ended:
        main(f"stream {url} -o {tmp_path / 's'} --weights untrained:tiny --reconnects 0".split())
    assert not ended.value.code
    scene = Reconstruction.load(tmp_path / "s")
    indices = [frame.index for frame in scene.frames]
    assert indices == sorted(set(indices)) and len(indices) >= 5  # a slow machine may drop some
    for frame in scene.frames:
        assert frame.rgb is not None
        assert bar_width(frame.rgb) * 128 / 56 == pytest.approx(frame.index + 5, abs=4)
    assert any("went away" in warning for warning in scene.info.warnings)
    np.testing.assert_allclose(scene.world_from_cam[0], np.eye(4), atol=1e-9)


def test_a_broken_connection_is_opened_again() -> None:
    with (
        network.http(PICTURES[:8], 20, connections=2) as url,
        InputStreamer(url, buffer=100, reconnects=2, retry_s=0.1) as stream,
    ):
        seen = list(stream)
    assert [frame.index for frame in seen] == list(range(16))
    times = [frame.time_s for frame in seen]
    assert times == sorted(times) and times[8] - times[7] > 0.05
    assert f"{url} was opened again 1 time(s)" in stream.warnings
