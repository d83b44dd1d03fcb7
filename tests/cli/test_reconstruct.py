"""`openmore reconstruct`: the scene it writes, and one clear line for everything that can be wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openmore.errors import ConfigError, InputError
from openmore.io.sizing import Sizing
from openmore.model.config import preset
from openmore.model.estimate import estimate_full
from openmore.model.more import MoRe
from openmore.pipeline import Options, reconstruct
from openmore.pipeline.pictures import sized_frames
from openmore.types import Reconstruction

TINY = ("--weights", "untrained:tiny", "--dtype", "fp32")


def test_a_folder_becomes_a_scene(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene"
    ran = openmore("reconstruct", folder, "-o", out, *TINY)
    assert ran.code == 0 and "4 frames" in ran.out
    scene = Reconstruction.load(out)
    assert len(scene) == 4 and scene.frames[0].shape == (42, 56) and scene.cameras[0].width == 128
    np.testing.assert_allclose(scene.world_from_cam[0], np.eye(4), atol=1e-12)
    assert scene.info.weights["name"] == "untrained:tiny"
    assert "untrained weights: every output is noise" in scene.info.warnings and "untrained" in ran.err
    assert all((out / name).is_file() for name in ("preview.png", "preview.mp4", "points.ply"))


def test_files_of_a_scene_agree(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    openmore("reconstruct", folder, "-o", tmp_path / "s", *TINY)
    cameras = json.loads((tmp_path / "s" / "cameras.json").read_text())
    cameras = cameras["frames"] if isinstance(cameras, dict) else cameras
    rows = np.loadtxt(tmp_path / "s" / "trajectory.txt", comments="#")
    for camera, row in zip(cameras, rows):
        np.testing.assert_allclose(np.array(camera["world_from_cam"])[:3, 3], row[1:4], atol=1e-5)
        assert camera["width"] == 128 and camera["height"] == 96


@pytest.mark.parametrize("mode", ["full", "stream"])
def test_python_and_command_line_agree(openmore: Callable, folder: Path, tmp_path: Path, mode: str) -> None:
    openmore("reconstruct", folder, "-o", tmp_path / "s", *TINY, "--mode", mode)
    scene = reconstruct(folder, "untrained:tiny", dtype="fp32", mode=mode)
    loaded = Reconstruction.load(tmp_path / "s")
    np.testing.assert_allclose(loaded.world_from_cam, scene.world_from_cam, atol=1e-9)
    np.testing.assert_array_equal(loaded.depth, scene.depth)


@pytest.mark.parametrize("mode", ["full", "stream"])
def test_attention_refinement_changes_cameras_only(folder: Path, mode: str) -> None:
    options = {"dtype": "fp32", "mode": mode, "policy": "all"}
    plain, refined = (reconstruct(folder, "untrained:tiny", refine=r, **options) for r in ("none", "attention"))
    assert not np.allclose(plain.world_from_cam, refined.world_from_cam, atol=1e-6)
    np.testing.assert_allclose(refined.world_from_cam[0], np.eye(4), atol=1e-9)
    if mode == "stream":
        np.testing.assert_array_equal(plain.depth, refined.depth)


def test_geometry_records_its_report_and_keeps_the_first_camera_the_world(folder: Path) -> None:
    scene = reconstruct(folder, "untrained:tiny", dtype="fp32", refine="geometry")
    np.testing.assert_allclose(scene.world_from_cam[0], np.eye(4), atol=1e-9)
    assert len(scene.info.extra["refinement"]["sources"]) == 4 and (scene.depth > 0).all()


def test_both_modes_refine_to_the_same_cameras(folder: Path) -> None:
    options = {"dtype": "fp32", "refine": "attention", "policy": "all"}
    full, stream = (reconstruct(folder, "untrained:tiny", mode=mode, **options) for mode in ("full", "stream"))
    np.testing.assert_allclose(full.world_from_cam, stream.world_from_cam, atol=1e-4)


def test_one_frame_and_one_image_work(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    ran = openmore("reconstruct", folder / "0.png", "-o", tmp_path / "one", *TINY)
    assert ran.code == 0 and len(Reconstruction.load(tmp_path / "one")) == 1


def test_a_corrupt_picture_is_skipped_and_recorded(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    (folder / "2.png").write_bytes(b"not a picture")
    assert openmore("reconstruct", folder, "-o", tmp_path / "s", *TINY).code == 0
    scene = Reconstruction.load(tmp_path / "s")
    assert len(scene) == 3 and [s["index"] for s in scene.info.skipped] == [2]


def broken(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / kind
    if kind == "empty":
        path.mkdir()
    elif kind == "text.mp4":
        path.write_text("this is not a video")
    elif kind == "mixed":
        path.mkdir()
        for i, size in enumerate(((64, 48), (80, 48))):
            Image.new("RGB", size).save(path / f"{i}.png")
    elif kind == "tiny.png":
        Image.new("RGB", (1, 1)).save(path)
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "text.mp4", "mixed", "tiny.png"])
def test_bad_sources_end_with_one_line(openmore: Callable, tmp_path: Path, kind: str) -> None:
    ran = openmore("reconstruct", broken(tmp_path, kind), "-o", tmp_path / "out", *TINY)
    assert ran.code == 2 and kind.split(".")[0] in ran.message and "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--weights", "smal"), 3, "did you mean small"),
        (("--weights", "vggt-1b"), 3, "not on this machine"),
        ((*TINY, "--mode", "live"), 2, "expected one of full, stream"),
        ((*TINY, "--mode", "stream", "--window", "0"), 2, "window is 0"),
        ((*TINY, "--mode", "stream", "--budget-mb", "0.001"), 2, "give at least"),
        ((*TINY, "--points", "--max-frames", "0"), 2, ""),
    ],
)
def test_bad_options(openmore: Callable, folder: Path, tmp_path: Path, arguments: tuple, code: int, says: str) -> None:
    ran = openmore("reconstruct", folder, "-o", tmp_path / "out", *arguments)
    assert ran.code == code and says in ran.message and not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_cuda(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    ran = openmore("reconstruct", folder, "-o", tmp_path / "out", *TINY, "--device", "cuda")
    assert ran.code == 2 and "--device cpu" in ran.message


def test_an_existing_scene_is_replaced_only_when_asked(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene"
    assert openmore("reconstruct", folder, "-o", out, *TINY).code == 0
    ran = openmore("reconstruct", folder, "-o", out, *TINY)
    assert ran.code == 2 and "--overwrite" in ran.message
    assert openmore("reconstruct", folder, "-o", out, *TINY, "--overwrite", "--max-frames", "2").code == 0
    assert len(Reconstruction.load(out)) == 2


def test_a_folder_that_is_no_scene_is_never_replaced(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "photos" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("keep me")
    ran = openmore("reconstruct", folder, "-o", precious.parent, *TINY, "--overwrite")
    assert ran.code == 2 and "not a scene folder" in ran.message and "precious.txt" in ran.message and precious.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    ran = openmore("reconstruct", folder, "-o", tmp_path / "locked" / "scene", *TINY)
    assert ran.code == 2 and "read-only" in ran.message


def test_a_full_disk_is_one_line(
    openmore: Callable, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    monkeypatch.setattr(np, "save", full)
    ran = openmore("reconstruct", folder, "-o", tmp_path / "out", *TINY)
    assert ran.code == 2 and "No space left" in ran.message and not (tmp_path / "out").exists()


PICTURE = 42 * 56 * 3  # bytes
TWO_FRAMES = estimate_full(preset("tiny"), 2, (42, 56), torch.float32).activation_bytes + 2 * PICTURE


def test_too_many_frames_say_what_would_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmore.pipeline.pictures.available_bytes", lambda _device: TWO_FRAMES)
    with pytest.raises(InputError, match=r"use --mode stream, --max-frames 2, or a smaller --long-side"):
        reconstruct(folder, "untrained:tiny", dtype="fp32")


@pytest.mark.parametrize(("working", "read"), [(None, 2), ([], 1)])  # larger pictures kept for geometry count too
def test_reading_stops_at_the_first_frame_too_many(
    folder: Path, monkeypatch: pytest.MonkeyPatch, working: list | None, read: int
) -> None:
    monkeypatch.setattr("openmore.pipeline.pictures.available_bytes", lambda _device: TWO_FRAMES)
    pictures = sized_frames(folder, MoRe.from_pretrained("untrained:tiny", dtype="fp32"), Options(), [], working)
    shown = [next(pictures) for _ in range(read)]
    assert isinstance(shown[0][2], Sizing)
    with pytest.raises(InputError, match=rf"at least {read + 1} frame\(s\) of 56x42 .*--max-frames {read},"):
        next(pictures)


def test_a_stream_is_as_long_as_it_likes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmore.pipeline.pictures.available_bytes", lambda _device: TWO_FRAMES)
    assert len(reconstruct(folder, "untrained:tiny", dtype="fp32", mode="stream")) == 4


def test_debug_shows_the_traceback(openmore: Callable, tmp_path: Path) -> None:
    ran = openmore("--debug", "reconstruct", tmp_path / "missing", "-o", tmp_path / "out", *TINY)
    assert ran.code == 2 and "Traceback" in ran.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--intrinsics", "100,100"), "2 numbers"),
        (("--intrinsics", "100,100,900,50"), "128x96"),
        (("--intrinsics", "100,100,64,48", "--refine", "none"), "only geometry"),
    ],
)
def test_intrinsics_that_cannot_be_used_are_a_usage_error(
    openmore: Callable, folder: Path, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    ran = openmore("reconstruct", folder, "-o", tmp_path / "s", *TINY, *options)
    assert ran.code == 2 and says in ran.message and not (tmp_path / "s").exists()


def test_given_intrinsics_are_kept(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    ran = openmore("reconstruct", folder, "-o", tmp_path / "s", *TINY, "--intrinsics", "100,101,63,47")
    assert ran.code == 0
    K = np.array([[100.0, 0, 63], [0, 101, 47], [0, 0, 1]])
    scene = Reconstruction.load(tmp_path / "s")
    np.testing.assert_allclose(scene.K, np.tile(K, (4, 1, 1)), atol=1e-9)
    assert scene.info.extra["refinement"]["focal_free"] is False


@pytest.mark.parametrize("mode", ["full", "stream"])
def test_one_frame_keeps_given_intrinsics_and_says_what_geometry_could_not_do(folder: Path, mode: str) -> None:
    options = {"intrinsics": (100, 101, 63, 47), "mode": mode, "global_pass": mode == "stream", "points": True}
    scene = reconstruct(folder / "0.png", "untrained:tiny", dtype="fp32", refine="geometry", **options)
    np.testing.assert_allclose(scene.K[0], [[100, 0, 63], [0, 101, 47], [0, 0, 1]], atol=1e-9)
    assert any("a single frame" in warning for warning in scene.info.warnings)
    assert scene.frames[0].points is None  # they were the network's camera's


def test_a_single_picture_is_warned_of_only_where_geometry_was_wanted(folder: Path) -> None:
    for refine, said in (("geometry", True), ("none", False)):
        scene = reconstruct(folder / "0.png", "untrained:tiny", dtype="fp32", refine=refine)
        assert any("a single frame" in warning for warning in scene.info.warnings) is said


@pytest.mark.parametrize(("refine", "said"), [("geometry", True), ("none", False)])
def test_the_time_announced_says_whether_geometry_is_in_it(
    openmore: Callable, folder: Path, tmp_path: Path, refine: str, said: bool
) -> None:
    ran = openmore("reconstruct", folder, "-o", tmp_path / "s", *TINY, "--refine", refine, "--no-video")
    line = next(line for line in ran.err.splitlines() if "4 frames of 56x42, about " in line)
    assert "for the network" in line and ("geometry comes on top" in line) is said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"widnow": 3}, "takes no 'widnow': did you mean window"),
        ({"long_side": "224"}, "long_side is '224', expected a whole number"),
        ({"mode": "stream", "budget_mb": "100"}, "'100' MB is not a size"),
        ({"mode": "stream", "window": True}, "window is True"),
        ({"policy": ["window"]}, "policy .* is unknown"),
        ({"points": "no"}, "points is 'no', expected True or False"),
        ({"flow": None}, "flow backend None is unknown"),
        ({"start": [1]}, r"position \[1\] is not a place"),
        ({"device": None}, "unknown device None"),
        ({"dtype": "half"}, "dtype 'half'"),
    ],
    ids=str,
)
def test_python_options_of_a_wrong_type_are_one_line(options: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        reconstruct(np.zeros((1, 48, 64, 3), np.uint8), "untrained:tiny", **options)


@pytest.mark.parametrize("given", [{"device": "cuda"}, {"dtype": "nonsense"}])
def test_a_loaded_network_keeps_its_device_and_dtype(given: dict) -> None:
    model = MoRe.from_pretrained("untrained:tiny", dtype="fp32")
    with pytest.raises(ConfigError, match="a loaded network, which keeps its own"):
        reconstruct(np.zeros((1, 48, 64, 3), np.uint8), model, **given)


def test_geometry_measures_with_the_flow_that_is_asked_for(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    options = (*TINY, "--refine", "geometry", "--flow", "sea-raft-s:untrained")
    assert openmore("reconstruct", folder, "-o", tmp_path / "s", *options).code == 0
    dense = Reconstruction.load(tmp_path / "s").info.extra["refinement"]["dense"]
    assert dense["flow"] == "sea-raft-s" and len(dense["depth_sources"]) == 4


@pytest.mark.parametrize(
    ("flow", "code", "says"), (("raft", 2, "flow backend 'raft'"), ("sea-raft-s:no.safetensors", 3, "do not exist"))
)
def test_a_flow_that_cannot_be_had_is_refused_before_the_work(
    openmore: Callable, folder: Path, tmp_path: Path, flow: str, code: int, says: str
) -> None:
    ran = openmore("reconstruct", folder, "-o", tmp_path / "s", *TINY, "--refine", "geometry", "--flow", flow)
    assert ran.code == code and says in ran.message and not (tmp_path / "s").exists()


@pytest.mark.parametrize("more", (("--refine", "none"), ("--mode", "stream", "--refine", "geometry")))
def test_a_flow_that_nothing_would_use_is_refused(
    openmore: Callable, folder: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    ran = openmore("reconstruct", folder, "-o", tmp_path / "s", *TINY, *more, "--flow", "dis-fast")
    assert ran.code == 2 and "only geometry over a whole clip" in ran.message and not (tmp_path / "s").exists()


def test_a_stream_refined_by_geometry_says_so(openmore: Callable, folder: Path, tmp_path: Path) -> None:
    for name, more in (("window", ()), ("whole", ("--global-pass",))):
        options = ("--mode", "stream", "--refine", "geometry", *more)
        assert openmore("reconstruct", folder, "-o", tmp_path / name, *TINY, *options).code == 0
        extra = Reconstruction.load(tmp_path / name).info.extra
        assert sum(extra["refinement_window"]["sources"].values()) == 4
        assert ("refinement" in extra) == bool(more)
    ran = openmore("reconstruct", folder, "-o", tmp_path / "no", *TINY, "--global-pass")
    assert ran.code == 2 and "global_pass" in ran.message


def test_video_that_shows_nothing_is_a_warning_and_not_an_error(
    openmore: Callable, folder: Path, tmp_path: Path
) -> None:
    for path in folder.glob("*.png"):
        Image.new("RGB", (128, 96), (90, 90, 90)).save(path)
    ran = openmore("reconstruct", folder, "-o", tmp_path / "s", *TINY, "--refine", "geometry")
    assert ran.code == 0 and "warning: no texture" in ran.err
    plain = reconstruct(folder, "untrained:tiny", dtype="fp32", refine="none")
    np.testing.assert_allclose(Reconstruction.load(tmp_path / "s").world_from_cam, plain.world_from_cam, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--stride", 0), "stride 0 is not a step"),
        (("--long-side", 0), "long_side is 0"),
        (("--long-side", 100_000), "smaller --long-side"),
        (("--window", 4), "window limits a stream's memory"),
        (("--policy", "elephant"), "policy 'elephant' is unknown"),
        (("--budget-mb", "nan"), "nan MB is not a size"),
    ],
)
def test_options_that_cannot_be_meant(
    openmore: Callable, folder: Path, tmp_path: Path, options: tuple[object, ...], says: str
) -> None:
    ran = openmore("reconstruct", folder, "-o", tmp_path / "s", *TINY, *options)
    assert ran.code == 2 and says in ran.message
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("file/scene", "is a file, not a folder"),
        ("link", "is a link to gone"),
        ("x" * 300, "too long"),
        ("x" * 250, "too long"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_the_work(
    openmore: Callable, folder: Path, tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("gone")
    ran = openmore("reconstruct", folder, "-o", tmp_path / name, *TINY)
    assert ran.code == 2 and says in ran.message and "frames of" not in ran.err
