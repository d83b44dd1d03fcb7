"""The texture bank: filters are means, tiles repeat, photographs replace patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openmore.data.synthetic.patterns import PATTERNS, pattern
from openmore.data.synthetic.textures import LEVELS, ROWS, SIZE, build_bank, level_of, photo_bank
from openmore.errors import InputError


def sample(bank, u: float, v: float, level: int) -> np.ndarray:
    first = torch.zeros(1, dtype=torch.int32)
    where = [torch.tensor([x], dtype=torch.float32) for x in (u, v)]
    return bank.lookup(*bank.taps(first, *where, torch.tensor([level], dtype=torch.int32)))[:, 0].numpy()


def test_a_lookup_interpolates_linear_light_and_repeats_every_tile() -> None:
    picture = np.random.default_rng(0).random((SIZE, SIZE, 3), dtype=np.float32)
    bank = build_bank([picture], "cpu")
    linear = picture**2
    np.testing.assert_allclose(sample(bank, 3 / SIZE, 5 / SIZE, 0), linear[5, 3], atol=1e-3)
    between = (linear[5, 3] + linear[5, 4]) / 2
    np.testing.assert_allclose(sample(bank, 3.5 / SIZE + 2, 5 / SIZE - 7, 0), between, atol=2e-3)
    np.testing.assert_allclose(sample(bank, 0, 0, LEVELS - 1), linear[: SIZE // 2, : SIZE // 2].mean((0, 1)), atol=2e-3)
    assert bank.count == 1 and bank.table.shape[0] == ROWS


def test_the_level_is_the_exponent_and_the_blend_is_continuous() -> None:
    footprint = torch.tensor([0.1, 1.0, 1.5, 2.0, 3.999, 4.0, 1e9])
    level, blend = level_of(footprint)
    assert level.tolist() == [0, 0, 0, 1, 1, 2, LEVELS - 2]
    torch.testing.assert_close(blend[:6], torch.tensor([0.0, 0.0, 0.5, 0.0, 0.9995, 0.0]))


@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_patterns_tile_stay_in_range_and_depend_on_their_number_only(number: int) -> None:
    picture = pattern(number, 64)
    assert picture.shape == (64, 64, 3) and picture.dtype == np.float32
    assert picture.min() >= 0 and picture.max() <= 1
    assert np.array_equal(picture, pattern(number, 64))
    assert not np.array_equal(picture, pattern(number + len(PATTERNS), 64))


def test_photographs_are_mirrored_into_tiles(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30, 3), (200, 10, 10), np.uint8)).save(tmp_path / "red.png")
    bank = photo_bank(str(tmp_path))
    np.testing.assert_allclose(sample(bank, 0.3, 0.7, 2), (np.array([200, 10, 10]) / 255) ** 2, atol=2e-3)


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        photo_bank(str(tmp_path / "absent"))
    with pytest.raises(InputError, match="no pictures"):
        photo_bank(str(tmp_path))
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    photo_bank.cache_clear()
    with pytest.raises(InputError, match=r"bad\.jpg"):
        photo_bank(str(tmp_path))
