"""Training of the fusion network on the miniature: examples, losses, and a run that is stopped and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from openmore.cli.main import main
from openmore.errors import DataError, InputError
from openmore.model.more import MoRe
from openmore.refinement.dense.cues import CHANNELS
from openmore.refinement.dense.fusion import CANDIDATES, FILE, FusionNet, loaded, weights
from openmore.scale import read_failures
from openmore.training.fusion.batches import BACKWARDS, REHEARSAL_SHAPES, batches
from openmore.training.fusion.config import FitConfig
from openmore.training.fusion.examples import Example, collect, listed, load, save
from openmore.training.fusion.fit import fit, measure
from openmore.training.fusion.losses import losses, total
from openmore.training.fusion.rehearsal import rehearse
from tests.training.fusion_run import CONFIG

SHAPE = (24, 32)
REPOSITORY = Path(__file__).parents[2]
SMALL = {"clips": 2, "frames": 2, "lr": 3e-3, "warmup": 1, "log_every": 5, "save_every": 10}


def example(seed: int, measured: bool = True) -> Example:
    """A made-up clip: what is completed is wrong by what the picture's red says, and the sweep found it."""
    rng = np.random.default_rng(seed)
    cues = rng.normal(0, 0.1, (3, len(CHANNELS), *SHAPE)).astype(np.float32)
    red, trust, off = (CHANNELS.index(name) for name in ("red", "measured_trust", "off"))
    cues[:, off] *= 3
    cues[:, trust] = 1.0 * measured
    cues[:, red] = np.kron(rng.uniform(-0.5, 0.5, (3, 2, 2)), np.ones((12, 16)))
    cues[:, CANDIDATES] = 0
    cues[:, CHANNELS.index("sweep")] = cues[:, red]
    full = cues[:, CHANNELS.index("completed")] + 1.0
    depth = np.exp(-full - cues[:, red] + 2.0).astype(np.float32)
    motion = (cues[:, off] > 0.3).astype(np.uint8)
    return Example(cues, np.ones(3), depth, motion, np.full(3, measured))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "examples").mkdir()
    for seed in range(4):
        save(example(seed), tmp_path / "examples" / f"{seed}.npz")
    return tmp_path / "examples"


def assert_equal_nets(one: dict, other: dict) -> None:
    for name, value in one["net"].items():
        assert torch.equal(value, other["net"][name]), name


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_the_solver_s_scale_is_no_error() -> None:
    clip = example(0)
    correction = clip.correction()
    red = clip.cues[:, CHANNELS.index("red")]
    assert correction is not None
    np.testing.assert_allclose(correction - correction.mean(), red - red.mean(), atol=1e-3)
    nothing = Example(clip.cues, clip.level, np.zeros_like(clip.depth), clip.motion, clip.measured)
    assert nothing.correction() is None


def test_losses_are_zero_for_the_truth_and_unknown_pixels_count_for_nobody() -> None:
    level, correction = torch.randn(2, 2, *SHAPE)
    motion = (torch.rand(2, *SHAPE) > 0.7).to(torch.uint8)
    out = torch.stack((correction, torch.full_like(correction, np.log(0.01)), 40.0 * motion - 20), 1)
    valid = torch.ones_like(motion, dtype=torch.bool)
    for name, value in losses(out, level, correction, valid, motion).items():
        assert float(value) == pytest.approx(0, abs=1e-4), name
    motion[:, :4] = 255
    valid[:, :4] = False
    out[:, :, :4] = 7.0
    for name, value in losses(out, level, correction, valid, motion).items():
        assert float(value) == pytest.approx(0, abs=1e-4), name


def test_a_picture_without_anything_valid_gives_no_nan() -> None:
    out = torch.randn(1, 3, *SHAPE, requires_grad=True)
    nothing = torch.zeros(1, *SHAPE)
    terms = losses(out, nothing, nothing, nothing.bool(), torch.full((1, *SHAPE), 255, dtype=torch.uint8))
    total(terms).backward()
    assert out.grad is not None and torch.isfinite(out.grad).all()


def test_training_lowers_the_loss_and_a_stopped_run_goes_on_exactly(folder: Path, tmp_path: Path) -> None:
    files, config = listed(folder), FitConfig(steps=40, **SMALL)
    found = fit(files, tmp_path / "whole", config, files)
    training = [line["training"] for line in lines(tmp_path / "whole") if "training" in line]
    assert training[-1]["motion"] < 0.8 * training[0]["motion"] and training[-1]["sigma"] < 0.7 * training[0]["sigma"]
    assert found["abs_rel_settled"] < 0.99 * measure(FusionNet(), files)["abs_rel_settled"]

    class Stop(Exception):
        pass

    def stop(stage: str, done: int, of: int | None) -> None:
        if done == 15:
            raise Stop

    with pytest.raises(Stop):
        fit(files, tmp_path / "parts", config, [], stop)
    fit(files, tmp_path / "parts", config, [])
    whole, parts = (torch.load(tmp_path / run / "checkpoint.pt") for run in ("whole", "parts"))
    assert_equal_nets(whole, parts)
    with pytest.raises(InputError, match="same settings"):
        fit(files, tmp_path / "parts", FitConfig(steps=41, **SMALL), [])


