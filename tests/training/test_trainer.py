"""A run as a whole: it learns, resumes exactly, survives NaN, signals and a full disk."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file

from openmore.errors import CheckpointError, ConfigError, InputError
from openmore.model.more import MoRe
from openmore.training import checkpoint
from openmore.training.logbook import read_log
from openmore.training.recipes import recipe
from openmore.training.session import StopWatch, train
from tests.training.toy import ToySource, equal_states, toy_config


def run(out: Path, *changes: str, source: ToySource | None = None, **options: Any) -> tuple[list[float], Any]:
    losses: list[float] = []
    on_log = options.pop("on_log", lambda step: None)

    def listen(step: int, values: dict[str, float]) -> None:
        losses.append(values.get("loss", math.nan))
        on_log(step)

    report = train(toy_config(*changes), out, source=source or ToySource(), on_log=listen, **options)
    return losses, report


def test_metrics_may_be_left_out(tmp_path: Path) -> None:
    run(tmp_path, "optim.steps=1", "run.metrics_every=0")
    assert not read_log(tmp_path / "log.jsonl", "metrics")


def test_tiny_smoke_learns(tmp_path: Path) -> None:
    report = train(recipe("tiny_smoke"), tmp_path)
    losses = [line["loss"] for line in read_log(tmp_path / "log.jsonl", "train")]
    assert report.stopped == "finished" and report.skipped == 0
    assert sum(losses[-2:]) / 2 < 0.7 * losses[0]
    assert list((tmp_path / "sheets").glob("*.png"))
    model = MoRe.from_pretrained(str(report.weights))
    assert model.provenance["passes"] == "mixed"
    assert model.provenance["steps"] == report.step and model.provenance["trained_on"] == "the synthetic 4D world"


@pytest.mark.parametrize("changes", [(), ("optim.accumulate=2", "optim.ema=0")], ids=["average", "accumulate"])
def test_resuming_is_the_same_as_not_stopping(tmp_path: Path, changes: tuple[str, ...]) -> None:
    straight, _ = run(tmp_path / "a", "optim.steps=3", *changes)
    first, _ = run(tmp_path / "b", "optim.steps=3", *changes, on_log=stop_at(1))
    second, report = run(tmp_path / "b", "optim.steps=3", *changes, resume=True)
    assert len(first) == 1 and first + second == straight
    assert report.step == 3
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in "ab"]
    assert equal_states(*weights)


def test_a_run_goes_on_from_the_next_clip_number(tmp_path: Path) -> None:
    """With other sizes, and from a checkpoint of the time before it was kept: those numbers were spaced."""
    numbers: list[int] = []

    class Listening(ToySource):
        def prepare(self, plan: Any, rank: int) -> Any:
            numbers.extend(plan.clip_numbers(rank))
            return super().prepare(plan, rank)

    mixed = ("data.frames=2,4", "run.save_every=1000")
    run(tmp_path / "new", "optim.steps=2", *mixed, source=Listening())
    begun = len(numbers)
    shutil.copytree(tmp_path / "new", tmp_path / "old")
    sizes = ("data.images_per_rank=2", "optim.accumulate=2")
    run(tmp_path / "new", "optim.steps=3", *mixed, *sizes, resume=True, source=Listening())
    assert numbers == list(range(begun + 2))
    path = tmp_path / "old" / "checkpoints" / "step_00000002" / checkpoint.META
    meta = json.loads(path.read_text())
    assert meta.pop("next_clip") == begun
    path.write_text(json.dumps(meta))
    numbers.clear()
    run(tmp_path / "old", "optim.steps=3", *mixed, resume=True, source=Listening())
    assert numbers[0] == 2 * 2  # steps times the clips of the largest batch


def stop_at(step: int) -> Any:
    """SIGTERM to this process during a step, as SLURM sends it."""
    return lambda now: os.kill(os.getpid(), signal.SIGTERM) if now == step else None


def test_sigterm_saves_and_ends(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    losses, report = run(tmp_path, "optim.steps=50", on_log=stop_at(2))
    assert report.stopped == "signal" and report.step == 2 == len(losses)
    assert checkpoint.complete(tmp_path / "checkpoints") == [report.checkpoint]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_that_stops_before_its_first_log_line_still_logs(tmp_path: Path) -> None:
    losses, report = run(tmp_path, "optim.steps=50", "run.log_every=40", time_budget_s=0.0)
    assert report.stopped == "time budget" and report.step == 1
    assert losses == [report.last["loss"]] and losses[0] > 0


def test_a_time_budget_ends_the_run_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 3.0, 6.0, 9.0])  # construction is given its start; steps of 3 s
    monkeypatch.setattr("openmore.training.session.time.monotonic", lambda: next(clock))
    watch = StopWatch(budget_s=14.0, started=0.0)
    answers = [watch() for _ in range(4)]
    assert answers == [None, None, None, "time budget"]  # 9 + 2 * 3 > 14


def test_a_step_without_a_finite_loss_is_skipped_and_reported(tmp_path: Path) -> None:
    _, report = run(tmp_path, source=ToySource(spoil_step=1))
    skipped = read_log(tmp_path / "log.jsonl", "skipped")
    assert report.skipped == 1 and report.step == 4
    assert skipped[0]["step"] == 1 and "loss" in skipped[0]["not_finite"] and skipped[0]["clips"][0].startswith("toy/")
    assert all(v.isfinite().all() for v in load_file(tmp_path / "weights.safetensors").values())


def test_a_run_that_never_has_a_finite_loss_stops(tmp_path: Path) -> None:
    class Spoilt(ToySource):
        def prepare(self, plan: Any, rank: int) -> Any:
            self.spoil_step = plan.step
            return super().prepare(plan, rank)

    with pytest.raises(ConfigError, match="no finite loss for 2 steps"):
        run(tmp_path, "run.max_skips=2", source=Spoilt())


def test_a_full_disk_keeps_the_older_checkpoint(tmp_path: Path) -> None:
    """Files may not grow past 100 kB after step 2: periodic saves are reported, the last one fails loudly."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_disk(step: int) -> None:
        if step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    try:
        with pytest.raises(CheckpointError, match="older checkpoints are untouched"):
            run(tmp_path, "optim.steps=5", "run.save_every=2", on_log=fill_disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000002"]
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl", "save failed")] == [4]
    _, report = run(tmp_path, "optim.steps=5", resume=True)
    assert report.step == 5


def test_old_checkpoints_go_when_new_ones_are_complete(tmp_path: Path) -> None:
    run(tmp_path, "run.save_every=1", "run.keep=2")
    assert [p.name for p in checkpoint.complete(tmp_path / "checkpoints")] == ["step_00000003", "step_00000004"]


def test_a_run_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    run(tmp_path, "optim.steps=1")
    with pytest.raises(InputError, match="add --resume"):
        run(tmp_path, "optim.steps=1")


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_files_that_no_run_wrote_are_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"mine": 1}')
    for resume in (False, True):
        with pytest.raises(InputError, match=f"holds {name}, which no training run wrote"):
            run(tmp_path, "optim.steps=1", resume=resume)
    assert (tmp_path / name).read_text() == '{"mine": 1}' and len(list(tmp_path.iterdir())) == 1


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path: Path) -> None:
    run(tmp_path, "optim.steps=1")
    shutil.rmtree(tmp_path / "checkpoints")  # as after kill -9
    (tmp_path / "checkpoints" / ".step_00000007.partial").mkdir(parents=True)
    losses, _ = run(tmp_path, "optim.steps=1", resume=True)
    assert len(losses) == 1 and [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]


