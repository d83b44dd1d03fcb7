from __future__ import annotations

import numpy as np
import pytest

from openmore.errors import ConfigError, InputError
from openmore.flow import get_flow
from openmore.flow.dis import DISFlow


def textured(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Smooth random RGB texture, uint8 [H, W, 3]."""
    import cv2

    noise = np.random.default_rng(seed).normal(size=(*shape, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def test_recovers_a_shift_with_sign_and_axis_order() -> None:
    world = textured((80, 120))
    a, b = world[10:70, 10:110], world[8:68, 7:107]  # the content of b sits 3 px further right and 2 px further down
    result = DISFlow()(a, b)
    assert result.flow.shape == (2, 60, 100) and result.flow.dtype == np.float32
    inner = result.flow[:, 10:-10, 10:-10]
    assert np.allclose(np.median(inner, axis=(1, 2)), (3, 2), atol=0.1)
    assert np.median(result.confidence[10:-10, 10:-10]) > 0.8


def test_both_directions_are_opposite() -> None:
    world = textured((80, 120), seed=1)
    ab, ba = DISFlow("fast").both(world[10:70, 10:110], world[10:70, 6:106])
    assert np.median(ab.flow[0]) == pytest.approx(4, abs=0.2)
    assert np.median(ba.flow[0]) == pytest.approx(-4, abs=0.2)


def test_confidence_is_low_where_the_content_is_hidden() -> None:
    world = textured((64, 128), seed=2)
    a, b = world.copy(), world.copy()
    a[16:48, 20:52] = textured((32, 32), seed=3)
    b[16:48, 40:72] = textured((32, 32), seed=3)  # the square jumps 20 px and covers columns 52..72
    confidence = DISFlow()(a, b).confidence
    assert confidence[18:46, 54:70].mean() < 0.4 < 0.8 < confidence[:, 90:].mean()


def test_a_still_picture_has_no_flow() -> None:
    image = textured((48, 48))
    assert np.abs(DISFlow()(image, image).flow).max() < 0.05


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.zeros((20, 20, 3), np.uint8), np.zeros((20, 24, 3), np.uint8), "20x20 and 24x20"),
        (np.zeros((20, 20, 3)), np.zeros((20, 20, 3)), "uint8"),
        (np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8), r"\[H, W, 3\]"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), "at least 12x12"),
    ],
)
def test_wrong_pictures_are_named(a: np.ndarray, b: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        DISFlow()(a, b)


def test_names() -> None:
    assert get_flow("dis").name == "dis-medium"
    assert get_flow("dis-fast").name == "dis-fast"
    with pytest.raises(ConfigError, match="choose one of"):
        get_flow("dis-slow")
    with pytest.raises(ConfigError, match="dis-fast"):
        get_flow("raft")