def test_far_surfaces_weigh_by_their_depth_and_a_picture_s_unit_does_not_matter() -> None:
    log_inverse = torch.zeros(1, *SHAPE)
    log_inverse[:, :12] = -np.log(9.0)  # the upper half is nine times as far
    valid, still = torch.ones_like(log_inverse, dtype=torch.bool), torch.zeros(1, *SHAPE, dtype=torch.uint8)
    for level in (0.0, 3.0):
        for rows, share in ((slice(0, 12), 0.9), (slice(12, 24), 0.1)):
            out = torch.zeros(1, 3, *SHAPE)
            out[:, 0, rows] = -np.log(1.1)  # ten percent too far
            terms = losses(out, log_inverse + level, torch.zeros_like(log_inverse), valid, still)
            assert float(terms["absolute"]) == pytest.approx(0.1 * share, rel=1e-4)


def test_a_stopped_run_does_not_go_on_with_other_examples(folder: Path, tmp_path: Path) -> None:
    fit(listed(folder), tmp_path / "run", FitConfig(steps=1, **SMALL), [])
    path = tmp_path / "run" / "checkpoint.pt"
    save(example(9), folder / "9.npz")
    with pytest.raises(
        InputError, match="a run with 4 examples, these 5 are not the same ones: give those, or another"
    ):
        fit(listed(folder), tmp_path / "run", FitConfig(steps=1, **SMALL), [])
    state = torch.load(path)
    del state["examples"]  # a checkpoint of the time before they were kept
    torch.save(state, path)
    fit(listed(folder), tmp_path / "run", FitConfig(steps=1, **SMALL), [])


