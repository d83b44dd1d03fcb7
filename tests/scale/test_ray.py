from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from openmore.errors import MissingExtra
from openmore.scale import Task, read_failures, run_job
from tests.scale.test_job import finished, items


def test_without_ray_the_pip_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"openmore\[scale\]"):
        run_job(items("ok"), tmp_path, Task("tests.scale.helpers:obedient"), executor="ray")


def test_an_actor_answers_in_rows_and_never_raises(tmp_path: Path) -> None:
    from openmore.scale.ray_data import Worker

    row = {"item": json.dumps(vars(items("ok", "corrupt")[1]))}
    answer = Worker(Task("tests.scale.helpers:obedient"), str(tmp_path))(row)
    assert (answer["id"], answer["status"], answer["fault"]) == ("i1", "failed", "") and "damaged" in answer["reason"]
    fault = Worker(Task("tests.scale.helpers:unavailable"), str(tmp_path))(row)["fault"]
    assert isinstance(pickle.loads(bytes.fromhex(fault)), MissingExtra)


@pytest.mark.slow
def test_two_actors_with_a_corrupt_clip_and_a_crash(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    root = Path(__file__).parents[2]
    ray.init(num_cpus=2, logging_level=40, runtime_env={"env_vars": {"PYTHONPATH": str(root)}})
    try:
        sources = ["ok", "corrupt", "ok", "kill", "ok", "ok", f"die-once:{tmp_path / 'once'}"]
        job = Task("tests.scale.helpers:obedient")
        summary = run_job(items(*sources), tmp_path / "out", job, executor="ray", workers=2)
        assert finished(tmp_path / "out") == ["i0", "i2", "i4", "i5", "i6"]
        assert sorted(summary.failed) == ["i1", "i3"]
        reasons = {f["id"]: str(f["reason"]) for f in read_failures(tmp_path / "out")}
        assert "damaged" in reasons["i1"] and "killed" in reasons["i3"]
        again = run_job(items("ok", *sources[1:]), tmp_path / "out", job, executor="ray", workers=2)
        assert again.skipped == 5 and sorted(again.failed) == ["i1", "i3"]
        with pytest.raises(MissingExtra, match=r"openmore\[masks\]"):
            run_job(items("ok"), tmp_path / "no", Task("tests.scale.helpers:unavailable"), executor="ray")
    finally:
        ray.shutdown()
