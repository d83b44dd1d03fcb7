"""`openmore stream`: the numbers of `reconstruct --mode stream`, what is left when it ends, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openmore.errors import InputError, StreamError
from openmore.io.trajectories import read_trajectory
from openmore.streaming.session import StreamingSession
from openmore.types import Reconstruction
from tests.io.clips import make_video

TINY = ("--weights", "untrained:tiny", "--dtype", "fp32")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twelve frames, ten a second."""
    return make_video(tmp_path / "clip.mp4", [100 * i for i in range(12)])


@pytest.mark.parametrize("memory", [(), ("--window", "3"), ("--policy", "all"), ("--budget-mb", "0.5")], ids=str)
def test_it_equals_reconstruct(openmore: Callable, video: Path, tmp_path: Path, memory: tuple[str, ...]) -> None:
    assert openmore("reconstruct", video, "-o", tmp_path / "a", *TINY, "--mode", "stream", *memory).code == 0
    ran = openmore("stream", video, "-o", tmp_path / "b", *TINY, *memory)
    assert ran.code == 0 and "12 frames" in ran.out and "0 dropped" in ran.out
    a, b = (Reconstruction.load(tmp_path / name) for name in "ab")
    np.testing.assert_allclose(b.world_from_cam, a.world_from_cam, atol=1e-6)
    np.testing.assert_allclose(b.depth, a.depth, rtol=1e-5)
    assert (a.info.mode, a.info.weights) == (b.info.mode, b.info.weights)


def test_the_trajectory_comes_on_stdout(openmore: Callable, video: Path, tmp_path: Path) -> None:
    ran = openmore("stream", video, "-o", tmp_path / "s", *TINY, "--tum", "--max-frames", 5)
    assert ran.out == (tmp_path / "s" / "trajectory.txt").read_text()
    assert "5 frames" in ran.err


def test_a_resumed_stream_goes_on(openmore: Callable, video: Path, tmp_path: Path) -> None:
    openmore("stream", video, "-o", tmp_path / "whole", *TINY, "--window", 4)
    state = tmp_path / "state.safetensors"
    openmore("stream", video, *TINY, "--window", 4, "--max-frames", 7, "--save-state", state)
    openmore("stream", video, "-o", tmp_path / "rest", *TINY, "--window", 4, "--start", 7, "--resume-state", state)
    whole, rest = (Reconstruction.load(tmp_path / name) for name in ("whole", "rest"))
    assert [frame.index for frame in rest.frames] == [7, 8, 9, 10, 11]
    np.testing.assert_allclose(rest.world_from_cam, whole.world_from_cam[7:], atol=1e-5)
    np.testing.assert_allclose(rest.depth, whole.depth[7:], rtol=1e-4)


def test_refined_trajectory(openmore: Callable, video: Path, tmp_path: Path) -> None:
    ran = openmore("stream", video, "-o", tmp_path / "s", *TINY, "--refine-every", 5)
    assert ran.code == 0
    path = read_trajectory(tmp_path / "s" / "refined_trajectory.txt")
    streamed = read_trajectory(tmp_path / "s" / "trajectory.txt")
    np.testing.assert_allclose(path.times_s, streamed.times_s)
    np.testing.assert_allclose(path.world_from_cam[0], np.eye(4), atol=1e-9)


