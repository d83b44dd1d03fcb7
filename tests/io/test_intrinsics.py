"""Intrinsics as people give them, and one line for what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmore.errors import InputError
from openmore.io.intrinsics import parse_intrinsics

EXPECTED = np.array([[500.0, 0, 319], [0, 510, 239], [0, 0, 1]])


def test_text_numbers_and_matrix_are_the_same_lens() -> None:
    for given in ("500,510,319,239", "500, 510, 319, 239", (500, 510, 319, 239), EXPECTED):
        np.testing.assert_array_equal(parse_intrinsics(given).K_for((480, 640)), EXPECTED)


def test_a_file_may_name_its_picture_size(tmp_path: Path) -> None:
    path = tmp_path / "intrinsics.txt"
    path.write_text("# fx fy cx cy width height\n500 510 319 239 640 480\n")
    np.testing.assert_allclose(parse_intrinsics(path).K_for((240, 320)), np.diag([0.5, 0.5, 1]) @ EXPECTED)
    path.write_text("500 510 319 239")
    np.testing.assert_array_equal(parse_intrinsics(str(path)).K_for((480, 640)), EXPECTED)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("500,510", "2 numbers"),
        ("a,b,c,d", "no number"),
        ("nowhere.txt", "neither numbers nor a file"),
        ("-500,510,319,239", "positive"),
        ("nan,510,319,239", "finite"),
        ("500,5,319,239", "differ"),
        ("500,510,319,239,0,480", "positive"),
    ],
)
def test_nonsense_is_one_line(given: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_intrinsics(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"fx": 500}, "are no numbers"),
        ([[500, 0, 319], [0, 510]], "are no numbers"),
        (["a", 510, 319, 239], "are no numbers"),
        ("x" * 300, "cannot be read: x+: File name too long: give a shorter one"),
    ],
    ids=["dict", "ragged", "words", "long"],
)
def test_other_types_are_one_line(given: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        parse_intrinsics(given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_what_was_parsed_stays() -> None:
    lens = parse_intrinsics("500,510,319,239")
    assert parse_intrinsics(lens) is lens


def test_a_principal_point_outside_the_picture_is_refused() -> None:
    with pytest.raises(InputError, match="64x48"):
        parse_intrinsics("500,510,319,239").K_for((48, 64))


@pytest.mark.parametrize("given", ["0.9,1.2,319,239", "1e300,1e300,319,239"])
def test_a_focal_length_no_lens_has_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="no pinhole is that"):
        parse_intrinsics(given).K_for((480, 640))
