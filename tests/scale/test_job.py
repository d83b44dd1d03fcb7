from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from openmore.errors import ConfigError, MissingExtra
from openmore.scale import Item, Task, process_one, read_failures, run_job
from openmore.scale.claim import claimed
from openmore.scale.slurm import array_place, share

OBEDIENT = Task("tests.scale.helpers:obedient")


def items(*sources: str) -> list[Item]:
    return [Item(f"i{n}", source) for n, source in enumerate(sources)]


def finished(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if (path / "result.txt").is_file())


def test_one_bad_clip_of_many_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    summary = run_job(items(*["ok"] * 60, "corrupt", *["ok"] * 39), tmp_path, OBEDIENT, workers=0)
    assert (summary.done, summary.failed) == (99, ["i60"]) and len(finished(tmp_path)) == 99
    (failure,) = read_failures(tmp_path)
    assert failure["id"] == "i60" and failure["reason"] == "i60 is damaged: second line" and failure["time"]
    assert json.loads((tmp_path / "summary.json").read_text())["done"] == 99
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_again_skips_what_is_done_and_tries_what_failed(tmp_path: Path) -> None:
    marker = tmp_path / "fixed"
    first = run_job(items("ok", "bug"), tmp_path / "out", OBEDIENT, workers=0)
    assert (first.done, first.skipped, first.failed) == (1, 0, ["i1"])
    marker.touch()
    seen: list[tuple[str, int, int | None]] = []
    again = run_job(
        items("ok", "ok"), tmp_path / "out", OBEDIENT, workers=0, progress=lambda *report: seen.append(report)
    )
    assert (again.done, again.skipped, again.failed) == (1, 1, [])
    assert seen == [("clips", 1, 2), ("clips", 2, 2)]
    assert read_failures(tmp_path / "out")[0]["reason"] == "ZeroDivisionError: oops"


def test_process_one_is_idempotent_and_sweeps_up_after_a_killed_worker(tmp_path: Path) -> None:
    run = OBEDIENT.load()
    for left in (".a.12345678", ".a.b.12345678"):
        (tmp_path / left).mkdir()
    item = Item("a", "ok")
    assert process_one(item, tmp_path, run).status == "done"
    before = (tmp_path / "a" / "result.txt").stat().st_mtime_ns
    assert process_one(item, tmp_path, run).status == "skipped"
    assert (tmp_path / "a" / "result.txt").stat().st_mtime_ns == before
    assert not (tmp_path / ".a.12345678").exists() and (tmp_path / ".a.b.12345678").exists()  # another item's


def test_what_another_job_is_making_is_left_to_it(tmp_path: Path) -> None:
    unfinished = tmp_path / ".i0.12345678"
    with claimed(tmp_path, "i0") as mine:
        unfinished.mkdir()
        summary = run_job(items("ok", "ok"), tmp_path, OBEDIENT, workers=1)
        assert mine and unfinished.exists() and (summary.done, summary.busy, summary.failed) == (1, ["i0"], [])
    summary = run_job(items("ok", "ok"), tmp_path, OBEDIENT, workers=0)
    assert (summary.done, summary.skipped, summary.busy) == (1, 1, [])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".i")]


def test_the_lock_of_a_killed_worker_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".i0.lock").touch()
    assert run_job(items("ok"), tmp_path, OBEDIENT, workers=0).done == 1
    assert not (tmp_path / ".i0.lock").exists()


def test_task_options_reach_the_worker(tmp_path: Path) -> None:
    run_job(items("ok"), tmp_path, "tests.scale.helpers:obedient", workers=0, greeting="hi")
    assert (tmp_path / "i0" / "result.txt").read_text() == "hi i0"


