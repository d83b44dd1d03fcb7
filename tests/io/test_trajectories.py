from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from openmore.errors import DataError, InputError
from openmore.io.trajectories import Trajectory, read_trajectory, write_tum


def trajectory(count: int = 5, seed: int = 0) -> Trajectory:
    rng = np.random.default_rng(seed)
    world_from_cam = np.tile(np.eye(4), (count, 1, 1))
    world_from_cam[:, :3, :3] = Rotation.random(count, rng=rng).as_matrix()
    world_from_cam[:, :3, 3] = rng.normal(size=(count, 3)) * 10
    return Trajectory(1e9 + np.cumsum(rng.uniform(0.01, 1, count)), world_from_cam)


def write(path: Path, *lines: str, newline: str = "\n") -> Path:
    path.write_bytes(newline.join(lines).encode())
    return path


def tum_row(t: float, T: np.ndarray) -> str:
    return " ".join(map(str, (t, *T[:3, 3], *Rotation.from_matrix(T[:3, :3]).as_quat())))


def assert_same(a: Trajectory, b: Trajectory, atol: float = 1e-7) -> None:
    np.testing.assert_allclose(a.times_s, b.times_s, rtol=0, atol=1e-6)
    np.testing.assert_allclose(a.world_from_cam, b.world_from_cam, atol=atol)


@given(st.integers(1, 20), st.integers(0, 99))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, count: int, seed: int) -> None:
    path = tmp_path_factory.mktemp("tum") / "t.txt"
    write_tum(path, trajectory(count, seed))
    assert_same(read_trajectory(path), trajectory(count, seed))


@given(hnp.arrays(np.float64, (3,), elements=st.floats(-1e12, 1e12)))
def test_no_position_is_too_large_or_small(tmp_path_factory: pytest.TempPathFactory, center: np.ndarray) -> None:
    world_from_cam = np.eye(4)
    world_from_cam[:3, 3] = center
    path = tmp_path_factory.mktemp("tum") / "t.txt"
    write_tum(path, Trajectory(np.array([0.0]), world_from_cam[None]))
    np.testing.assert_allclose(read_trajectory(path).centers[0], center, rtol=1e-9)


def test_tum_in_every_spelling(tmp_path: Path) -> None:
    t = trajectory(4)
    rows = [tum_row(*pair) for pair in zip(t.times_s, t.world_from_cam)]
    path = write(
        tmp_path / "t.txt",
        "\ufefftime tx ty tz qx qy qz qw", "", "# a comment", rows[0], "   ",
        rows[1].replace(" ", ", ") + "  # after the row", rows[2].replace(" ", "\t"), rows[3].replace(" ", ";"), "",
        newline="\r\n",
    )  # fmt: skip
    assert_same(read_trajectory(path), t)
    np.savetxt(tmp_path / "e.txt", read_trajectory(path).times_s, fmt="%.12e")
    assert_same(read_trajectory(path, "tum"), t)


def test_kitti_with_and_without_times(tmp_path: Path) -> None:
    t = trajectory(4)
    np.savetxt(tmp_path / "kitti.txt", t.world_from_cam[:, :3].reshape(-1, 12))
    np.savetxt(tmp_path / "times.txt", t.times_s)
    assert_same(read_trajectory(tmp_path / "kitti.txt", times=tmp_path / "times.txt"), t)
    assert read_trajectory(tmp_path / "kitti.txt").times_s.tolist() == [0, 1, 2, 3]
    np.savetxt(tmp_path / "short.txt", t.times_s[:3])
    with pytest.raises(DataError, match=r"3 x 1 numbers: expected one time for each of the 4 rows"):
        read_trajectory(tmp_path / "kitti.txt", times=tmp_path / "short.txt")


@pytest.mark.parametrize("extra", [0, 9])
def test_euroc_writes_w_first_and_nanoseconds(tmp_path: Path, extra: int) -> None:
    t = trajectory(4)
    lines = ["#timestamp [ns], p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []"]
    for time_s, T in zip(t.times_s, t.world_from_cam):
        x, y, z, w = Rotation.from_matrix(T[:3, :3]).as_quat()
        numbers = (round(time_s * 1e9), *T[:3, 3], w, x, y, z, *[0.5] * extra)
        lines.append(",".join(map(str, numbers)))
    assert_same(read_trajectory(write(tmp_path / "data.csv", *lines)), t)


GOOD = "0 0 0 0 0 0 0 1"


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ((GOOD, "", "1 0 nan 0 0 0 0 1"), r"line 3: a number is NaN"),
        ((GOOD, "1 0 0 0 0 0 1"), r"line 2: 7 numbers where the lines before have 8"),
        ((GOOD, "1 0 0 zero 0 0 0 1"), r"line 2: '1 0 0 zero 0 0 0 1' holds something else than numbers"),
        ((GOOD, "2 0 0 0 0 0 0 1", "1 0 0 0 0 0 0 1"), r"line 3: time 1\.000000 comes before the 2\.0"),
        (("0 0 0 0 0 0 0 0",), r"line 1: the quaternion's length is 0, not 1"),
        (("0 0 0",), r"line 1: 3 numbers per line are no tum trajectory"),
        (("1 0 0 0 0 1 0 0 0 0 -1 0",), r"line 1: its left 3x3 block is no rotation"),
        (("# nothing", ""), r"holds no rows of numbers"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, lines: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_trajectory(write(tmp_path / "t.txt", *lines))


def test_equal_times_are_allowed(tmp_path: Path) -> None:
    assert len(read_trajectory(write(tmp_path / "t.txt", GOOD, GOOD))) == 2


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not exist: did you mean path\.txt"):
        write(tmp_path / "path.txt", GOOD)
        read_trajectory(tmp_path / "pathh.txt")
    with pytest.raises(DataError, match="is a folder"):
        read_trajectory(tmp_path)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="is not text"):
        read_trajectory(tmp_path / "b.txt")
    with pytest.raises(DataError, match="are no kitti trajectory"):
        read_trajectory(tmp_path / "path.txt", "kitti")
    with pytest.raises(DataError, match="choose tum, kitti or euroc"):
        read_trajectory(tmp_path / "path.txt", "ros")  # type: ignore[arg-type]


def test_real_files_agree_with_evo(clips: Path) -> None:
    from evo.tools import file_interface

    folder = clips / "trajectories_evo"
    for name in ("fr2_desk_groundtruth.txt", "fr2_desk_ORB.txt"):
        theirs = file_interface.read_tum_trajectory_file(str(folder / name))
        ours = read_trajectory(folder / name)
        np.testing.assert_array_equal(ours.times_s, theirs.timestamps)
        np.testing.assert_allclose(ours.world_from_cam, theirs.poses_se3, atol=1e-9)
    theirs = file_interface.read_kitti_poses_file(str(folder / "KITTI_00_gt.txt"))
    ours = read_trajectory(folder / "KITTI_00_gt.txt", times=folder / "KITTI_00_gt_times.txt")
    np.testing.assert_array_equal(ours.world_from_cam, theirs.poses_se3)
    assert ours.times_s[1] == pytest.approx(0.1037359)


def test_poses_of_every_real_clip_are_read(clips: Path) -> None:
    files = sorted(clips.glob("*/poses.txt"))
    assert files and all(len(read_trajectory(file)) > 1 for file in files)