def test_resuming_a_finished_run_changes_nothing_but_may_be_prolonged(tmp_path: Path) -> None:
    run(tmp_path, "optim.steps=2")
    losses, report = run(tmp_path, "optim.steps=2", resume=True)
    assert not losses and report.step == 2
    losses, report = run(tmp_path, "optim.steps=3", resume=True)
    assert len(losses) == 1 and report.step == 3
    assert "optim.steps: 2 -> 3" in read_log(tmp_path / "log.jsonl", "resumed")[-1]["changed"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    run(tmp_path, "optim.steps=1")
    for shard in tmp_path.rglob("*.distcp"):
        shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"cannot resume from .*step_00000001.* remove it to go on from"):
        run(tmp_path, resume=True)
    (tmp_path / "checkpoints" / "step_00000001" / ".metadata").unlink()
    with pytest.raises(CheckpointError, match=r"cannot resume from .*step_00000001"):
        run(tmp_path, resume=True)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "optim.steps=1")
    with pytest.raises(CheckpointError, match="of the network tiny, this run of small"):
        run(tmp_path, "model=small", resume=True)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_groups_and_frozen_parts_may_change_on_resuming(tmp_path: Path) -> None:
    """What was trained keeps its moments, what was frozen begins with fresh ones and averages from where it stands."""
    before = ("optim.freeze=aggregator.*", "optim.steps=2")
    run(tmp_path, *before)
    frozen = load_file(tmp_path / "weights.safetensors")
    run(tmp_path, "optim.freeze=", "optim.motion_lr=1e-3", "optim.steps=2", "run.seed=1", resume=True)
    assert equal_states(frozen, load_file(tmp_path / "weights.safetensors"))
    _, report = run(tmp_path, "optim.freeze=", "optim.motion_lr=1e-3", "optim.steps=3", resume=True)
    assert report.step == 3 and report.skipped == 0
    changed = read_log(tmp_path / "log.jsonl", "resumed")[-1]["changed"]
    assert {line.split(":")[0] for line in changed} == {"optim.freeze", "optim.motion_lr", "optim.steps"}
    trained = load_file(tmp_path / "weights.safetensors")
    assert not torch.equal(trained["aggregator.camera_token"], frozen["aggregator.camera_token"])
    steps = optimiser_steps(report.checkpoint)
    assert (steps["aggregator.camera_token"], steps["motion_head.norm.weight"]) == (1, 3)
    run(tmp_path, "optim.freeze=motion_head.*", "optim.steps=4", resume=True)  # and back: what is not needed is left


