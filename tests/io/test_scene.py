from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmore.errors import DataError, InputError
from openmore.io.colours import LEGEND_HEIGHT
from openmore.io.ply import read_ply, write_ply
from openmore.io.scene import SceneWriter
from openmore.io.trajectories import read_trajectory
from openmore.types import FramePrediction, Reconstruction
from tests.io.disk import largest_file
from tests.scenes import distance_to_static, make_frame, make_scene

SHAPE, ORIGINAL = (24, 32), (48, 64)


@pytest.fixture
def recon() -> Reconstruction:
    scene = make_scene(4, SHAPE, ORIGINAL)
    scene.info.warnings.append("a warning")
    scene.info.skipped.append({"index": 7, "reason": "damaged"})
    scene.info.extra["numbers"] = {"loss": np.float32(0.5), "where": np.arange(3)}
    return scene


@pytest.fixture
def saved(recon: Reconstruction, tmp_path: Path) -> Path:
    return recon.save(tmp_path / "out")


def assert_frames_agree(a: FramePrediction, b: FramePrediction) -> None:
    assert (a.index, a.time_s, a.camera.width, a.camera.height) == (b.index, b.time_s, b.camera.width, b.camera.height)
    np.testing.assert_array_equal(a.camera.world_from_cam, b.camera.world_from_cam)
    np.testing.assert_array_equal(a.camera.K, b.camera.K)
    np.testing.assert_array_equal(a.depth, b.depth)
    np.testing.assert_allclose(a.confidence, b.confidence, rtol=1e-3)
    assert a.motion is not None and b.motion is not None and a.rgb is not None and b.rgb is not None
    np.testing.assert_allclose(a.motion, b.motion, atol=0.5 / 255 + 1e-6)
    assert np.abs(a.rgb.astype(int) - b.rgb).mean() < 6
    assert (b.depth.dtype, b.confidence.dtype, b.motion.dtype, b.rgb.dtype) == (*["float32"] * 3, "uint8")


def test_what_is_saved_is_loaded(recon: Reconstruction, saved: Path) -> None:
    loaded = Reconstruction.load(saved)
    assert len(loaded) == 4 and loaded.path == saved
    for a, b in zip(recon.frames, loaded.frames):
        assert_frames_agree(a, b)
    np.testing.assert_array_equal(loaded.world_from_cam, recon.world_from_cam)
    info = loaded.info
    assert (info.model_shape, info.original_shape, info.source) == (SHAPE, ORIGINAL, "none")
    assert (info.warnings, info.skipped) == (["a warning"], [{"index": 7, "reason": "damaged"}])
    assert info.extra == {"numbers": {"loss": 0.5, "where": [0, 1, 2]}} and "write" in info.timings_s


def test_the_folder_is_the_house_contract(saved: Path) -> None:
    names = sorted(p.relative_to(saved).as_posix() for p in saved.rglob("*") if p.is_file() and "00000" not in p.name)
    assert names == ["cameras.json", "points.ply", "preview.png", "scene.json", "trajectory.txt"]
    per_frame = sorted(p.relative_to(saved).as_posix() for p in saved.rglob("000002.*"))
    assert per_frame == ["confidence/000002.npy", "depth/000002.npy", "motion/000002.png", "rgb/000002.jpg"]
    assert np.load(saved / "confidence" / "000002.npy").dtype == np.float16
    document = json.loads((saved / "scene.json").read_text())
    assert (document["version"], document["frames"]) == (1, 4)
    assert document["original_pixels_per_model_pixel"] == {"x": 2.0, "y": 2.0}


