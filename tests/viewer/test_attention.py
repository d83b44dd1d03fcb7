from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openmore.cli.main import main
from openmore.errors import ConfigError, DataError, InputError
from openmore.io.colours import MOVING, ramp
from openmore.io.frames import Frame
from openmore.io.preview import relative_share
from openmore.masks.clip import MaskClip, Origin
from openmore.masks.pipeline import MaskOptions, extract_masks
from openmore.masks.write import write_mask, write_result
from openmore.model.more import MoRe
from openmore.viewer.attention import camera_attention_maps, moving_share, patch_means
from openmore.viewer.attention_report import parse_blocks
from openmore.viewer.attention_sheets import outline, overlay, sheet
from openmore.viewer.mask_files import read_masks
from tests.masks.conftest import moving_square
from tests.scenes import make_scene, write_source

SHAPE = (28, 56)


@pytest.fixture(scope="module")
def model() -> MoRe:
    torch.manual_seed(0)
    return MoRe.from_pretrained("untrained:tiny", dtype="fp32")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(1, 3, 3, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_frame_maps_equal_the_networks_own_read_out(model: MoRe, images: torch.Tensor) -> None:
    last = ("frame", model.config.depth - 1)
    maps = camera_attention_maps(model, images, [last])[last]
    with torch.inference_mode():
        rows = model(images, outputs={"camera"}, duplicates=False, camera_attention=True).camera_attention
    assert rows is not None
    h, w = model.config.grid(SHAPE)
    assert maps.weights.shape == (3, model.config.num_heads, h, w)
    expected = rows[0, :, :, 0, model.config.first_patch :].reshape(maps.weights.shape)
    np.testing.assert_allclose(maps.weights, expected, atol=1e-6)
    np.testing.assert_allclose(maps.own_frame, 1, atol=1e-5)


def test_global_maps_are_rows_of_the_whole_clips_attention(model: MoRe, images: torch.Tensor) -> None:
    """Against plain attention over every query of the block."""
    block = ("global", 1)
    maps = camera_attention_maps(model, images, [block])[block]
    full = {block: lambda q, k: (q.float() @ k.float().transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)}
    with torch.inference_mode():
        every = model(images, outputs={"camera"}, duplicates=False, readouts=full).readouts[block][0]
    P, first = model.config.tokens_per_frame(SHAPE), model.config.first_patch
    for s in range(3):
        own = every[:, s * P, s * P : (s + 1) * P].numpy()
        np.testing.assert_allclose(maps.weights[s].reshape(own.shape[0], -1), own[:, first:], atol=1e-6)
        np.testing.assert_allclose(maps.own_frame[s], own.sum(-1), atol=1e-5)


def test_a_causal_network_shows_the_first_frame_nothing_but_itself(model: MoRe, images: torch.Tensor) -> None:
    causal = MoRe(replace(model.config, attention="causal")).eval()
    own = camera_attention_maps(causal, images, [("global", 0)])[("global", 0)].own_frame
    np.testing.assert_allclose(own[0], 1, atol=1e-5)
    assert (own[1:] < 0.99).all()


def test_blocks_that_do_not_exist_are_refused(model: MoRe, images: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=r"no block frame:99: expected frame:0\.\.3"):
        camera_attention_maps(model, images, [("frame", 99)])


def test_block_lists_are_read() -> None:
    assert parse_blocks("frame:3, global:0", 4) == [("frame", 3), ("global", 0)]
    assert parse_blocks(None, 2) == [("global", 0), ("global", 1)]
    with pytest.raises(InputError, match="'layer:1' is not a block"):
        parse_blocks("layer:1", 4)


def test_the_share_on_movers_is_counted_by_patch() -> None:
    attention = np.array([[[0.1, 0.2], [0.3, 0.2]]])  # the rest, 0.2, goes to special tokens
    motion = np.zeros((1, 4, 4))
    motion[0, 2:, :2] = 1  # lower left patch moves
    motion[0, 0, 2:] = 1  # and half of the upper right one
    share = moving_share(attention, motion)
    assert share.attention == pytest.approx((0.3 + 0.2 / 2) / 0.8)
    assert share.area == pytest.approx(1.5 / 4)
    assert share.ratio == pytest.approx(share.attention / share.area)
    assert np.isnan(moving_share(attention, np.zeros((1, 4, 4))).ratio)


def test_maps_that_do_not_divide_into_patches_are_refused() -> None:
    with pytest.raises(ConfigError, match="resize it to the model's shape"):
        patch_means(np.zeros((5, 4)), (2, 2))


def test_colours_mean_multiples_of_uniform_attention() -> None:
    weights = np.array([[1.0, 8.0], [1 / 8, 0.0]])
    weights *= 4 / weights.sum()  # any scale
    uniform = np.full((3, 2, 2), 0.07)
    np.testing.assert_allclose(relative_share(uniform), 0.5)
    share = relative_share(weights)
    assert share[0, 1] > share[0, 0] > share[1, 0] >= share[1, 1] == 0
    doubled = relative_share(2 * weights)
    np.testing.assert_allclose(doubled, share)


def test_overlays_outline_movers_and_follow_the_patches() -> None:
    picture = np.full((8, 8, 3), 100, np.uint8)
    weights = np.array([[0.0, 1.0], [1.0, 1.0]])
    moving = np.zeros((8, 8), bool)
    moving[5:8, 5:8] = True
    image = overlay(picture, weights, moving)
    assert (image[5, 5] == MOVING).all() and not (image[6, 6] == MOVING).all()
    assert (image[:4, :4] == image[0, 0]).all() and (image[0, 0] != image[0, 4]).any()
    expected = 0.3 * 100 + 0.7 * ramp(np.array(0.0))
    assert np.abs(image[0, 0] - expected).max() < 1


def test_an_outline_is_the_masks_rim() -> None:
    mask = np.zeros((5, 5), bool)
    mask[1:4, 1:4] = True
    assert outline(mask).sum() == 8 and not outline(mask)[2, 2]


def test_a_sheet_has_a_column_per_title() -> None:
    tiles = [[np.full((10, 20, 3), value, np.uint8) for value in (10, 200)]] * 3
    image = sheet(tiles, ["a", "b"], tile_width=40)
    assert image.shape[1] == 84
    assert (image[30, 20] == 10).all() and (image[30, 60] == 200).all()


def test_masks_are_found_by_name_or_number(tmp_path: Path) -> None:
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / "shot7.png")
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "000009.png")
    picture = np.zeros((4, 4, 3), np.uint8)
    assert read_masks(tmp_path, [Frame(0, 0.0, picture, "shot7.jpg")], (4, 4)).sum() == 4
    assert read_masks(tmp_path, [Frame(9, 0.0, picture, "other.jpg")], (8, 8)).sum() == 64
    (tmp_path / "000009.png").rename(tmp_path / "00009.png")
    assert read_masks(tmp_path, [Frame(9, 0.0, picture, "other.jpg")], (8, 8)).sum() == 64
    with pytest.raises(DataError, match=r"no mask for frame 3: expected x\.png or 000003\.png"):
        read_masks(tmp_path, [Frame(3, 0.0, picture, "x.jpg")], (4, 4))


