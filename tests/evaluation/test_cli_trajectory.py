"""`openmore evaluate trajectory`: real files, JSON, and one line for everything that can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from openmore.cli.main import main
from openmore.io.trajectories import Trajectory, write_tum


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "trajectory", *map(str, args)])
    return int(stop.value.code or 0)


def wave(count: int = 30, start_s: float = 0.0) -> Trajectory:
    poses = np.tile(np.eye(4), (count, 1, 1))
    at = np.arange(count) / 10
    poses[:, :3, 3] = np.stack((np.sin(at), np.cos(2 * at), at), -1)
    return Trajectory(start_s + at, poses)


def test_real_trajectories_as_json(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = clips / "trajectories_evo"
    assert run(folder / "KITTI_00_ORB.txt", folder / "KITTI_00_gt.txt", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ate"] == pytest.approx(0.822468, abs=1e-6)
    assert result["frames"] == 2270


def test_rigid_alignment_of_real_tum_files(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = clips / "trajectories_evo"
    assert run(folder / "fr2_desk_ORB.txt", folder / "fr2_desk_groundtruth.txt", "--no-scale") == 0
    out = capsys.readouterr().out
    assert "ATE    0.0081" in out
    assert "se3" in out


def test_same_file_twice_prints_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tum(tmp_path / "a.txt", wave())
    assert run(tmp_path / "a.txt", tmp_path / "a.txt") == 0
    assert "ATE    0.000000" in capsys.readouterr().out


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    err = capsys.readouterr().err.strip()
    assert "\n" not in err
    return err


def test_no_overlap_in_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tum(tmp_path / "a.txt", wave())
    write_tum(tmp_path / "b.txt", wave(start_s=1000))
    assert run(tmp_path / "a.txt", tmp_path / "b.txt") == 2
    assert "0 time stamp(s) agree" in one_line(capsys)
    assert run(tmp_path / "a.txt", tmp_path / "b.txt", "--by-order") == 0


def test_a_still_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moving = wave()
    write_tum(tmp_path / "a.txt", moving)
    write_tum(tmp_path / "still.txt", Trajectory(moving.times_s, np.tile(np.eye(4), (30, 1, 1))))
    assert run(tmp_path / "a.txt", tmp_path / "still.txt") == 2
    assert "ground truth camera hardly moves" in one_line(capsys)


def test_a_nan_row_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tum(tmp_path / "a.txt", wave())
    lines = (tmp_path / "a.txt").read_text().splitlines()
    lines[5] = "0.4 nan 0 0 0 0 0 1"
    (tmp_path / "b.txt").write_text("\n".join(lines))
    assert run(tmp_path / "b.txt", tmp_path / "a.txt") == 2
    assert "b.txt, line 6" in one_line(capsys)


def test_unknown_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a.txt", "b.txt", "--format", "ros") == 2
    assert "tum, kitti, euroc" in one_line(capsys)


def test_unsorted_rows_are_sorted_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_tum(tmp_path / "a.txt", wave())
    head, *rows = (tmp_path / "a.txt").read_text().splitlines()
    shuffled = np.random.default_rng(0).permutation(rows)
    (tmp_path / "b.txt").write_text("\n".join([head, *shuffled]))
    assert run(tmp_path / "b.txt", tmp_path / "a.txt", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == 30 and result["rpe_rotation_deg"] == pytest.approx(0, abs=1e-9)
    assert "b.txt: rows are not in the order of their times" in caplog.text


def kitti_rows(path: Path, poses: np.ndarray) -> None:
    np.savetxt(path, poses[:, :3].reshape(-1, 12), fmt="%.9e")


def test_kitti_files_match_row_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poses = wave().world_from_cam
    kitti_rows(tmp_path / "a.txt", poses)
    kitti_rows(tmp_path / "short.txt", poses[:20])
    write_tum(tmp_path / "tum.txt", wave())
    assert run(tmp_path / "a.txt", tmp_path / "a.txt", "--format", "kitti") == 0
    capsys.readouterr()
    assert run(tmp_path / "short.txt", tmp_path / "a.txt") == 2
    assert "estimate has 20 rows and ground truth 30" in one_line(capsys)
    assert run(tmp_path / "a.txt", tmp_path / "tum.txt") == 2
    assert "the estimate has no times" in one_line(capsys)
    np.savetxt(tmp_path / "times.txt", wave().times_s)
    assert run(tmp_path / "a.txt", tmp_path / "tum.txt", "--times", tmp_path / "times.txt") == 0
    assert run(tmp_path / "a.txt", tmp_path / "tum.txt", "--by-order") == 0


def test_euroc_truth_with_a_tum_estimate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """evo's euroc mode: ns, w first, further columns; the estimate is TUM text in seconds."""
    turned = wave(start_s=1403636580.0)
    turned.world_from_cam[:, :3, :3] = Rotation.from_euler("xyz", np.arange(90).reshape(30, 3) / 50).as_matrix()
    write_tum(tmp_path / "est.txt", turned)
    quaternion = Rotation.from_matrix(turned.world_from_cam[:, :3, :3]).as_quat()[:, [3, 0, 1, 2]]
    lines = ["#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z [], v"]
    for time, center, wxyz in zip(turned.times_s, turned.centers, quaternion):
        lines.append(",".join([str(round(time * 1e9)), *map(repr, (*center.tolist(), *wxyz.tolist(), 0.5))]))
    (tmp_path / "gt.csv").write_text("\n".join(lines) + "\n")
    for words in (("--format", "euroc"), ()):
        assert run(tmp_path / "est.txt", tmp_path / "gt.csv", "--json", *words) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["frames"] == 30
        assert [result[k] for k in ("ate", "rpe_translation", "rpe_rotation_deg")] == pytest.approx([0] * 3, abs=1e-6)