def test_cameras_trajectory_and_cloud_agree(recon: Reconstruction, saved: Path) -> None:
    trajectory = read_trajectory(saved / "trajectory.txt")
    np.testing.assert_allclose(trajectory.world_from_cam, recon.world_from_cam, atol=1e-8)
    assert trajectory.times_s.tolist() == [0, 0.1, 0.2, 0.3]
    cloud = read_ply(saved / "points.ply")
    red = (cloud["red"] > 150) & (cloud["green"] < 100)
    xyz = np.stack([cloud[axis] for axis in "xyz"], -1)
    # The static world lies on the wall and the box; the ball (red) is there once, where frame 2 saw it.
    assert distance_to_static(xyz[~red]).max() < 0.02
    assert 0 < red.sum() < 200 and np.abs(xyz[red, 0] - 0.1).max() < 0.36


def test_frames_are_lazy_and_cameras_need_no_dense_file(saved: Path) -> None:
    loaded = Reconstruction.load(saved)
    for name in ("depth", "rgb"):
        (saved / name / "000001.npy").unlink(missing_ok=True)
    assert len(loaded.cameras) == 4 and loaded.frames[-1].index == 3
    middle = loaded.frames[1:3]
    assert len(middle) == 2 and middle[-1].index == 2
    with pytest.raises(DataError, match=r"depth/000001\.npy is missing"):
        loaded.frames[1]
    with pytest.raises(IndexError):
        loaded.frames[4]


def test_points_and_absent_arrays_survive(tmp_path: Path) -> None:
    scene = make_scene(2, SHAPE, ORIGINAL)
    points = np.random.default_rng(0).normal(size=(*SHAPE, 3)).astype(np.float32)
    scene.frames = [replace(frame, motion=None, rgb=None, points=points) for frame in scene.frames]
    frame = Reconstruction.load(scene.save(tmp_path / "out")).frames[0]
    assert frame.motion is None and frame.rgb is None
    np.testing.assert_array_equal(frame.points, points)


def test_extreme_confidence_fits_half_precision(tmp_path: Path) -> None:
    scene = make_scene(1, SHAPE, ORIGINAL)
    scene.frames = [replace(scene.frames[0], confidence=np.full(SHAPE, 1e9, np.float32))]
    assert np.isfinite(Reconstruction.load(scene.save(tmp_path / "out")).frames[0].confidence).all()


# overwriting


def test_an_existing_folder_needs_overwrite(recon: Reconstruction, saved: Path) -> None:
    with pytest.raises(InputError, match=r"exists already: choose another output or pass --overwrite"):
        recon.save(saved)
    assert len(Reconstruction.load(recon.save(saved, overwrite=True))) == 4


def test_a_scene_may_be_saved_over_itself(saved: Path) -> None:
    loaded = Reconstruction.load(saved)
    loaded.save(saved, overwrite=True)
    assert len(Reconstruction.load(saved)) == 4


@pytest.mark.parametrize("streamed", [False, True])
def test_overwrite_never_deletes_what_is_no_scene(recon: Reconstruction, tmp_path: Path, streamed: bool) -> None:
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a scene folder"):
        SceneWriter(precious, overwrite=True) if streamed else recon.save(precious, overwrite=True)
    assert (precious / "thesis.txt").exists()


# frame by frame


def test_a_stream_is_resumed_after_a_crash(recon: Reconstruction, tmp_path: Path) -> None:
    out = tmp_path / "out"
    writer = SceneWriter(out)
    for frame in recon.frames[:2]:
        writer.write(frame)
    with open(out / "frames.jsonl", "a") as journal:  # the crash: a line that was cut
        journal.write('{"index": 2, "time')
    assert len(Reconstruction.load(out)) == 2
    with pytest.raises(InputError, match="exists already"):
        SceneWriter(out)
    writer = SceneWriter(out, resume=True)
    assert (writer.count, writer.last_index) == (2, 1)
    for frame in recon.frames[2:]:
        writer.write(frame)
    loaded = Reconstruction.load(writer.finish(recon.info))
    assert [frame.index for frame in loaded.frames] == [0, 1, 2, 3] and not (out / "frames.jsonl").exists()
    for a, b in zip(recon.frames, loaded.frames):
        assert_frames_agree(a, b)


