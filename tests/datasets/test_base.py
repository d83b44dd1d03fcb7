"""What all readers share: laziness, dropped frames, order, and one line for every way a download can be broken."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from openmore.data.datasets import decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels
from openmore.data.datasets.omniworld import decode_depth
from openmore.data.datasets.protobuf import packed_varints
from openmore.data.datasets.registry import REGISTRY, open_dataset
from openmore.data.sample_folder import write_sample
from openmore.errors import ConfigError, DataError
from tests.datasets.miniatures import dynamic, native, static
from tests.datasets.miniatures.world import make_world


class Counting(FrameDataset):
    """Ten frames; remembers which were decoded."""

    name = "counting"

    def __init__(self, root: Path, **options: int):
        super().__init__(root, **options)
        self.decoded: list[int] = []

    def names(self) -> list[str]:
        return ["a"]

    def read_index(self, sequence: str) -> Index:
        K = np.tile(np.array([[9.0, 0, 4], [0, 9, 4], [0, 0, 1]]), (10, 1, 1))
        poses = np.tile(np.eye(4), (10, 1, 1))
        poses[3] = -np.inf
        index = Index(list(range(10)), np.arange(10) / 10, poses, K)
        return index.without(~np.isfinite(poses).all((1, 2)), "lost tracking")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        self.decoded.append(index.ids[i])
        depth = np.full((8, 8), np.nan)
        depth[0, :3] = (np.inf, -1, 2)
        flow = np.zeros((2, 8, 8), np.float32)
        return Pixels(np.full((8, 8, 3), index.ids[i], np.uint8), depth, flow_forward=flow, flow_backward=flow)


def test_only_the_asked_frames_are_decoded(tmp_path: Path) -> None:
    dataset = Counting(tmp_path)
    sample = dataset.load("a", [7, 5])
    assert dataset.decoded == [7, 5]
    assert sample.images[:, 0, 0, 0].tolist() == [7, 5]
    assert sample.indices is not None and sample.indices.tolist() == [7, 5]
    assert not sample.is_video


def test_threads_keep_the_order(tmp_path: Path) -> None:
    sample = Counting(tmp_path, threads=3).load("a", [4, 5, 6, 7, 8])
    assert sample.images[:, 0, 0, 0].tolist() == [4, 5, 6, 7, 8]
    assert sample.is_video


def test_useless_cameras_are_dropped_and_named(tmp_path: Path) -> None:
    dataset = Counting(tmp_path)
    assert dataset.frame_ids("a") == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    with pytest.raises(DataError, match=r"no usable frame 3.*lost tracking.*1"):
        dataset.load("a", [3])


def test_unknown_depth_becomes_zero(tmp_path: Path) -> None:
    depth = Counting(tmp_path).load("a", [0]).depth[0]
    assert depth[0, 2] == 2
    assert depth.sum() == 2


def test_flow_links_neighbours_only(tmp_path: Path) -> None:
    dataset = Counting(tmp_path)
    together = dataset.load("a", [4, 5, 6])
    assert together.flow_forward is not None and together.flow_backward is not None
    assert np.isnan(together.flow_forward[-1]).all() and np.isfinite(together.flow_forward[:-1]).all()
    assert np.isnan(together.flow_backward[0]).all() and np.isfinite(together.flow_backward[1:]).all()
    assert dataset.load("a", [4, 6]).flow_forward is None


@pytest.mark.parametrize("name", REGISTRY)
def test_an_empty_folder_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        dataset = open_dataset(name, tmp_path)
        for sequence in dataset.names():
            dataset.frame_ids(sequence)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_unknown_names_and_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose one of"):
        open_dataset("imagenet", tmp_path)
    with pytest.raises(ConfigError, match="colour"):
        open_dataset("sintel", tmp_path, colour="red")
    with pytest.raises(DataError, match="not a folder"):
        open_dataset("sintel", tmp_path / "nowhere")


def test_half_a_download_names_the_file(tmp_path: Path) -> None:
    static.scannet(tmp_path, make_world(frames=2))
    (tmp_path / "scans/scene0707_00/depth/1.png").unlink()
    dataset = open_dataset("scannet", tmp_path)
    assert len(dataset.load("scene0707_00", [0])) == 1
    with pytest.raises(DataError, match=r"depth/1\.png is missing"):
        dataset.load("scene0707_00", [0, 1])


def test_lost_tracking_is_counted(tmp_path: Path) -> None:
    static.scannet(tmp_path, make_world(frames=2))
    dataset = open_dataset("scannet", tmp_path)
    assert dataset.index("scene0707_00").dropped == {"lost tracking (pose not finite)": 1}


def test_omniworld_drops_frames_for_their_own_reason(tmp_path: Path) -> None:
    dynamic.omniworld(tmp_path, make_world(frames=2, K=np.array([[60.0, 0, 31], [0, 60, 25], [0, 0, 1]])))
    dataset = open_dataset("omniworld", tmp_path)
    assert dataset.index("b04f88d1f85a/split_0").dropped == {"quaternion off unit length": 1, "no depth": 1}


def test_omniworld_depth_buffer() -> None:
    depth, sky = decode_depth(np.array([[98, 3150, 34280, 65000, 65500, 65501]], np.uint16))
    assert depth[0] == pytest.approx([0, 0.0126, 0.274, 27.1, 163, 0], rel=0.01)
    assert sky[0].tolist() == [False] * 5 + [True]


def test_old_point_odyssey_is_refused(tmp_path: Path) -> None:
    dynamic.point_odyssey(tmp_path, make_world(frames=3))
    (tmp_path / "train/ani10/depths/depth_00002.png").unlink()
    with pytest.raises(DataError, match=r"3 pictures, 2 depths, 3 poses.*version 1\.2"):
        open_dataset("point_odyssey", tmp_path).frame_ids("ani10")


def test_damaged_pictures_and_tags(tmp_path: Path) -> None:
    dynamic.sintel(tmp_path, make_world(frames=2))
    (tmp_path / "training/final/alley_2/frame_0001.png").write_bytes(b"not a picture")
    dataset = open_dataset("sintel", tmp_path)
    with pytest.raises(DataError, match=r"frame_0001\.png cannot be decoded"):
        dataset.load("alley_2", [1])
    (tmp_path / "training/depth/alley_2/frame_0002.dpt").write_bytes(b"\0" * 40)
    with pytest.raises(DataError, match=r"frame_0002\.dpt does not begin with the tag"):
        dataset.load("alley_2", [2])


def test_posed_folder_refusals(tmp_path: Path) -> None:
    native.posed_folder(tmp_path, make_world(frames=2))
    clip = tmp_path / "tum_clip"
    other = clip.rename(tmp_path / "office")
    with pytest.raises(ConfigError, match="does not say its scale"):
        open_dataset("posed_folder", tmp_path).load("office", [0])
    assert open_dataset("posed_folder", tmp_path, depth_scale=5000).load("office", [0]).depth.max() > 1
    (other / "intrinsics.txt").write_text("50 50 32 24 640 480\n")
    with pytest.raises(DataError, match=r"is for 640x480 pixels but 000000\.png is 64x48"):
        open_dataset("posed_folder", tmp_path, depth_scale=5000).load("office", [0])
    (other / "intrinsics.txt").unlink()
    with pytest.raises(DataError, match=r"no intrinsics\.txt"):
        open_dataset("posed_folder", tmp_path, depth_scale=5000).load("office", [0])
    guessed = open_dataset("posed_folder", tmp_path, depth_scale=5000, fill_missing=True)
    assert "intrinsics" not in guessed.truth("office")
    assert guessed.load("office", [0]).K[0, 0, 0] == pytest.approx(32 / np.tan(np.radians(27.5)))


def test_options_stand_behind_the_folder(tmp_path: Path) -> None:
    native.posed_folder(tmp_path / "what?", make_world(frames=2))
    assert open_dataset("posed_folder", tmp_path / "what?").names() == ["tum_clip"]
    read = open_dataset("posed_folder", f"{tmp_path}/what??depth_scale=1e3&fill_missing=true")
    assert vars(read) | {"depth_scale": 1000.0, "fill_missing": True, "root": tmp_path / "what?"} == vars(read)
    for words, says in (
        ("depth_scale", "reader option 'depth_scale' is not NAME=VALUE"),
        ("depth_scale=mm", "depth_scale='mm' is no number"),
        ("depth=1000", "unexpected keyword argument 'depth'"),
    ):
        with pytest.raises(ConfigError, match=says):
            open_dataset("posed_folder", f"{tmp_path}/what??{words}")


def test_the_folder_one_stands_in_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native.posed_folder(tmp_path, make_world(frames=2))
    monkeypatch.chdir(tmp_path / "tum_clip/rgb")
    for root in ("..", "../../tum_clip", "../rgb/.."):
        assert open_dataset("posed_folder", root).names() == ["tum_clip"]
    monkeypatch.chdir(tmp_path / "tum_clip")
    dataset = open_dataset("posed_folder", ".")
    assert dataset.names() == ["tum_clip"] and dataset.load("tum_clip", [0]).name == "posed_folder/tum_clip"


def test_a_written_sample_is_a_posed_folder(tmp_path: Path) -> None:
    native.posed_folder(tmp_path / "in", make_world(frames=3))
    sample = open_dataset("posed_folder", tmp_path / "in").load("tum_clip", [0, 1, 2])
    assert sample.motion is not None
    sample.motion[0, 0, 0] = 255
    write_sample(sample, tmp_path / "out")
    back = open_dataset("posed_folder", tmp_path / "out")
    again = back.load("out", [0, 1, 2])
    assert back.truth("out")["motion"] == "true"
    assert (again.motion == sample.motion).all() and (again.images == sample.images).all()
    assert again.depth == pytest.approx(sample.depth)
    assert again.world_from_cam == pytest.approx(sample.world_from_cam, abs=1e-6)


def test_real_clips_load(clips: Path) -> None:
    dataset = open_dataset("posed_folder", clips, fill_missing=True)
    assert len(dataset) > 5
    sample = dataset.load("tum_fr1_rpy_a", [0, 10])
    assert sample.shape == (480, 640)
    assert 0.3 < np.median(sample.depth[sample.depth > 0]) < 3  # metres in an office
    assert dataset.truth("kitti06_000_024") == {"cameras": "true", "intrinsics": "true", "depth": "pseudo"}


def test_empty_annotations(tmp_path: Path) -> None:
    (tmp_path / "camera").mkdir()
    folder = tmp_path / "scene/camera"
    folder.mkdir(parents=True)
    (folder / "split_0.json").write_text(json.dumps({"quats": [], "trans": [], "focals": [], "cx": 1, "cy": 1}))
    (tmp_path / "scene/split_info.json").write_text(json.dumps({"split": [[0, 1]]}))
    with pytest.raises(DataError, match="0 cameras for 2 frames"):
        open_dataset("omniworld", tmp_path).frame_ids("scene/split_0")


def test_co3d_annotations_that_are_empty_or_of_another_layout(tmp_path: Path) -> None:
    static.co3d(tmp_path, make_world(frames=2))
    path = tmp_path / "apple/frame_annotations.jgz"
    entries = json.loads(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(b"[]"))
    with pytest.raises(DataError, match=r"frame_annotations\.jgz has no usable frame of sequence 110_13051_23361"):
        open_dataset("co3d", tmp_path).frame_ids("apple/110_13051_23361")
    entries[1]["image"]["path"] = "apple/110_13051_23361/rgb/frame000002.jpg"
    path.write_bytes(gzip.compress(json.dumps(entries).encode()))
    with pytest.raises(DataError, match="a picture is called"):
        open_dataset("co3d", tmp_path).frame_ids("apple/110_13051_23361")
    path.write_bytes(gzip.compress(json.dumps(entries).encode())[:-20])
    with pytest.raises(DataError, match="download it again"):
        open_dataset("co3d", tmp_path).frame_ids("apple/110_13051_23361")


def test_packed_varints() -> None:
    values = [0, 1, 127, 128, 300, 2**31 - 1, -1, -(2**31)]
    assert packed_varints(b"".join(dynamic.varint(v) for v in values)).tolist() == values


def test_npz_rows_without_the_rest(tmp_path: Path) -> None:
    values = np.arange(60).reshape(10, 2, 3).astype(np.float32)
    np.savez(tmp_path / "stored.npz", values=values)
    np.savez_compressed(tmp_path / "packed.npz", values=values)
    for name in ("stored", "packed"):
        assert (decode.read_npz_rows(tmp_path / f"{name}.npz", "values", 4, 99) == values[4:]).all()
    with pytest.raises(DataError, match="no readable array 'other'"):
        decode.read_npz_rows(tmp_path / "stored.npz", "other", 0, 1)