def evo_on_files(est: Path, ref: Path) -> tuple[list[float], int]:
    from evo.core import metrics, sync
    from evo.tools import file_interface

    reference, estimate = (file_interface.read_tum_trajectory_file(p) for p in (ref, est))
    reference, estimate = sync.associate_trajectories(reference, estimate, max_diff=0.02)
    estimate.align(reference, correct_scale=True)
    relations = metrics.PoseRelation.translation_part, metrics.PoseRelation.rotation_angle_deg
    found = [metrics.APE(relations[0]), *(metrics.RPE(r, 1, metrics.Unit.frames, all_pairs=True) for r in relations)]
    for metric in found:
        metric.process_data((reference, estimate))
    return [m.get_statistic(metrics.StatisticsType.rmse) for m in found], reference.num_poses


@pytest.mark.parametrize("seed", range(20))
def test_random_files_score_as_in_evo(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Irregular clocks, lost frames, jitter around the tolerance, comments: everything two files can differ in."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(20, 120))
    times = np.cumsum(rng.uniform(0.002, 0.06, count))
    R = Rotation.from_rotvec(np.cumsum(rng.normal(0, 0.1, (count, 3)), 0))
    centers = np.cumsum(rng.normal(0, 1, (count, 3)), 0)
    keep = np.sort(rng.choice(count, int(rng.integers(10, count + 1)), replace=False))
    jittered = np.sort(times[keep] + rng.uniform(-0.025, 0.025, len(keep)))
    noisy = R[keep] * Rotation.from_rotvec(rng.normal(0, 0.05, (len(keep), 3)))
    estimate = 3 * centers[keep] + rng.normal(0, 0.1, (len(keep), 3))
    for name, table in (
        ("gt.txt", np.column_stack((times, centers, R.as_quat()))),
        ("est.txt", np.column_stack((jittered, estimate, noisy.as_quat()))),
    ):
        np.savetxt(tmp_path / name, table, fmt="%.9f", header="a comment")
    expected, frames = evo_on_files(tmp_path / "est.txt", tmp_path / "gt.txt")
    assert run(tmp_path / "est.txt", tmp_path / "gt.txt", "--json", "--format", "tum") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == frames
    assert [result[k] for k in ("ate", "rpe_translation", "rpe_rotation_deg")] == pytest.approx(expected, abs=1e-6)


def test_real_tum_files_score_as_in_evo(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = clips / "trajectories_evo"
    expected, frames = evo_on_files(folder / "fr2_desk_ORB.txt", folder / "fr2_desk_groundtruth.txt")
    assert run(folder / "fr2_desk_ORB.txt", folder / "fr2_desk_groundtruth.txt", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == frames
    assert [result[k] for k in ("ate", "rpe_translation", "rpe_rotation_deg")] == pytest.approx(expected, abs=1e-6)
