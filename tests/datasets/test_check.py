"""`openmore data check`: silent on sound data, a sentence for each thing that is wrong, and a picture."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from openmore.cli.main import main
from openmore.data.datasets.posed_folder import PosedFolder
from openmore.data.datasets.registry import open_dataset
from openmore.data.sample import Sample
from openmore.evaluation.dataset_check import check_dataset, picture
from openmore.evaluation.poses import invert
from tests.datasets.miniatures import dynamic, static
from tests.datasets.miniatures.world import World, make_world


class Inverted(PosedFolder):
    """The same clip read with the wrong camera convention."""

    def load(self, sequence: str, frame_ids: list[int]) -> Sample:  # type: ignore[override]
        sample = super().load(sequence, frame_ids)
        sample.world_from_cam = invert(sample.world_from_cam)
        return sample


def test_a_sound_clip_passes(clips: Path) -> None:
    (check,) = check_dataset(PosedFolder(clips / "hololens_office_a"), pairs=2)
    assert check.problems == []
    assert check.frames == 60 and check.depth_share > 0.4
    assert check.median("reprojection_px") < 2 < check.median("displacement_px")
    sheet = picture([check])
    assert sheet.shape[1] == 4 * 360 and sheet.dtype == np.uint8


def test_inverted_cameras_are_noticed(clips: Path) -> None:
    (check,) = check_dataset(Inverted(clips / "hololens_office_a"), pairs=2)
    assert any("INVERTED" in problem for problem in check.problems)
    assert any("static pixels land" in problem for problem in check.problems)


def test_a_wrong_depth_scale_is_noticed(clips: Path) -> None:
    (check,) = check_dataset(PosedFolder(clips / "hololens_office_a", depth_scale=5000), pairs=2)
    assert [problem for problem in check.problems if "depth scale" in problem]


def test_pictures_without_texture_are_not_judged(tmp_path: Path) -> None:
    static.scannet(tmp_path, make_world((24, 32), frames=3))
    (check,) = check_dataset(open_dataset("scannet", tmp_path), pairs=1)
    assert check.problems == [] and np.isnan(check.median("sampson_px"))
    assert check.motion_share == {"static": 1.0, "moving": 0.0, "unknown": 0.0}


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["data", *map(str, args)])
    return int(stop.value.code or 0)


def test_command_on_a_sound_download(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    static.scannet(tmp_path / "scannet", make_world(frames=3))
    assert run("check", "scannet", tmp_path / "scannet", "-o", tmp_path / "sheet.png") == 0
    out = capsys.readouterr().out
    assert "scene0707_00: 3 frames, dropped {'lost tracking (pose not finite)': 1}" in out
    assert Image.open(tmp_path / "sheet.png").size[0] == 4 * 360


def test_command_on_half_a_download(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    static.scannet(tmp_path / "scannet", make_world(frames=3))
    for path in (tmp_path / "scannet/scans/scene0707_00/depth").glob("*.png"):
        path.unlink()
    assert run("check", "scannet", tmp_path / "scannet", "--json") == 2
    captured = capsys.readouterr()
    assert "is missing" in json.loads(captured.out)["checks"][0]["problems"][0]
    assert "problem(s) found" in captured.err


def textured(frames: int = 2) -> World:
    """A world whose pictures have corners to match: exact flow of a wall seen by a sliding camera."""
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8), (360, 240), interpolation=cv2.INTER_CUBIC)
    rgb = np.stack([wall[:, 6 * i : 6 * i + 320] for i in range(frames)])
    K = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 0, 3] = np.arange(frames) * 6 * 5 / 300  # 6 px per frame at 5 m
    return World(rgb, np.full((frames, 240, 320), 5.0), np.zeros((frames, 240, 320), bool), poses, K)


def test_flow_is_judged_by_matches(tmp_path: Path) -> None:
    dynamic.sintel(tmp_path, textured())
    dataset = open_dataset("sintel", tmp_path)
    (check,) = check_dataset(dataset, pairs=1)
    assert check.problems == [] and check.median("flow_px") < 0.5
    path = tmp_path / "training/flow/alley_2/frame_0001.flo"
    data = path.read_bytes()
    values = np.frombuffer(data[12:], "<f4").reshape(-1, 2)[:, ::-1]  # u and v exchanged
    path.write_bytes(data[:12] + values.tobytes())
    (check,) = check_dataset(dataset, pairs=1)
    assert any("channels, sign or scale" in problem for problem in check.problems)


def test_command_says_what_was_recalled_and_what_the_download_should_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dynamic.vkitti2(tmp_path, make_world())
    assert run("check", "vkitti2", tmp_path) == 0
    out = capsys.readouterr().out
    assert "1 sequences, the whole download has 50" in out and "officially 1242x375" in out
    assert "recalled, not verified: isMoving in bbox.txt" in out and "wrong if" in out
    dynamic.dynamic_replica(tmp_path / "replica", make_world())
    assert run("check", "dynamic_replica", tmp_path / "replica", "--set", "flow=true", "--set", "split=train") == 0
    assert run("check", "dynamic_replica", tmp_path / "replica", "--set", "flow") == 2
    assert run("check", "dynamic_replica", tmp_path / "replica", "--set", "colour=1") == 2


def test_list_names_use_and_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("sintel") and "evaluate" in line for line in lines)