def optimiser_steps(path: Path) -> dict[str, float]:
    """Updates that each parameter had, from a checkpoint."""
    stored = dcp.FileSystemReader(str(path))
    pattern = re.compile(r"optimizer\.state\.(.*)\.step$")
    names = [match for key in stored.read_metadata().state_dict_metadata if (match := pattern.match(key))]
    values = {match[0]: torch.zeros(()) for match in names}
    dcp.load(values, storage_reader=stored, no_dist=True)
    return {match[1]: float(values[match[0]]) for match in names}


def test_workers_give_the_same_batches(tmp_path: Path) -> None:
    one, _ = run(tmp_path / "a", "optim.steps=2")
    other, _ = run(tmp_path / "b", "optim.steps=2", "data.workers=1")
    assert one == other


def test_bf16_and_recomputation_change_little(tmp_path: Path) -> None:
    plain, _ = run(tmp_path / "a", "optim.steps=1")
    recomputed, _ = run(tmp_path / "b", "optim.steps=1", "run.checkpointing=true")
    assert recomputed == pytest.approx(plain, rel=1e-6)
    half, _ = run(tmp_path / "c", "optim.steps=1", "run.precision=bf16")
    assert half == pytest.approx(plain, rel=0.05) and half != plain


def test_emulated_bf16_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("openmore.training.trainer.fast_bf16", lambda device: False)
    run(tmp_path / "half", "optim.steps=1", "run.precision=bf16")
    assert "run.precision=fp32 is faster here" in caplog.text
    caplog.clear()
    run(tmp_path / "full", "optim.steps=1", "run.precision=fp32")
    assert "emulated on this device" not in caplog.text


def test_frozen_parts_stay(tmp_path: Path) -> None:
    torch.manual_seed(0)
    run(tmp_path, "optim.freeze=aggregator.*", "optim.ema=0", "optim.steps=1")
    run(tmp_path / "later", "optim.freeze=aggregator.*", "optim.ema=0", "optim.steps=3")
    one, later = (load_file(p / "weights.safetensors") for p in (tmp_path, tmp_path / "later"))
    changed = {k.split(".")[0] for k in one if not torch.equal(one[k], later[k])}
    assert changed == {"camera_head", "depth_head", "point_head", "motion_head"}
