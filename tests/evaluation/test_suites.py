"""Every benchmark from miniature to table with a fake method; failures, caching, shards, comparison."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openmore.errors import ConfigError, DataError, MissingExtra
from openmore.evaluation.baselines import NoMotion
from openmore.evaluation.compare import compare
from openmore.evaluation.prediction import Clip, Prediction
from openmore.evaluation.protocols.base import Benchmark
from openmore.evaluation.protocols.registry import BUILDERS, benchmark
from openmore.evaluation.ray_shards import run_on_ray
from openmore.evaluation.report import write_report
from openmore.evaluation.shards import WHOLE, Shard, local_device, of_environment
from openmore.evaluation.suite import run, slug, what_is_measured
from tests.datasets.miniatures import dynamic, native, static
from tests.datasets.miniatures.world import World, make_world

FAR, FRAMES = 3.0, 6


class Oracle:
    """Knows the world: returns its truth in another scale and another world, halved depth resolution."""

    def __init__(self, world: World, name: str = "oracle", fail_on: str = ""):
        self.world, self.name, self.fail_on, self.calls = world, name, fail_on, 0

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def predict(self, clip: Clip) -> Prediction:
        self.calls += 1
        if self.fail_on and self.fail_on in clip.name:
            raise RuntimeError("CUDA out of memory")
        keep = self.frames_of(clip)
        poses = self.world.world_from_cam[keep].copy()
        poses[:, :3, 3] *= FAR
        K = np.tile(self.world.K, (len(keep), 1, 1))
        depth = (self.world.depth[keep] * FAR).astype(np.float32)
        return Prediction(poses, K, depth, self.world.moving[keep].astype(np.float32), seconds=0.5)

    def frames_of(self, clip: Clip) -> list[int]:
        """Which frames of the world the pictures are."""
        small = clip.images[:, :: clip.images.shape[1] // 8, :: clip.images.shape[2] // 8].astype(int)
        known = self.world.rgb[:, :: self.world.shape[0] // 8, :: self.world.shape[1] // 8].astype(int)
        rows, columns = min(small.shape[1], known.shape[1]), min(small.shape[2], known.shape[2])
        distance = np.abs(small[:, None, :rows, :columns] - known[None, :, :rows, :columns]).mean((2, 3, 4))
        return distance.argmin(1).tolist()


Writer = Callable[[Path, World], None]
WRITERS: dict[str, tuple[Writer, dict[str, Any]]] = {
    "sintel-pose": (dynamic.sintel, {}),
    "tum-pose": (native.tum, {}),
    "scannet-pose": (static.scannet, {}),
    "sintel-depth": (dynamic.sintel, {}),
    "sintel-depth-14": (dynamic.sintel, {}),
    "kitti-depth": (static.kitti_depth, {}),
    "tum-depth": (native.tum, {}),
    "co3d": (static.co3d_benchmark, {"shortest": 10}),
    "davis": (static.davis, {}),
    "clips": (native.posed_folder, {}),
}


def set_up(name: str, tmp_path: Path, frames: int = FRAMES) -> tuple[World, Benchmark]:
    write, options = WRITERS[name]
    K = None
    if name.startswith("tum"):
        K = np.array([[535.4, 0, 320.1], [0, 539.2, 247.6], [0, 0, 1]])
        world = make_world((480, 640), frames, K)
    else:
        world = make_world(frames=12 if name == "co3d" else frames)
    write(tmp_path / "data", world)
    return world, benchmark(name, **options)


PERFECT = {"ate": 0.0, "rpe_translation": 0.0, "rpe_rotation_deg": 0.0, "abs_rel": 0.0, "delta_1": 1.0, "auc@30": 1.0}
PERFECT |= {
    "j_mean": 1.0,
    "f_mean": 1.0,
    "jf": 1.0,
    "rotation_deg": 0.0,
    "abs_rel_plain": 0.0,
    "focal_relative": 0.0,
    "point_accuracy": 0.0,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_perfect_method_scores_perfectly(name: str, tmp_path: Path) -> None:
    world, bench = set_up(name, tmp_path)
    (result,) = run(bench, [Oracle(world)], tmp_path / "data", tmp_path / "out", keep_going=False)
    known = PERFECT.keys() & result.summary.keys()
    assert known
    for key in known:
        # Depth files and JPEG-less masks are quantised; cameras are exact up to the files' digits.
        assert result.summary[key] == pytest.approx(PERFECT[key], abs=0.02), key
    text = write_report(bench, [result], tmp_path / "out")
    assert "this run" in text and "## Per sequence" in text
    assert (tmp_path / "out/row.tex").read_text().endswith("\\\\\n")


def test_every_benchmark_is_run_here() -> None:
    assert set(BUILDERS) - set(WRITERS) == {"bonn-pose", "bonn-depth", "synthetic"}


@pytest.mark.parametrize("name", ["bonn-pose", "bonn-depth"])
def test_bonn_takes_frames_and_poses_by_position(name: str, tmp_path: Path) -> None:
    world = make_world(frames=34, K=np.array([[542.8, 0, 315.6], [0, 542.6, 237.8], [0, 0, 1]]))
    native.bonn(tmp_path / "data", world)
    bench = benchmark(name)
    plan = bench.plan(bench.dataset(tmp_path / "data"))
    assert [job.frames for job in plan.jobs] == [tuple(range(30, 34))]
    assert len(plan.missing) == 4 and plan.short == {"rgbd_bonn_balloon2": "4 of 110 frames"}
    (result,) = run(bench, [Oracle(world)], tmp_path / "data", tmp_path / "out", keep_going=False)
    assert result.summary.get("ate", 0.0) == pytest.approx(0, abs=1e-4)
    assert not result.complete and "1 of 5 sequences" in write_report(bench, [result], tmp_path / "out")


def test_synthetic(tmp_path: Path) -> None:
    bench = benchmark("synthetic", count=2, frames=4)
    (result,) = run(bench, [NoMotion()], tmp_path, tmp_path / "out", keep_going=False)
    assert list(result.sequences) == ["900000", "900001"]
    assert result.summary["abs_rel"] == pytest.approx(result.summary["constant_abs_rel"], rel=0.02)
    assert result.summary["rotation_deg"] == pytest.approx(result.summary["no_rotation_deg"])


def test_published_rows_stand_beside_ours(tmp_path: Path) -> None:
    world, bench = set_up("sintel-pose", tmp_path)
    (result,) = run(bench, [Oracle(world)], tmp_path / "data", tmp_path / "out")
    text = write_report(bench, [result], tmp_path / "out")
    assert "**oracle (1 of 14 sequences, 1 cut short)**" in text and "cut short: alley_2 (6 of 50 frames)" in text
    assert "| MoRe " in text and "0.147" in text and "oracle: not on disk: ambush_4" in text


def test_predictions_are_cached_and_resumed(tmp_path: Path) -> None:
    world, bench = set_up("sintel-pose", tmp_path)
    method = Oracle(world)
    first = run(bench, [method], tmp_path / "data", tmp_path / "out")
    second = run(bench, [method], tmp_path / "data", tmp_path / "out")
    assert method.calls == 1
    assert first[0].summary == second[0].summary
    other = Oracle(world, name="oracle")
    other.describe = lambda: {"name": "oracle", "weights": "newer"}  # type: ignore[method-assign]
    run(bench, [other], tmp_path / "data", tmp_path / "out")
    assert other.calls == 1  # the cache belongs to other weights


def two_sequences(tmp_path: Path) -> World:
    world = make_world(frames=4)
    dynamic.sintel(tmp_path / "data", world)
    for kind in ("final", "depth", "camdata_left", "flow"):
        folder = tmp_path / "data/training" / kind
        (folder / "alley_2").rename(folder / "temple_3")
    dynamic.sintel(tmp_path / "data", world)
    return world


def test_failures_are_counted_with_their_reason(tmp_path: Path) -> None:
    world = two_sequences(tmp_path)
    bench = benchmark("sintel-pose")
    method = Oracle(world, fail_on="temple")
    (result,) = run(bench, [method], tmp_path / "data", tmp_path / "out")
    assert result.failures == {"temple_3": "CUDA out of memory"}
    assert list(result.sequences) == ["alley_2"]
    stored = json.loads((tmp_path / "out/oracle/results.json").read_text())
    assert stored["failures"] == result.failures and stored["expected"] == 14 and not stored["complete"]
    with pytest.raises(DataError, match=r"again failed on temple_3: CUDA out of memory \(--keep-going counts it"):
        run(bench, [Oracle(world, "again", fail_on="temple")], tmp_path / "data", tmp_path / "out", keep_going=False)


def test_damaged_data_is_a_failure_of_the_sequence(tmp_path: Path) -> None:
    world = two_sequences(tmp_path)
    (tmp_path / "data/training/final/temple_3/frame_0002.png").write_bytes(b"")
    (result,) = run(benchmark("sintel-pose"), [Oracle(world)], tmp_path / "data", tmp_path / "out")
    assert "frame_0002.png" in result.failures["temple_3"]


def test_nan_predictions_are_a_failure(tmp_path: Path) -> None:
    world, bench = set_up("sintel-pose", tmp_path)
    world.world_from_cam[2, 0, 3] = np.nan
    with pytest.raises(DataError, match=r"failed on all 1 sequences.*frame 2 is not finite"):
        run(bench, [Oracle(world)], tmp_path / "data", tmp_path / "out")


def test_shards_add_up(tmp_path: Path) -> None:
    world = two_sequences(tmp_path)
    bench, method = benchmark("sintel-pose"), Oracle(world)
    assert run(bench, [method], tmp_path / "data", tmp_path / "out", shard=Shard(1, 3)) == []
    assert run(bench, [method], tmp_path / "data", tmp_path / "out", shard=Shard(0, 3)) == []
    (whole,) = run(bench, [method], tmp_path / "data", tmp_path / "out", shard=Shard(2, 3))  # nothing left for it
    assert list(whole.sequences) == ["alley_2", "temple_3"] and method.calls == 2
    alone = json.loads((tmp_path / "out/oracle/results.json").read_text())
    (again,) = run(bench, [method], tmp_path / "data", tmp_path / "out")
    assert again.summary == alone["summary"] and method.calls == 2
    other = Oracle(world, "oracle")
    other.describe = lambda: {"name": "oracle", "weights": "newer"}  # type: ignore[method-assign]
    assert run(bench, [other], tmp_path / "data", tmp_path / "out", shard=Shard(0, 3)) == []  # parts of older weights


def test_parts_of_another_run_are_not_joined(tmp_path: Path) -> None:
    out, method = tmp_path / "out", NoMotion()
    small, longer, more = (benchmark("synthetic", count=c, frames=f) for c, f in ((2, 2), (2, 3), (3, 2)))
    for i in range(2):
        run(small, [method], tmp_path, out, shard=Shard(i, 2))
    for other in (longer, more):
        assert run(other, [method], tmp_path, out, shard=Shard(0, 2)) == []
    (whole,) = run(more, [method], tmp_path, out, shard=Shard(1, 2))
    assert whole.complete and list(whole.sequences) == ["900000", "900001", "900002"]


def test_other_data_and_other_settings_are_another_run(tmp_path: Path) -> None:
    def measured(bench: Benchmark, root: Path) -> str:
        dataset = bench.dataset(root)
        return what_is_measured(bench, dataset, bench.plan(dataset), root)

    native.posed_folder(tmp_path / "a", make_world(frames=3))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one = measured(benchmark("clips"), tmp_path / "a")
    assert one == measured(benchmark("clips"), tmp_path / "a") != measured(benchmark("clips"), tmp_path / "b")
    assert one != measured(benchmark("clips"), Path(f"{tmp_path}/a?depth_scale=1"))
    dynamic.sintel(tmp_path / "s", make_world(frames=3))
    two = measured(benchmark("sintel-depth"), tmp_path / "s")  # holds functions, whose addresses must not count
    assert two == measured(benchmark("sintel-depth"), tmp_path / "s")
    assert two != measured(benchmark("sintel-depth", slow=True), tmp_path / "s")


def test_a_sequence_that_no_part_knows_of_is_a_failure(tmp_path: Path) -> None:
    world = two_sequences(tmp_path)
    run(benchmark("sintel-pose"), [Oracle(world)], tmp_path / "data", tmp_path / "out", shard=Shard(0, 2))
    path = tmp_path / "out/oracle/parts/0of2.json"
    part = json.loads(path.read_text())
    path.write_text(json.dumps({**part, "rows": {}}))
    (result,) = run(benchmark("sintel-pose"), [Oracle(world)], tmp_path / "data", tmp_path / "out", shard=Shard(1, 2))
    assert result.failures == {"alley_2": "no shard left a result"} and result.expected == 14 and not result.complete


def test_names_of_every_script_are_files_of_their_own() -> None:
    assert slug("small full +geometry") == "small-full-geometry" and slug("apple/110") == "apple-110"
    names = ["кот", "пёс", "猫", "cafe", "café", "हिन्दी", "हनद", "★", "☆"]
    assert len({slug(name) for name in names}) == len(names) and slug("кот") == "кот"
    assert slug("cafe\u0301") == slug("caf\u00e9")


def test_summaries_that_need_raw_material_survive_sharding(tmp_path: Path) -> None:
    for name in ("co3d", "davis"):
        world, bench = set_up(name, tmp_path / name)
        for i in range(2):
            results = run(bench, [Oracle(world)], tmp_path / name / "data", tmp_path / name / "out", shard=Shard(i, 2))
        (whole,) = run(bench, [Oracle(world)], tmp_path / name / "data", tmp_path / name / "whole")
        assert results[0].summary == whole.summary


def test_davis_scores_snapped_masks_under_their_own_name(tmp_path: Path) -> None:
    world, _ = set_up("davis", tmp_path)
    bench = benchmark("davis", snap="guided")
    (result,) = run(bench, [Oracle(world)], tmp_path / "data", tmp_path / "out", keep_going=False)
    assert result.summary["j_mean"] == 1.0 and 0.3 < result.summary["guided/j_mean"] <= 1.0
    assert "| guided " in write_report(bench, [result], tmp_path / "out")
    with pytest.raises(ConfigError, match="choose one of"):
        run(benchmark("davis", snap="magic"), [Oracle(world)], tmp_path / "data", tmp_path / "out")


def test_torchrun_sets_shard_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_environment() == WHOLE and local_device("cuda") == "cuda"
    for key, value in (("RANK", "5"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "8")):
        monkeypatch.setenv(key, value)
    assert of_environment() == Shard(5, 8)
    assert local_device("cuda") == "cuda:1" and local_device("cpu") == "cpu" and local_device("cuda:3") == "cuda:3"


KILLED = """
import os, signal, sys
from pathlib import Path
from openmore.evaluation.baselines import NoMotion
from openmore.evaluation.protocols.registry import benchmark
from openmore.evaluation.suite import run