@pytest.mark.slow
def test_a_killed_worker_costs_only_the_clip_that_kills(tmp_path: Path) -> None:
    sources = ["ok", "kill", "ok", "corrupt", f"die-once:{tmp_path / 'once'}", "ok", "kill", "ok"]
    summary = run_job(items(*sources), tmp_path / "out", OBEDIENT, workers=2)
    assert finished(tmp_path / "out") == ["i0", "i2", "i4", "i5", "i7"]
    assert sorted(summary.failed) == ["i1", "i3", "i6"]
    reasons = {f["id"]: str(f["reason"]) for f in read_failures(tmp_path / "out")}
    assert "killed" in reasons["i1"] and "killed" in reasons["i6"] and "damaged" in reasons["i3"]


@pytest.mark.slow
def test_a_job_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path) -> None:
    code = (
        "from tests.scale.test_job import *\n"
        f"if __name__ == '__main__': run_job(items('ok', 'ok', 'sleep'), {str(tmp_path)!r}, OBEDIENT, workers=0)"
    )
    job = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    wait_for(lambda: bool(list(tmp_path.glob(".i2.*/new/begun.txt"))))
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    assert finished(tmp_path) == ["i0", "i1"] and not (tmp_path / "i2").exists()
    summary = run_job(items("ok", "ok", "ok"), tmp_path, OBEDIENT, workers=0)
    assert (summary.done, summary.skipped) == (1, 2) and finished(tmp_path) == ["i0", "i1", "i2"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".i")]


@pytest.mark.slow
def test_workers_of_a_killed_job_end_too(tmp_path: Path) -> None:
    code = (
        "from tests.scale.test_job import *\n"
        f"if __name__ == '__main__': run_job(items('ok', 'sleep', 'sleep'), {str(tmp_path)!r}, OBEDIENT, workers=2)"
    )
    job = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], start_new_session=True)
    wait_for(lambda: len(list(tmp_path.glob(".i[12].*/new/begun.txt"))) == 2)
    family = members(job.pid)
    assert len(family) >= 3
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    wait_for(lambda: not members(job.pid))
    summary = run_job(items("ok", "ok", "ok"), tmp_path, OBEDIENT, workers=0)
    assert (summary.done, summary.skipped) == (2, 1) and finished(tmp_path) == ["i0", "i1", "i2"]


def members(session: int) -> list[int]:
    """Processes that still run in a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, sid = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended meanwhile
            continue
        if int(sid) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_task_that_cannot_be_set_up_ends_the_job_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'openmore\[masks\]'"):
        run_job(items("ok", "ok"), tmp_path, Task("tests.scale.helpers:unavailable"), workers=1)


def test_missing_extra_survives_the_way_from_a_worker() -> None:
    error = MissingExtra("ray", "scale", "executor ray")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.extra == "scale"


def test_array_shares_cover_everything_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = items(*["ok"] * 7)
    assert sorted(i.id for place in range(3) for i in share(everything, place, 3)) == [i.id for i in everything]
    env = {"SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_MIN": "2", "SLURM_ARRAY_TASK_STEP": "2"}
    assert array_place({**env, "SLURM_ARRAY_TASK_COUNT": "3"}) == (2, 3)
    for key, value in {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2"}.items():
        monkeypatch.setenv(key, value)
    summary = run_job(everything, tmp_path, OBEDIENT, executor="slurm-array", workers=0)
    assert finished(tmp_path) == ["i1", "i3", "i5"] and summary.done == 3
    assert (tmp_path / "summary.00001.json").is_file()


def test_wrong_settings_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="local, slurm-array, ray"):
        run_job(items("ok"), tmp_path, OBEDIENT, executor="dask")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no job array"):
        array_place({})
    with pytest.raises(ConfigError, match="array without gaps"):
        array_place({"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "2"})
    with pytest.raises(ConfigError, match="choose one of masks, reconstruct"):
        Task("depth").load()
    with pytest.raises(ConfigError, match="cannot be set up"):
        Task("tests.scale.helpers:obedient", {"no_such": 1}).load()
    with pytest.raises(ConfigError, match="workers"):
        run_job(items("ok"), tmp_path, OBEDIENT, workers=-1)
