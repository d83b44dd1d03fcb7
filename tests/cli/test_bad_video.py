"""`openmore reconstruct` on video that geometry cannot work with: exit 0, a warning that names it, finite cameras."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from openmore.types import Reconstruction
from tests.refinement.world import OTHER_ROOM, ROOM, SHAPE, WALL, film, picture, turning, walk

FRAMES = 6
WIDE = "400,400,119.5,89.5"  # the rooms are filmed with a focal length of 210 px
Pictures = list[np.ndarray]


def no_texture() -> Pictures:
    return [np.full((*SHAPE, 3), 120, np.uint8)] * FRAMES


def blank_frame() -> Pictures:
    return [np.zeros_like(image) if s == 3 else image for s, image in enumerate(film(ROOM, walk(FRAMES, 0.2)))]


def pure_rotation() -> Pictures:
    return film(ROOM, turning(FRAMES, 2.5))


def static_camera() -> Pictures:
    noise = np.random.default_rng(0).normal(0, 3, (FRAMES, *SHAPE, 3))
    return [np.clip(picture(ROOM, np.eye(4)) + n, 0, 255).astype(np.uint8) for n in noise]


def all_moving() -> Pictures:
    pixels = np.random.default_rng(0).integers(0, 255, (FRAMES, 45, 60, 3), dtype=np.uint8)
    return [cv2.resize(p, SHAPE[::-1]) for p in pixels]


def two_shots() -> Pictures:
    return [*film(ROOM, walk(FRAMES, 0.2)), *film(OTHER_ROOM, walk(FRAMES, 0.2))]


def exposure_steps() -> Pictures:
    images = film(ROOM, walk(FRAMES, 0.2))
    return [(image * (0.45 if s >= 3 else 1.0)).astype(np.uint8) for s, image in enumerate(images)]


def plane() -> Pictures:
    return film(WALL, walk(FRAMES, 0.2))


def fast_turn_with_parallax() -> Pictures:
    return film(ROOM, walk(FRAMES, 0.25, turn=0.06))


@pytest.mark.parametrize(
    ("pictures", "warning", "options"),
    [
        (no_texture, "no texture", ()),
        (blank_frame, "blank frame", ()),
        (pure_rotation, "pure rotation", ()),
        (static_camera, "static camera", ()),
        (all_moving, "the network's cameras are kept", ()),
        (two_shots, "cut into 2 shots", ()),
        (exposure_steps, "exposure changes", ()),
        (plane, "near-planar", ()),
        (fast_turn_with_parallax, "wrong K", ("--intrinsics", WIDE)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_video_is_named_and_harmless(
    openmore: Callable, tmp_path: Path, pictures: Callable[[], Pictures], warning: str, options: tuple[str, ...]
) -> None:
    cv2.setRNGSeed(0)
    (tmp_path / "clip").mkdir()
    for s, image in enumerate(pictures()):
        Image.fromarray(image).save(tmp_path / "clip" / f"{s:02}.png")
    ran = openmore(
        "reconstruct", tmp_path / "clip", "-o", tmp_path / "scene", "--weights", "untrained:tiny", "--dtype", "fp32",
        "--refine", "geometry", "--no-video", *options,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    scene = Reconstruction.load(tmp_path / "scene")
    assert any(warning in text for text in scene.info.warnings), scene.info.warnings
    assert warning in " ".join((ran.out + ran.err).split())
    assert np.isfinite(scene.world_from_cam).all() and np.isfinite(scene.depth).all()
    json.loads((tmp_path / "scene" / "scene.json").read_text(), parse_constant=pytest.fail)