def test_what_a_killed_stream_wrote_is_read_and_saved_whole(
    recon: Reconstruction, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = SceneWriter(tmp_path / "out")
    with pytest.raises(DataError, match="unfinished scene without a frame"):
        Reconstruction.load(writer.path)
    for frame in recon.frames[:2]:
        writer.write(frame)
    (writer.path / "depth" / ".000002.npy.a1b2c3d4").write_bytes(b"torn")  # the moment it was killed
    found = Reconstruction.load(writer.path)
    assert "unfinished scene of 2 frames" in caplog.text and caplog.messages[0].endswith(found.info.warnings[0])
    assert (found.info.model_shape, found.info.original_shape, found.info.mode) == (SHAPE, ORIGINAL, "stream")
    found.save(writer.path, overwrite=True)
    whole = Reconstruction.load(writer.path)
    assert len(whole) == 2 and (writer.path / "scene.json").exists() and not (writer.path / "frames.jsonl").exists()
    for a, b in zip(recon.frames, whole.frames):
        assert_frames_agree(a, b)


@pytest.mark.parametrize("name", ["frames.jsonl", "depth/000000.npy"])
def test_a_damaged_unfinished_scene_is_one_line(recon: Reconstruction, tmp_path: Path, name: str) -> None:
    writer = SceneWriter(tmp_path / "out")
    writer.write(recon.frames[0])
    (writer.path / name).write_text("{\n")
    with pytest.raises(DataError, match="out is damaged"):
        Reconstruction.load(writer.path)


def test_frames_of_a_scene_are_alike(recon: Reconstruction, tmp_path: Path) -> None:
    writer = SceneWriter(tmp_path / "out")
    writer.write(recon.frames[0])
    with pytest.raises(DataError, match=r"frame 1 holds .* of \(12, 16\): the scene's frames hold .* of \(24, 32\)"):
        writer.write(make_frame(1, (12, 16), ORIGINAL))
    with pytest.raises(DataError, match="frame 1 holds depth, confidence, rgb"):
        writer.write(replace(recon.frames[1], motion=None))
    lost = replace(recon.frames[1].camera, world_from_cam=np.full((4, 4), np.nan))
    with pytest.raises(DataError, match="camera of frame 1 is not finite"):
        writer.write(replace(recon.frames[1], camera=lost))
    assert writer.count == 1


def test_a_scene_without_frames_is_refused(recon: Reconstruction, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without a frame"):
        SceneWriter(tmp_path / "out").finish(recon.info)


# damaged folders


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_newer_format_is_refused(saved: Path) -> None:
    edit(saved / "scene.json", version=2)
    with pytest.raises(DataError, match="has scene format 2, this openmore reads 1: update openmore"):
        Reconstruction.load(saved)


@pytest.mark.parametrize("version", [0, None, "0.9"])
def test_an_older_format_says_how_to_make_the_scene_again(saved: Path, version: object) -> None:
    edit(saved / "scene.json", version=version, source="clip.mp4")
    with pytest.raises(DataError, match=r"again with: openmore reconstruct clip\.mp4 -o .* --overwrite"):
        Reconstruction.load(saved)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("scene.json", None, r"scene\.json is missing"),
        ("scene.json", b"{", r"scene\.json is damaged"),
        ("scene.json", b'{"format": "other"}', r"does not describe a scene"),
        ("scene.json", b'{"format": "openmore scene", "version": 1}', r"scene\.json is damaged"),
        ("cameras.json", None, r"cameras\.json is missing"),
        ("cameras.json", b"[]", r"cameras\.json holds 0 cameras: scene\.json promises 4"),
        ("cameras.json", b"[1, 2, 3, 4]", r"cameras\.json is damaged"),
        ("cameras.json", b"[{}, {}, {}, {}]", r"cameras\.json is damaged"),
        ("depth/000002.npy", None, r"depth/000002\.npy is missing"),
        ("depth/000002.npy", b"nonsense", r"depth/000002\.npy is damaged"),
        ("depth/000002.npy", b"", r"depth/000002\.npy is damaged"),
        ("motion/000002.png", b"nonsense", r"motion/000002\.png is damaged"),
        ("rgb/000002.jpg", None, r"rgb/000002\.jpg is missing"),
    ],
)
def test_a_missing_or_damaged_file_is_named(saved: Path, name: str, content: bytes | None, complaint: str) -> None:
    (saved / name).unlink() if content is None else (saved / name).write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        Reconstruction.load(saved).frames[2]
    assert "\n" not in str(caught.value)


