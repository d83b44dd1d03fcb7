"""Every benchmark from miniature to table with a fake method; failures, caching, shards, comparison."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openmore.errors import DataError
from openmore.evaluation.baselines import NoMotion
from openmore.evaluation.compare import compare
from openmore.evaluation.prediction import Clip, Prediction
from openmore.evaluation.protocols.base import Benchmark
from openmore.evaluation.protocols.registry import BUILDERS, benchmark
from openmore.evaluation.report import write_report
from openmore.evaluation.suite import run
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
PERFECT |= {"j_mean": 1.0, "f_mean": 1.0, "jf": 1.0, "rotation_deg": 0.0, "abs_rel_plain": 0.0, "focal_relative": 0.0}


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
    jobs, missing = bench.jobs(bench.dataset(tmp_path / "data"))
    assert [job.frames for job in jobs] == [tuple(range(30, 34))]
    assert len(missing) == 4
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
    assert "**oracle (1 of 14 sequences)**" in text
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
    with pytest.raises(RuntimeError, match="out of memory"):
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
    for i in range(2):
        (part,) = run(bench, [method], tmp_path / "data", tmp_path / "out", shard=(i, 2))
        assert len(part.sequences) == 1
    (whole,) = run(bench, [method], tmp_path / "data", tmp_path / "out")
    assert len(whole.sequences) == 2 and method.calls == 2


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