@pytest.fixture
def fourth_push(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make the fourth frame of a session raise."""

    def install(error: BaseException) -> None:
        real = StreamingSession.push

        def push(self: StreamingSession, frame: object) -> object:
            if self.frames_seen == 3:
                raise error
            return real(self, frame)  # type: ignore[arg-type]

        monkeypatch.setattr(StreamingSession, "push", push)

    return install


def test_ctrl_c_ends_it_and_keeps_what_there_is(
    openmore: Callable, video: Path, tmp_path: Path, fourth_push: Callable
) -> None:
    fourth_push(KeyboardInterrupt())
    ran = openmore("stream", video, "-o", tmp_path / "s", *TINY, "--save-state", tmp_path / "state")
    assert ran.code == 0 and "stopped by the user" in ran.err
    assert len(Reconstruction.load(tmp_path / "s")) == 3 and (tmp_path / "state").is_file()


@pytest.mark.parametrize("every", [2, 3, 50])
@pytest.mark.parametrize("end", [KeyboardInterrupt(), StreamError("the frame is torn")], ids=["ctrl-c", "error"])
def test_every_frame_is_refined_however_it_ends(
    openmore: Callable, video: Path, tmp_path: Path, fourth_push: Callable, end: BaseException, every: int
) -> None:
    fourth_push(end)
    ran = openmore("stream", video, "-o", tmp_path / "s", *TINY, "--refine-every", every)
    assert ran.code == (0 if isinstance(end, KeyboardInterrupt) else 2)
    path = read_trajectory(tmp_path / "s" / "refined_trajectory.txt")
    np.testing.assert_allclose(path.times_s, read_trajectory(tmp_path / "s" / "trajectory.txt").times_s)
    assert len(path.times_s) == 3


def test_a_last_refinement_that_fails_keeps_the_earlier_ones(
    openmore: Callable, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StreamingSession.refine

    def refine(self: StreamingSession) -> object:
        if self.frames_seen > 5:
            raise StreamError("no memory is left")
        return real(self)

    monkeypatch.setattr(StreamingSession, "refine", refine)
    ran = openmore("stream", video, "-o", tmp_path / "s", *TINY, "--refine-every", 5)
    assert ran.code == 2 and ran.message == "openmore: no memory is left"
    assert len(read_trajectory(tmp_path / "s" / "refined_trajectory.txt").times_s) == 5


def test_a_state_that_cannot_be_saved_does_not_cost_the_scene(
    openmore: Callable, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_session: StreamingSession, path: Path) -> None:
        raise InputError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(StreamingSession, "save", full)
    state = tmp_path / "state"
    ran = openmore("stream", video, "-o", tmp_path / "s", *TINY, "--max-frames", 2, "--save-state", state)
    assert ran.code == 2 and "cannot write" in ran.message
    assert len(Reconstruction.load(tmp_path / "s")) == 2


def test_an_error_in_the_middle_keeps_what_there_is(
    openmore: Callable, video: Path, tmp_path: Path, fourth_push: Callable
) -> None:
    fourth_push(StreamError("the frame is torn"))
    ran = openmore("stream", video, "-o", tmp_path / "s", *TINY)
    assert ran.code == 2 and ran.message == "openmore: the frame is torn"
    scene = Reconstruction.load(tmp_path / "s")
    assert len(scene) == 3 and "ended by an error: the frame is torn" in scene.info.warnings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--window", "0"), "window is 0"),
        (("--budget-mb", "0.01"), "too small"),
        (("--budget-mb", "5", "--window", "3"), "either a budget, or a window"),
        (("--policy", "all", "--window", "3"), "leave out the window"),
        (("--policy", "best"), "choose window, all, specials, keyframes"),
        (("--policy", "keyframes", "--every", "0"), "every is 0"),
        (("--old", "-1"), "old is -1"),
        (("--reconnects", "-1"), "reconnects is -1"),
        (("--long-side", "300000"), "or smaller pictures"),
        (("--budget-mb", "0.0001"), "give at least 0.07"),
        (("--iterations", "9"), "expected 1..4"),
        (("--save-state", "missing/state"), "its folder"),
        (("--save-state", "."), "no plain file"),
        (("--refine-every", "5"), "--out"),
        (("--resume-state", "missing.safetensors"), "is not a saved stream"),
        (("--refine", "geometry", "--save-state", "state"), "--save-state with --refine geometry: a state holds no"),
        (("--refine", "geometry", "--resume-state", "state"), "--resume-state with --refine geometry: a state"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else "",
)
def test_what_cannot_be_is_one_line(openmore: Callable, video: Path, arguments: tuple[str, ...], message: str) -> None:
    ran = openmore("stream", video, *TINY, *arguments)
    assert ran.code == 2 and message in ran.message


def test_settings_are_refused_before_weights_are_read(openmore: Callable, video: Path, tmp_path: Path) -> None:
    slow = ("--weights", tmp_path / "read_only_when_loaded.safetensors")
    unsaved = ("--refine", "geometry", "--resume-state", tmp_path / "state")
    for wrong in (("--iterations", 0), ("--save-state", tmp_path), ("-o", tmp_path / ("x" * 250)), unsaved):
        assert openmore("stream", video, *slow, *wrong).code == 2
    assert openmore("stream", video, *slow).code == 3


def test_a_stream_that_goes_on_keeps_its_state_in_one_file(openmore: Callable, video: Path, tmp_path: Path) -> None:
    state = ("--save-state", tmp_path / "state")
    part = ("stream", video, *TINY, "--max-frames", 2)
    assert openmore(*part, *state).code == 0
    ran = openmore(*part, *state)
    assert ran.code == 2 and "exists already" in ran.message
    assert openmore(*part, *state, "--resume-state", tmp_path / "state", "--start", 2).code == 0


def test_a_missing_source_leaves_nothing(openmore: Callable, tmp_path: Path) -> None:
    ran = openmore("stream", tmp_path / "missing.mp4", "-o", tmp_path / "s", *TINY)
    assert ran.code == 2 and "does not exist" in ran.message and not list(tmp_path.iterdir())


def test_a_stream_refined_by_geometry_is_the_one_of_reconstruct(
    openmore: Callable, folder: Path, tmp_path: Path
) -> None:
    tiny = ("--weights", "untrained:tiny", "--dtype", "fp32", "--refine", "geometry", "--intrinsics", "100,100,64,48")
    assert openmore("stream", folder, "-o", tmp_path / "a", *tiny).code == 0
    assert openmore("reconstruct", folder, "-o", tmp_path / "b", "--mode", "stream", *tiny).code == 0
    a, b = (Reconstruction.load(tmp_path / name) for name in "ab")
    np.testing.assert_allclose(a.world_from_cam, b.world_from_cam, atol=1e-9)
    assert a.info.extra["refinement_window"] == b.info.extra["refinement_window"]
    assert openmore("stream", folder, "--refine", "attention", "-o", tmp_path / "c").code == 2
