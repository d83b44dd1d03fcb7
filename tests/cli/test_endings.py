"""Ended from outside: nothing half-written, one line, the shell's exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openmore.cli.main import main
from openmore.types import Reconstruction
from tests.io.clips import make_video
from tests.scale.test_job import members, wait_for
from tests.scenes import make_scene

TINY = ("--weights", "untrained:tiny", "--dtype", "fp32")
CODES = {signal.SIGTERM: (143, "SIGTERM"), signal.SIGHUP: (129, "SIGHUP"), signal.SIGINT: (130, "the user")}


@pytest.fixture(autouse=True)
def _ctrl_c_counts() -> Iterator[None]:
    """A shell starts what runs in its background with Ctrl-C ignored, and tests started so with it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def stop_at(monkeypatch: pytest.MonkeyPatch, place: str, number: int = signal.SIGTERM) -> None:
    """Send a signal to this process when `place` is called."""

    def stop(*_args: object, **_kwargs: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(place, stop)


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
@pytest.mark.parametrize(
    ("words", "place", "onwards"),
    [
        (("reconstruct", *TINY), "openmore.pipeline.passes.to_predictions", "the same command starts again"),
        (("reconstruct", *TINY), "openmore.io.scene_writer.write_ply", "the same command starts again"),
        (("masks", "--segments", "residual"), "openmore.masks.write.write_video", "the same command starts again"),
    ],
)
def test_a_stopped_command_leaves_nothing_half_written(
    openmore: Callable,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    place: str,
    onwards: str,
    number: signal.Signals,
) -> None:
    before = [signal.getsignal(n) for n in CODES]
    stop_at(monkeypatch, place, number)
    ran = openmore(words[0], folder, "-o", tmp_path / "out", *words[1:])
    code, by = CODES[number]
    assert ran.code == code and f"{words[0]} was stopped by {by}: " in ran.message and onwards in ran.message
    assert os.listdir(tmp_path) == ["pictures"]
    assert [signal.getsignal(n) for n in CODES] == before


def test_a_stopped_overwrite_keeps_the_old_scene(
    openmore: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("reconstruct", folder, "-o", tmp_path / "out", *TINY, "--overwrite")
    assert openmore(*words).code == 0
    stop_at(monkeypatch, "openmore.io.scene_writer.write_ply")
    assert openmore(*words, "--max-frames", 2).code == 143
    assert len(Reconstruction.load(tmp_path / "out")) == 4 and sorted(os.listdir(tmp_path)) == ["out", "pictures"]


def test_a_stop_during_the_film_names_the_scene_that_is_there(
    openmore: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    stop_at(monkeypatch, "openmore.viewer.preview_video.write_video")
    ran = openmore("reconstruct", folder, "-o", out, *TINY)
    assert ran.code == 143 and f"{out} written and whole; the film alone: openmore view {out} --video" in ran.message
    assert len(Reconstruction.load(out)) == 4 and not (out / "preview.mp4").exists()
    monkeypatch.undo()
    assert openmore(*ran.message.split("openmore ")[-1].split()).code == 0 and (out / "preview.mp4").exists()


@pytest.mark.parametrize(
    ("words", "place", "first"),
    [
        (("export", "--to", "npz,tum", "-o", "{}"), "openmore.export.tum.write", "scene.npz"),
        (("view", "--html", "{}/a.html", "--video", "{}/a.mp4"), "openmore.viewer.preview_video.write_video", "a.html"),
    ],
    ids=["export", "view"],
)
def test_outputs_that_are_there_are_named(
    openmore: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    place: str,
    first: str,
) -> None:
    if words[0] == "view":
        pytest.importorskip("viser")
    (there := tmp_path / "there").mkdir()
    command = (words[0], make_scene(2).save(tmp_path / "scene"), *(word.format(there) for word in words[1:]))
    stop_at(monkeypatch, place)
    ran = openmore(*command)
    assert ran.code == 143 and os.listdir(there) == [first]
    assert ran.message.endswith(f"{there / first} written and whole; with --overwrite the same command starts again")
    monkeypatch.undo()
    assert openmore(*command).code == 2 and openmore(*command, "--overwrite").code == 0


def test_training_of_the_fusion_network_goes_on(
    openmore: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, "openmore.training.fusion.examples.listed")
    ran = openmore("fusion", "fit", tmp_path, "-o", tmp_path / "run")
    assert ran.code == 143 and ran.message.endswith("what is finished is kept, the same command goes on")


def test_a_stopped_stream_ends_whole(
    openmore: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, "openmore.cli.stream_job.StatusLine.show")
    ran = openmore("stream", folder, "-o", tmp_path / "s", *TINY)
    assert ran.code == 0 and "stopped by SIGTERM" in ran.err and len(Reconstruction.load(tmp_path / "s")) == 1


def test_a_stream_stopped_before_its_first_frame_leaves_nothing(
    openmore: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, "openmore.streaming.session.StreamingSession.push")
    ran = openmore("stream", folder, "-o", tmp_path / "s", *TINY)
    assert ran.code == 143 and "stream was stopped by SIGTERM" in ran.message
    assert os.listdir(tmp_path) == ["pictures"]


@pytest.mark.slow
def test_a_stopped_batch_stops_its_workers_and_goes_on_later(tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.txt", tmp_path / "out"
    manifest.write_text("ok\nsleep\n")
    words = ["batch", str(manifest), "-o", str(out), "--task", "tests.scale.helpers:obedient", "--workers", "2"]
    command = [sys.executable, "-m", "openmore.cli.main", *words]
    job = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: (out / "ok").exists() and bool(list(out.glob(".sleep.*/new/begun.txt"))))
    job.terminate()
    _, told = job.communicate(timeout=30)
    assert job.returncode == 143 and "Traceback" not in told
    assert told.strip().splitlines()[-1].endswith("finished clips are kept, the same command goes on with the rest")
    assert os.listdir(out) == ["ok"]
    wait_for(lambda: not members(job.pid))


@pytest.mark.parametrize("words", ["--help", "stream --help", "--version", "weights list", "doctor"])
def test_nobody_reads_any_more(words: str) -> None:
    ends = os.pipe()
    os.close(ends[0])
    ran = subprocess.run(
        [sys.executable, "-m", "openmore.cli.main", *words.split()], stdout=ends[1], stderr=subprocess.PIPE, text=True
    )
    os.close(ends[1])
    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.mark.slow
def test_a_trajectory_nobody_reads_ends_the_stream_and_keeps_the_scene(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", [100 * i for i in range(12)])
    words = ["stream", str(clip), "--tum", "-o", str(tmp_path / "s"), *TINY]
    ran = subprocess.Popen([sys.executable, "-m", "openmore.cli.main", *words], stdout=-1, stderr=-1, text=True)
    assert ran.stdout is not None and ran.stderr is not None
    ran.stdout.readline()
    ran.stdout.close()
    told = ran.stderr.read()
    assert ran.wait() == 141 and "Error" not in told and "openmore:" not in told
    assert 0 < len(Reconstruction.load(tmp_path / "s")) <= 12


def test_what_the_system_refuses_is_one_line(
    openmore: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(_self: Path, *_: object) -> bool:
        raise PermissionError(13, "Permission denied", str(folder))

    ran = openmore("reconstruct", "x" * 300, "-o", tmp_path / "out", *TINY)
    assert ran.code == 2 and ran.message.endswith("File name too long: give a shorter one")
    monkeypatch.setattr(Path, "iterdir", locked)  # root may look everywhere, so a locked folder is played
    ran = openmore("reconstruct", folder, "-o", tmp_path / "out", *TINY)
    assert ran.code == 2 and f"{folder}: Permission denied: give a place" in ran.message


@pytest.mark.parametrize(
    "text", ["Unable to allocate 3 TiB", "CUDA out of memory. Tried", "[enforce] can't allocate memory"]
)
def test_too_little_memory_is_no_bug(
    openmore: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise MemoryError(text) if "TiB" in text else RuntimeError(text)

    monkeypatch.setattr("openmore.pipeline.passes.to_images", greedy)
    ran = openmore("reconstruct", folder, "-o", tmp_path / "out", *TINY)
    assert ran.code == 2 and "not enough memory" in ran.message and text in ran.message
    monkeypatch.setattr("openmore.pipeline.passes.to_images", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["reconstruct", str(folder), "-o", str(tmp_path / "out"), *TINY])


def test_a_full_disk_behind_the_output_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "openmore.cli.main", "--version"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (
        ran.returncode == 2
        and ran.stderr == "openmore: the output: No space left on device: make room, or give another place\n"
    )
