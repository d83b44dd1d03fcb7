"""`openmore evaluate trajectory`: real files, JSON, and one line for everything that can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

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