def test_labels_and_probabilities_are_told_apart(tmp_path: Path) -> None:
    frame = Frame(0, 0.0, np.zeros((1, 4, 3), np.uint8), "a.jpg")
    labels = np.array([[0, 1, 255, 2]], np.uint8)
    write_mask(tmp_path / "a.png", labels)
    np.testing.assert_equal(read_masks(tmp_path, [frame], (1, 4)), [[[0, 1, np.nan, 1]]])
    for grey, expected in (
        ([[0, 1, 255, 1]], [[[0, 1, np.nan, 1]]]),
        ([[0, 0, 255, 255]], [[[0, 0, 1, 1]]]),
        ([[3, 127, 128, 255]], [[[0, 0, 1, 1]]]),
    ):
        Image.fromarray(np.array(grey, np.uint8)).save(tmp_path / "a.png")
        np.testing.assert_equal(read_masks(tmp_path, [frame], (1, 4)), expected)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read as a mask"):
        read_masks(tmp_path, [frame], (1, 4))


def test_masks_of_the_pipeline_belong_to_the_frames_its_report_names(tmp_path: Path) -> None:
    clip = moving_square()[0]
    strided = MaskClip(clip.images[:2], "s", origins=[Origin(0), Origin(4)])
    result = extract_masks(strided, MaskOptions(segments="residual"))
    result.masks[1][:] = 1
    write_result(tmp_path, strided, result, (96, 128))
    frames = [Frame(index, 0.0, clip.images[0], f"{index:05d}.jpg") for index in (4, 1)]
    for folder in (tmp_path, tmp_path / "masks"):
        assert (read_masks(folder, frames[:1], (96, 128)) == 1).all()
        with pytest.raises(DataError, match=r"no mask for frame 1: .*report\.json lists 2 other frames"):
            read_masks(folder, frames[1:], (96, 128))


def test_unknown_pixels_are_left_out_of_the_share() -> None:
    attention = np.array([[[0.1, 0.2], [0.3, 0.4]]])
    motion = np.zeros((1, 4, 4))
    motion[0, 2:, :2], motion[0, :2, 2:] = 1, np.nan
    share = moving_share(attention, motion)
    assert share.attention == pytest.approx(0.3 / 0.8) and share.area == pytest.approx(1 / 3)
    assert moving_share(attention, np.full((1, 4, 4), np.nan)).area == 0


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return int(ended.value.code or 0)


def test_the_verb_writes_sheets_and_numbers(tmp_path: Path, capsys) -> None:
    scene = make_scene(4)
    folder = write_source(scene, tmp_path / "frames")
    masks = tmp_path / "masks"
    masks.mkdir()
    for i, frame in enumerate(scene.frames):
        Image.fromarray(((frame.motion > 0) * 255).astype(np.uint8)).save(masks / f"{i:06d}.png")  # type: ignore[operator]
    arguments = ["--weights", "untrained:tiny", "--compare", "untrained:tiny", "--masks", masks, "--frames", 2]
    assert run("attention", folder, "-o", tmp_path / "out", *arguments) == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        "attention.png",
        "attention.json",
        *(f"{n}_{i}.png" for n in ("heads", "layers") for i in (1, 2)),
    }
    report = json.loads((tmp_path / "out" / "attention.json").read_text())
    assert len(report) == 2 and report[0]["movers_from"] == "masks"
    numbers = report[0]["blocks"][report[0]["headline"]]
    assert 0 < numbers["moving_area"] < 0.3 and 0 < numbers["moving_attention"] < 1
    assert "of indifference; movers from the masks" in capsys.readouterr().out
    assert run("attention", folder, "-o", tmp_path / "out", *arguments) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_comparison_shares_one_set_of_movers(tmp_path: Path) -> None:
    folder = write_source(make_scene(2), tmp_path / "frames")
    compared = ["--weights", "untrained:tiny", "--compare", "untrained:small", "--frames", 2]
    assert run("attention", folder, "-o", tmp_path / "out", *compared) == 0
    before, after = json.loads((tmp_path / "out" / "attention.json").read_text())
    area = [part["blocks"][part["headline"]]["moving_area"] for part in (before, after)]
    assert area[0] == pytest.approx(area[1], abs=0.02)  # two patch grids, one mask
    assert before["movers_from"] == after["movers_from"] == "network"
