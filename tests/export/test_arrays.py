"""npz is read by numpy, depth pictures by OpenCV and OpenEXR, TUM text by evo."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openmore.errors import InputError
from openmore.export.images import ImageSet, write_masks
from openmore.types import Reconstruction
from tests.io.disk import largest_file


@pytest.mark.parametrize("compress", [False, True])
def test_npz_holds_every_array(scene: Reconstruction, tmp_path: Path, compress: bool) -> None:
    with np.load(scene.export(tmp_path / "a.npz", compress=compress)) as arrays:
        for name in ("depth", "confidence", "motion", "world_from_cam", "K"):
            np.testing.assert_array_equal(arrays[name], getattr(scene, name))
        assert arrays["rgb"].shape == (4, 48, 64, 3) and arrays["rgb"].dtype == np.uint8
        np.testing.assert_allclose(
            arrays["cam_from_world"] @ arrays["world_from_cam"], np.eye(4)[None].repeat(4, 0), atol=1e-12
        )
        np.testing.assert_allclose(arrays["K_model"][0], scene.frames[0].K_model)
        np.testing.assert_allclose(arrays["times_s"], [0, 0.1, 0.2, 0.3])
        assert arrays["index"].tolist() == [0, 1, 2, 3]
        assert "OpenCV" in str(arrays["conventions"])


def test_npz_leaves_out_what_the_scene_lacks(scene: Reconstruction, tmp_path: Path) -> None:
    plain = Reconstruction([replace(f, motion=None, rgb=None) for f in scene.frames], scene.info)
    with np.load(plain.export(tmp_path / "a.npz")) as arrays:
        assert "motion" not in arrays and "rgb" not in arrays and "depth" in arrays


def test_npz_refuses_frames_of_different_shape(scene: Reconstruction, tmp_path: Path) -> None:
    odd = replace(scene.frames[1], depth=np.ones((10, 10), np.float32))
    with pytest.raises(InputError, match=r"depth of frame 1 is \(10, 10\)"):
        Reconstruction([scene.frames[0], odd], scene.info).export(tmp_path / "a.npz")


def test_depth_pngs_hold_depth_times_factor(scene: Reconstruction, tmp_path: Path) -> None:
    import cv2

    folder = scene.export(tmp_path / "depth", format="depth", factor=1000)
    side = json.loads((folder / "depth.json").read_text())
    assert side["factor"] == 1000 and len(side["frames"]) == 4
    for i, frame in enumerate(scene.frames):
        values = cv2.imread(str(folder / f"{i:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert values.dtype == np.uint16
        assert np.abs(values / side["factor"] - frame.depth).max() <= 0.5001 / 1000
        np.testing.assert_allclose(side["frames"][i]["K"], frame.K_model)


def test_a_full_disk_loses_no_picture_silently(scene: Reconstruction, tmp_path: Path) -> None:
    with largest_file(100), pytest.raises(InputError, match=r"cannot write .*: File too large"):
        scene.export(tmp_path / "depth", format="depth")
    assert list(tmp_path.iterdir()) == []
    images = ImageSet([f"{i}.jpg" for i in range(4)], (96, 128))
    with largest_file(50), pytest.raises(InputError, match=r"cannot write .*masks/0\.jpg\.png: File too large"):
        write_masks(scene, tmp_path / "masks", images, 0.5, 2)


def test_depth_png_says_how_many_pixels_were_too_far(scene: Reconstruction, tmp_path: Path, caplog) -> None:
    import cv2

    folder = scene.export(tmp_path / "depth", format="depth", factor=25_000)  # reaches to 2.6
    values = cv2.imread(str(folder / "000000.png"), cv2.IMREAD_UNCHANGED)
    far = scene.frames[0].depth > 65535.5 / 25_000
    assert (values[far] == 0).all() and (values[~far] > 0).all() and far.any()
    assert "became 0: lower factor" in caplog.text


def test_depth_exr_is_exact(scene: Reconstruction, tmp_path: Path) -> None:
    OpenEXR = pytest.importorskip("OpenEXR")
    folder = scene.export(tmp_path / "depth", format="depth", files="exr")
    for i, frame in enumerate(scene.frames):
        channels = OpenEXR.File(str(folder / f"{i:06d}.exr")).channels()
        np.testing.assert_array_equal(channels["Z"].pixels, frame.depth)


@pytest.mark.parametrize("options", [{"files": "tiff"}, {"factor": 0}])
def test_impossible_depth_options_are_refused(scene: Reconstruction, tmp_path: Path, options: dict) -> None:
    with pytest.raises(InputError):
        scene.export(tmp_path / "depth", format="depth", **options)


def test_tum_is_read_by_evo(scene: Reconstruction, tmp_path: Path) -> None:
    file_interface = pytest.importorskip("evo.tools.file_interface")
    path = scene.export(tmp_path / "trajectory.txt")
    trajectory = file_interface.read_tum_trajectory_file(str(path))
    np.testing.assert_allclose(trajectory.timestamps, [0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(np.stack(trajectory.poses_se3), scene.world_from_cam, atol=1e-6)