def test_processes_share_a_step_and_a_stopped_run_goes_on_exactly(folder: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "tests.training.fusion_run", str(folder), str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    whole, parts = (torch.load(tmp_path / run / "checkpoint.pt") for run in ("whole", "parts"))
    assert whole["step"] == parts["step"] == CONFIG.steps
    assert_equal_nets(whole, parts)
    with pytest.raises(InputError, match="same settings"):  # one process would draw other clips
        fit(listed(folder), tmp_path / "whole", CONFIG, [])


def test_a_rehearsal_is_an_example_whose_truth_its_cues_lack() -> None:
    for seed in range(3):
        made = rehearse(seed, (56, 64))
        assert made.cues.shape == (4, len(CHANNELS), 56, 64) and np.isfinite(made.cues).all()
        assert not made.channel("seen").any() and not made.channel("odds_known").any()
        shown = [made.channel(f"shown{offset:+d}").mean((1, 2)) > 0 for offset in (1, -1, 3, -3)]
        np.testing.assert_array_equal(shown[0], [True, True, True, False])
        np.testing.assert_array_equal(shown[3], [False, False, False, True])
        correction = made.correction()
        assert correction is not None and np.abs(correction).mean() > 0.005
        again = rehearse(seed, (56, 64))
        np.testing.assert_array_equal(made.cues, again.cues)


def test_backwards_the_next_frame_is_the_one_before() -> None:
    came_from = {name: CHANNELS[i] for name, i in zip(CHANNELS, BACKWARDS)}
    for what in ("red", "green", "blue", "shown"):
        for ahead, behind in (("+1", "-1"), ("+3", "-3")):
            assert came_from.pop(what + ahead) == what + behind and came_from.pop(what + behind) == what + ahead
    assert all(name == other for name, other in came_from.items())


def test_a_run_may_begin_with_rehearsals(folder: Path, tmp_path: Path) -> None:
    fit(listed(folder), tmp_path / "run", FitConfig(steps=3, rehearsal=2, **SMALL), [])
    assert (tmp_path / "run" / "fusion.safetensors").exists()


def test_rehearsals_may_lie_between_examples(folder: Path) -> None:
    config = FitConfig(steps=40, mix=0.5, **SMALL)
    shapes = [batch[0].shape[-2:] for batch in batches(listed(folder), config, 0, 0)]
    rehearsed = [shape for shape in shapes if shape != SHAPE]
    assert 8 < len(rehearsed) < 32 and set(rehearsed) <= set(REHEARSAL_SHAPES)


def test_a_run_may_begin_with_weights(folder: Path, tmp_path: Path) -> None:
    """Without a learning rate they are what comes out."""
    still = {**SMALL, "lr": 0.0}
    fit(listed(folder), tmp_path / "one", FitConfig(steps=2, weights="shipped", **still), [])
    fit(listed(folder), tmp_path / "two", FitConfig(steps=1, weights=str(tmp_path / "one" / FILE), **still), [])
    for name, value in weights("shipped").items():
        assert torch.equal(value, weights(str(tmp_path / "two" / FILE))[name]), name
    with pytest.raises(InputError, match="no weights"):
        weights(str(folder / "0.npz"))
    save_file({"head.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="another network"):
        loaded(str(tmp_path / "other.safetensors"))


def test_a_share_of_the_weights_it_began_with_may_be_kept(folder: Path, tmp_path: Path) -> None:
    run = {name: tmp_path / name for name in ("all", "new", "half")}
    for name, keep in (("all", 1.0), ("new", 0.0), ("half", 0.5)):
        fit(listed(folder), run[name], FitConfig(steps=2, weights="shipped", keep=keep, **SMALL), [])
    out = {name: weights(str(path / FILE)) for name, path in run.items()}
    for name, value in weights("shipped").items():
        assert torch.equal(out["all"][name], value), name
        between = (out["new"][name].float() + value.float()) / 2
        torch.testing.assert_close(out["half"][name].float(), between, rtol=2**-7, atol=1e-5)
    assert not torch.equal(out["new"]["head.weight"], out["all"]["head.weight"])
    with pytest.raises(InputError, match="none are given"):
        fit(listed(folder), tmp_path / "none", FitConfig(steps=2, keep=0.5, **SMALL), [])


def test_a_single_frame_is_rehearsed_as_a_picture_alone() -> None:
    made = rehearse(5, (56, 64), frames=1)
    assert made.cues.shape == (1, len(CHANNELS), 56, 64) and not made.measured.any()
    assert not made.channel("shown+1").any() and not made.channel("has_depth").any()
    correction = made.correction()
    assert correction is not None and np.abs(correction).mean() > 0.05  # what the network's guess is off by


def test_unmeasured_clips_are_counted_apart(folder: Path) -> None:
    save(example(9, measured=False), folder / "9.npz")
    found = measure(FusionNet(), listed(folder))
    assert {"abs_rel_before_measured", "abs_rel_before_unmeasured", "iou_settled", "iou_settled_mean"} <= found.keys()
    assert 0.8 * found["abs_rel_before"] < found["abs_rel_settled"] < found["abs_rel_before"]  # a little of the sweep


def test_damaged_examples_are_named(folder: Path) -> None:
    (folder / "0.npz").write_bytes(b"PK\x03\x04 not much")
    with pytest.raises(DataError, match=r"0\.npz"):
        load(folder / "0.npz")
    with pytest.raises(InputError, match="collect"):
        listed(folder.parent)


def collected(folder: Path, clips: int) -> int:
    with pytest.raises(SystemExit) as end:
        main(["fusion", "collect", str(folder), "--clips", str(clips), "--first-seed", "0"])
    return int(end.value.code or 0)


def test_a_clip_that_fails_or_kills_its_worker_is_named_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("openmore.cli.fusion.COLLECTOR", "tests.training.fusion_collector:collector")
    assert collected(tmp_path, 5) == 2
    said = capsys.readouterr()
    assert "1 clips could not be solved" in said.out and "2 of 5 clips failed (2, 3)" in said.err
    assert [path.parent.name for path in listed(tmp_path)] == ["0", "4"]
    reasons = [str(failure["reason"]) for failure in read_failures(tmp_path)]
    assert reasons[0] == "a photograph is damaged" and "killed" in reasons[1]


def test_what_was_collected_is_not_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
    save(example(0), tmp_path / "0/example.npz")
    (tmp_path / "1/unsolved").touch()
    save(example(2), tmp_path / "2.npz")  # as earlier versions wrote them
    assert collected(tmp_path, 3) == 0
    said = capsys.readouterr().out
    assert "1 clips could not be solved" in said and "3 clips" in said and "0 done, 3 were there" in said
    assert [str(path.relative_to(tmp_path)) for path in listed(tmp_path)] == ["0/example.npz", "2.npz"]
    (tmp_path / "0/example.npz").write_bytes(b"")
    with pytest.raises(DataError, match=f"remove {tmp_path / '0'} and collect again"):
        load(tmp_path / "0/example.npz")


def test_a_clip_becomes_an_example(tmp_path: Path) -> None:
    made = collect(1_500_006 + 10, MoRe.from_pretrained("small").pack(), frames=4)
    assert made is not None
    save(made, tmp_path / "x.npz")
    back = load(tmp_path / "x.npz")
    assert back.cues.shape[:2] == (4, len(CHANNELS)) and back.depth.shape == back.cues[:, 0].shape
    np.testing.assert_allclose(back.cues, made.cues, atol=2e-3)
    assert back.correction() is not None