def test_an_array_of_another_shape_is_named(saved: Path) -> None:
    np.save(saved / "depth" / "000002.npy", np.ones((3, 3), np.float32))
    with pytest.raises(DataError, match=r"depth/000002\.npy has shape \[3, 3\]: scene\.json promises \[24, 32\]"):
        Reconstruction.load(saved).frames[2]


def test_a_missing_folder_offers_near_names(saved: Path) -> None:
    with pytest.raises(InputError, match="did you mean out"):
        Reconstruction.load(saved.parent / "outt")
    with pytest.raises(DataError, match="is not a scene folder"):
        Reconstruction.load(saved.parent)


# a disk that cannot be written


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(recon: Reconstruction, tmp_path: Path) -> None:
    with largest_file(1000), pytest.raises(InputError, match=r"cannot write .*: File too large") as caught:
        recon.save(tmp_path / "out")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_frames_of_a_stream(recon: Reconstruction, tmp_path: Path) -> None:
    writer = SceneWriter(tmp_path / "out")
    writer.write(recon.frames[0])
    with largest_file(1000), pytest.raises(InputError, match="cannot write"):
        writer.write(recon.frames[1])
    assert SceneWriter(tmp_path / "out", resume=True).count == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_an_output_inside_a_file_is_one_line(recon: Reconstruction, tmp_path: Path, streamed: bool) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        SceneWriter(tmp_path / "file" / "out") if streamed else recon.save(tmp_path / "file" / "out")


# pictures and clouds


def test_the_preview_shows_every_column(saved: Path) -> None:
    sheet = np.asarray(Image.open(saved / "preview.png"))
    assert sheet.shape == (4 * 240 + 4 * 4 + LEGEND_HEIGHT, 3 * 320 + 2 * 4, 3)
    depth, motion = sheet[:240, 324:644], sheet[:240, 648:]
    assert len(np.unique(depth.reshape(-1, 3), axis=0)) > 10
    vermilion = (motion[..., 0].astype(int) - motion[..., 2]) > 100
    assert 0.005 < vermilion.mean() < 0.2


def test_ply_keeps_points_colours_and_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    xyz, rgb = rng.normal(size=(7, 3)).astype(np.float32), rng.integers(0, 256, (7, 3), np.uint8)
    columns = {"confidence": rng.random(7).astype(np.float32), "frame": np.arange(7, dtype=np.int32)}
    write_ply(tmp_path / "a.ply", xyz, rgb, columns, comments=["made by a test"])
    back = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(np.stack([back[a] for a in "xyz"], -1), xyz)
    np.testing.assert_array_equal(np.stack([back[c] for c in ("red", "green", "blue")], -1), rgb)
    np.testing.assert_array_equal(back["frame"], columns["frame"])
    (tmp_path / "a.ply").write_bytes((tmp_path / "a.ply").read_bytes()[:-1])
    with pytest.raises(DataError, match="is damaged"):
        read_ply(tmp_path / "a.ply")


def test_ply_is_read_by_others(tmp_path: Path) -> None:
    import trimesh

    xyz, rgb = np.arange(12, dtype=np.float32).reshape(4, 3), np.full((4, 3), 200, np.uint8)
    write_ply(tmp_path / "a.ply", xyz, rgb)
    cloud = trimesh.load(tmp_path / "a.ply")
    np.testing.assert_array_equal(cloud.vertices, xyz)
    assert (cloud.colors[:, :3] == 200).all()
