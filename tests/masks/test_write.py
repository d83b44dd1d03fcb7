from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmore.errors import DataError, InputError
from openmore.masks.clip import Geometry, MaskClip, to_reconstruction
from openmore.masks.pictures import heat, overlay
from openmore.masks.pipeline import MaskOptions, extract_masks, refine_head
from openmore.masks.write import palette, read_mask, resize_mask, write_mask, write_result


def test_masks_are_palette_pictures_with_the_labels_as_indices(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 255]], np.uint8)
    write_mask(tmp_path / "m.png", mask)
    assert Image.open(tmp_path / "m.png").mode == "P" and np.array_equal(read_mask(tmp_path / "m.png"), mask)
    assert palette()[[0, 1, 3, 255]].tolist() == [[0, 0, 0], [128, 0, 0], [128, 128, 0], [224, 224, 192]]


def test_a_colour_picture_is_no_mask(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match="kind RGB"):
        read_mask(tmp_path / "rgb.png")
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot be read"):
        read_mask(tmp_path / "x.png")


def test_the_whole_folder(tmp_path: Path, fixed_camera: tuple[MaskClip, np.ndarray]) -> None:
    clip, _ = fixed_camera
    result = extract_masks(clip, MaskOptions(segments="residual"))
    write_result(tmp_path, clip, result, (192, 256), explain=True)
    masks = sorted((tmp_path / "masks").iterdir())
    assert [m.name for m in masks] == [f"{t:05d}.png" for t in range(5)]
    big = read_mask(masks[2])
    assert big.shape == (192, 256) and np.array_equal(big[::2, ::2], result.masks[2])
    assert len(json.loads((tmp_path / "report.json").read_text())["frames"]) == 5
    assert (tmp_path / "overlay.mp4").stat().st_size > 1000
    explained = np.array(Image.open(tmp_path / "explain" / "00002.png"))
    assert explained.shape == (96 + 22, 3 * 128, 3)
    assert np.array_equal(explained[22:, :128], overlay(clip.images[2], result.masks[2]))


def test_overlay_and_heat_tell_the_cases_apart() -> None:
    image = np.full((1, 3, 3), 100, np.uint8)
    out = overlay(image, np.array([[0, 1, 255]], np.uint8))
    assert out[0, 0].tolist() == [100] * 3 and out[0, 1, 0] > 150 and out[0, 2, 2] > 140
    colours = heat(np.array([[0, 9, np.nan, np.inf]], np.float32), 1.0)
    assert colours[0, 2].tolist() == [90] * 3 and colours[0, 3].tolist() == [255] * 3
    assert colours[0, 1, 0] > 200 > colours[0, 0, 0]


def test_resize_keeps_labels() -> None:
    assert set(np.unique(resize_mask(np.array([[0, 1], [255, 0]], np.uint8), (7, 5)))) == {0, 1, 255}


def test_movers_leave_the_cloud(tmp_path: Path, fixed_camera: tuple[MaskClip, np.ndarray]) -> None:
    from openmore.export import export

    clip, truth = fixed_camera
    K = np.tile(np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]]), (5, 1, 1))
    depth = np.where(truth, 2.0, 4.0).astype(np.float32)
    posed = MaskClip(clip.images, clip.name, Geometry(depth, K, np.tile(np.eye(4), (5, 1, 1)), "made up"))
    recon = to_reconstruction(posed, [t.astype(np.uint8) for t in truth])
    export(recon, tmp_path / "static.ply", static_only=True, confidence="0%", voxel=0)
    from openmore.io.ply import read_ply

    assert (read_ply(tmp_path / "static.ply")["z"] > 3).all()
    with pytest.raises(InputError, match="no depth and cameras"):
        to_reconstruction(clip, [])


def test_the_motion_heads_masks_are_refined(fixed_camera: tuple[MaskClip, np.ndarray]) -> None:
    clip, truth = fixed_camera
    motion = np.where(truth, 0.9, 0.1).astype(np.float32)
    result = refine_head(MaskClip(clip.images, clip.name, motion=motion, head_motion=motion), "none")
    assert np.array_equal(np.stack(result.masks) == 1, truth) and result.report.agreement == {"iou": 1.0, "equal": 1.0}
    settled = MaskClip(clip.images, clip.name, motion=motion, head_motion=np.zeros_like(motion))
    result = refine_head(settled, "none")
    assert np.array_equal(np.stack(result.masks) == 1, truth), "measured motion is passed on"
    assert result.report.agreement is not None and result.report.agreement["iou"] == 0, "and compared with the head's"
    assert [frame.moving for frame in result.report.frames] == [round(float(mask.mean()), 5) for mask in truth]
    with pytest.raises(InputError, match="motion head"):
        refine_head(clip)