class Dies(NoMotion):
    def predict(self, clip):
        if "temple" in clip.name:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(clip)

run(benchmark("sintel-depth-14"), [Dies()], Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    two_sequences(tmp_path)
    words = [sys.executable, "-c", KILLED, str(tmp_path / "data"), str(tmp_path / "out")]
    assert subprocess.run(words, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert [p.name for p in (tmp_path / "out/no-motion/predictions").iterdir()] == ["alley_2.npz"]

    class Counting(NoMotion):
        seen: list[str] = []  # noqa: RUF012

        def predict(self, clip: Clip) -> Prediction:
            self.seen.append(clip.name)
            return super().predict(clip)

    (result,) = run(benchmark("sintel-depth-14"), [Counting()], tmp_path / "data", tmp_path / "out")
    assert Counting.seen == ["temple_3"] and len(result.sequences) == 2


@pytest.mark.slow
def test_ray_shards_equal_one_run(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    two_sequences(tmp_path)
    bench = benchmark("sintel-depth-14")
    ray.init(num_cpus=2, logging_level=40)
    try:
        (result,) = run_on_ray(bench, [NoMotion], tmp_path / "data", tmp_path / "out", 2)
        with pytest.raises(DataError, match="shard 0 of 1 failed: "):
            run_on_ray(bench, [NoMotion], tmp_path / "nowhere", tmp_path / "out", 1)
    finally:
        ray.shutdown()
    assert {p.name for p in (tmp_path / "out/no-motion/parts").iterdir()} == {"0of2.json", "1of2.json"}
    (alone,) = run(bench, [NoMotion()], tmp_path / "data", tmp_path / "alone")
    assert result.summary == alone.summary


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match="ray"):
        run_on_ray(benchmark("sintel-pose"), [NoMotion], tmp_path, tmp_path / "out", 2)


def test_other_pictures_under_the_same_name_are_predicted_again(tmp_path: Path) -> None:
    world, bench = set_up("clips", tmp_path)
    method = Oracle(world)
    run(bench, [method], tmp_path / "data", tmp_path / "out")
    other = World(255 - world.rgb, world.depth, world.moving, world.world_from_cam, world.K)
    native.posed_folder(tmp_path / "data", other)
    run(bench, [method], tmp_path / "data", tmp_path / "out")
    assert method.calls == 2


def test_a_scene_whose_every_pose_is_lost(tmp_path: Path) -> None:
    world = make_world(frames=6)
    static.scannet(tmp_path / "data", world)
    broken = tmp_path / "data/scans/scene0708_00"
    shutil.copytree(tmp_path / "data/scans/scene0707_00", broken)
    for path in (broken / "pose").iterdir():
        path.write_text("-inf -inf -inf -inf\n" * 4)
    bench = benchmark("scannet-pose")
    with pytest.raises(DataError, match=r"scene0708_00 has no usable frame .*lost tracking"):
        run(bench, [NoMotion()], tmp_path / "data", tmp_path / "out", keep_going=False)
    (result,) = run(bench, [Oracle(world)], tmp_path / "data", tmp_path / "out")
    assert "lost tracking" in result.failures["scene0708_00"] and list(result.sequences) == ["scene0707_00"]
    assert result.expected == 100


def test_a_method_that_stands_still_cannot_be_aligned(tmp_path: Path) -> None:
    _, bench = set_up("sintel-pose", tmp_path)
    with pytest.raises(DataError, match=r"no motion failed on alley_2: the estimate camera hardly moves"):
        run(bench, [NoMotion()], tmp_path / "data", tmp_path / "out", keep_going=False)


def test_a_sequence_of_one_frame_is_too_short(tmp_path: Path) -> None:
    _, bench = set_up("sintel-pose", tmp_path, frames=1)
    with pytest.raises(DataError, match=r"alley_2 has 1 frames of the benchmark, expected at least 2"):
        run(bench, [NoMotion()], tmp_path / "data", tmp_path / "out")


def test_short_and_far_sequences_leave_co3d_by_its_own_rules(tmp_path: Path) -> None:
    world = make_world(frames=12)
    static.co3d_benchmark(tmp_path / "data", world)
    path = tmp_path / "data/apple_test.jgz"
    (entries,) = json.loads(gzip.decompress(path.read_bytes())).values()
    far = [{**entry, "T": [2e5, 0.0, 0.0]} for entry in entries]
    path.write_bytes(gzip.compress(json.dumps({"good": entries, "short": entries[:9], "far": far}).encode()))
    bench = benchmark("co3d", shortest=10)
    plan = bench.plan(bench.dataset(tmp_path / "data"))
    assert [job.sequence for job in plan.jobs] == ["apple/good"]
    assert len(set(plan.jobs[0].frames)) == 10
    assert "2 sequences left out" in bench.note
    path.write_bytes(gzip.compress(b"{}"))
    with pytest.raises(DataError, match="none of the sequences of co3d"):
        run(bench, [NoMotion()], tmp_path / "data", tmp_path / "out")


def office(tmp_path: Path) -> Path:
    """A clip whose 16-bit depth does not say its scale (it is 5000), with frames nobody labelled."""
    world = make_world(frames=3)
    native.posed_folder(tmp_path / "data", world)
    clip = (tmp_path / "data/tum_clip").rename(tmp_path / "data/office")
    (clip / "mask").rename(clip / "motion")
    for i, moving in enumerate(world.moving):
        labels = moving.astype(np.uint8) if i == 1 else np.full(moving.shape, 255, np.uint8)
        native.write_image(clip / f"motion/{i:06d}.png", labels)
    return clip


def test_reader_options_stand_behind_the_folder(tmp_path: Path) -> None:
    office(tmp_path)
    world = make_world(frames=3)
    with pytest.raises(ConfigError, match=r"give depth_scale, as in '.*data\?depth_scale=1000'"):
        run(benchmark("clips"), [Oracle(world)], tmp_path / "data", tmp_path / "out", keep_going=False)
    data = Path(f"{tmp_path}/data?depth_scale=5000")
    (result,) = run(benchmark("clips"), [Oracle(world)], data, tmp_path / "out", keep_going=False)
    assert result.summary["abs_rel"] == pytest.approx(0, abs=0.02)


def test_frames_without_a_label_are_no_success(tmp_path: Path) -> None:
    clip = office(tmp_path)
    data = Path(f"{tmp_path}/data?depth_scale=5000")

    class Static(Oracle):
        def predict(self, clip: Clip) -> Prediction:
            return Prediction(motion=np.zeros((len(clip.images), *self.world.shape), np.float32))

    (result,) = run(benchmark("clips"), [Static(make_world(frames=3))], data, tmp_path / "out", keep_going=False)
    assert result.summary["jf"] == 0
    shutil.copy(clip / "motion/000000.png", clip / "motion/000001.png")
    (result,) = run(benchmark("clips"), [Static(make_world(frames=3))], data, tmp_path / "out", keep_going=False)
    assert "jf" not in result.summary


def test_no_data_at_all(tmp_path: Path) -> None:
    native.tum(tmp_path / "data", make_world((48, 64), 2))
    (tmp_path / "data/rgbd_dataset_freiburg3_walking_xyz").rename(tmp_path / "data/rgbd_dataset_freiburg1_desk")
    with pytest.raises(DataError, match="none of the sequences of tum-pose"):
        run(benchmark("tum-pose"), [NoMotion()], tmp_path / "data", tmp_path / "out")


def test_compare_names_the_sequence_that_moved(tmp_path: Path) -> None:
    world = two_sequences(tmp_path)
    bench = benchmark("sintel-pose")
    run(bench, [Oracle(world, "a"), Oracle(world, "b", fail_on="temple")], tmp_path / "data", tmp_path / "out")
    path = tmp_path / "out/b/results.json"
    stored = json.loads(path.read_text())
    stored["sequences"]["alley_2"]["rpe_rotation_deg"] = 5.0
    path.write_text(json.dumps(stored))
    result = compare(tmp_path / "out/a", tmp_path / "out/b")
    assert (result.changes[0].sequence, result.changes[0].metric, result.changes[0].b) == (
        "alley_2", "rpe_rotation_deg", 5.0,
    )  # fmt: skip
    assert result.only_a == ["temple_3"] and result.only_b == []
    with pytest.raises(DataError, match="cannot be read as a result"):
        compare(tmp_path / "nowhere", tmp_path / "out/b")
