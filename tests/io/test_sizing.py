from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open

from openmore.errors import ConfigError, InputError
from openmore.io.sizing import Sizing, load_images

shapes = st.tuples(st.integers(14, 3000), st.integers(14, 3000))
modes = st.sampled_from(["fit", "crop", "pad"])
sides = st.integers(14, 800)


@given(shapes, modes, sides, st.sampled_from([8, 14, 16]))
def test_the_model_shape_lies_on_the_patch_grid(shape: tuple[int, int], mode: str, side: int, patch: int) -> None:
    side = max(side, patch)
    sizing = Sizing.of(mode, shape, side, patch)  # type: ignore[arg-type]
    assert all(value % patch == 0 and value > 0 for value in sizing.model_shape)
    assert max(sizing.model_shape) <= side + patch / 2


@given(shapes, sides)
def test_fit_keeps_the_aspect_ratio_up_to_rounding(shape: tuple[int, int], side: int) -> None:
    sizing = Sizing.fit(shape, side)
    h, w = sizing.model_shape
    scale = max(h, w) / max(shape)
    for given_side, model_side in zip(shape, (h, w)):
        assert abs(model_side - given_side * scale) <= 7 + 1e-6 or model_side == 14


def test_known_shapes() -> None:
    assert Sizing.fit((375, 1242), 518).model_shape == (154, 518)
    assert Sizing.fit((480, 640), 224).model_shape == (168, 224)
    assert Sizing.fit((1920, 1080), 518).model_shape == (518, 294)
    assert Sizing.fit((144, 512), 512).model_shape == (140, 518)  # the paper's KITTI size on the grid
    assert Sizing.crop((700, 300)) == Sizing((700, 300), (1204, 518), (518, 518), (343, 0))
    assert Sizing.pad((375, 1242)) == Sizing((375, 1242), (154, 518), (518, 518), (-182, 0))


@given(shapes, modes, sides, st.integers(0, 2**32 - 1))
def test_K_goes_there_and_back(shape: tuple[int, int], mode: str, side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    K = np.array(
        [[rng.uniform(10, 2000), 0, rng.uniform(0, 999)], [0, rng.uniform(10, 2000), rng.uniform(0, 999)], [0, 0, 1]]
    )
    sizing = Sizing.of(mode, shape, side)  # type: ignore[arg-type]
    np.testing.assert_allclose(sizing.K_to_original(sizing.K_to_model(K)), K, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("mode", ["fit", "crop", "pad"])
def test_K_and_picture_agree(mode: str) -> None:
    """A bright block drawn around the projection of a point is found around its projection in the model's picture."""
    K = np.array([[400.0, 0, 160], [0, 390, 240], [0, 0, 1]])
    point = np.array([0.1, -0.05, 1.0])
    u, v = (K @ point)[:2]
    image = np.zeros((480, 320, 3), np.uint8)
    image[int(v) - 10 : int(v) + 11, int(u) - 10 : int(u) + 11] = 255
    sizing = Sizing.of(mode, (480, 320), 224)  # type: ignore[arg-type]
    seen = sizing.apply(image)[..., 0].astype(float)
    if mode == "pad":
        seen[:, : -sizing.offset[1]] = 0
        seen[:, -sizing.offset[1] + sizing.resized_shape[1] :] = 0
    rows, columns = np.nonzero(seen > 128)
    u, v = (sizing.K_to_model(K) @ point)[:2]
    assert abs(columns.mean() - u) < 1 and abs(rows.mean() - v) < 1


@given(shapes.filter(lambda s: max(s) < 400), modes, st.integers(14, 200))
def test_dense_maps_go_back(shape: tuple[int, int], mode: str, side: int) -> None:
    sizing = Sizing.of(mode, shape, side)  # type: ignore[arg-type]
    h, w = sizing.model_shape
    back = sizing.depth_to_original(np.ones((2, h, w), np.float32))
    assert back.shape == (2, *shape) and back.dtype == np.float32
    cropped = sizing.resized_shape[0] > h
    assert back.all() != cropped


def test_a_dense_map_lands_where_its_pixels_came_from() -> None:
    v, u = np.mgrid[:60, :90]
    for mode in ("fit", "pad"):
        sizing = Sizing.of(mode, (60, 90), 42)  # type: ignore[arg-type]
        picture = np.stack((u, v, v), -1).astype(np.uint8)
        back = sizing.depth_to_original(sizing.apply(picture)[..., 0].astype(np.float32))
        assert np.abs(back - u)[:, 3:-3].max() <= 2.5  # two model pixels wide at most


def test_impossible_settings() -> None:
    with pytest.raises(ConfigError, match="smaller than one patch"):
        Sizing.fit((100, 100), 8)
    with pytest.raises(ConfigError, match="choose fit, crop or pad"):
        Sizing.of("squash", (100, 100))  # type: ignore[arg-type]


# the published preprocessing


def save(array: np.ndarray, path: Path) -> Path:
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("mode", ["crop", "pad"])
def test_reference_preprocessing(golden: Path, tmp_path: Path, mode: str) -> None:
    with safe_open(golden / "preprocess.safetensors", "pt") as file:
        assert json.loads(file.metadata()["json"])["reference"] == "VGGT load_fn"
        for i in range(3):
            height, width = file.get_tensor(f"in/image_{i}_hw").tolist()
            small = Image.fromarray(file.get_tensor(f"in/image_{i}_lowres_u8").numpy())
            path = save(np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)), tmp_path / f"{i}.png")
            check(load_images([path], mode), file.get_tensor(f"out/image_{i}_{mode}_every7"))  # type: ignore[arg-type]
        pair = [save(file.get_tensor(f"in/rgba_{i}_u8").numpy(), tmp_path / f"rgba{i}.png") for i in range(2)]
        check(load_images(pair, mode), file.get_tensor(f"out/rgba_batch_{mode}_every7"))  # type: ignore[arg-type]


def check(images: object, expected: object) -> None:
    ours = images[..., ::7, ::7]  # type: ignore[index]
    assert ours.shape == expected.shape  # type: ignore[attr-defined]
    assert (ours - expected).abs().max() <= 1 / 255 + 1e-6  # one grey level in case of another Pillow


def test_load_images_warns_of_mixed_shapes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [save(np.full(shape, 90, np.uint8), tmp_path / f"{shape[0]}.png") for shape in ((40, 80, 3), (60, 80, 3))]
    images = load_images(paths, side=56)
    assert images.shape == (2, 3, 42, 56) and "2 shapes" in caplog.text
    assert (images[0, :, 0] == 1).all() and (images[1] < 1).all()


def test_load_images_refuses_bad_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"a\.png is not a picture"):
        load_images([tmp_path / "a.png"])
    with pytest.raises(InputError, match="does not exist"):
        load_images([tmp_path / "b.png"])
    with pytest.raises(InputError, match="list of pictures is empty"):
        load_images([])
