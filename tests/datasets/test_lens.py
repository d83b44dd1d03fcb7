"""Lens distortion is undone at the door: COLMAP's and nerfstudio's models, and Bonn's camera."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from openmore.data.datasets.base import Pixels
from openmore.data.datasets.colmap import Colmap, lens_of
from openmore.data.datasets.lens import undistort
from openmore.data.datasets.nerfstudio import Nerfstudio
from openmore.data.datasets.tum import CALIBRATIONS, Bonn
from openmore.errors import DataError
from tests.datasets.miniatures import native
from tests.datasets.miniatures.world import World, make_world


def distorted(world: World, coefficients: tuple[float, ...]) -> World:
    """What a lens with these coefficients makes of the exact pictures."""
    h, w = world.shape
    v, u = np.mgrid[:h, :w].astype(np.float64)
    straight = cv2.undistortPoints(np.stack((u, v), -1).reshape(-1, 1, 2), world.K, np.array(coefficients), P=world.K)
    maps = straight.reshape(h, w, 2).astype(np.float32)
    rgb, depth = (
        np.stack(
            [
                cv2.remap(x, maps[..., 0], maps[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
                for x in values
            ]
        )
        for values in (world.rgb, world.depth)
    )
    return World(rgb, depth, world.moving, world.world_from_cam, world.K)


def test_bonn_is_undistorted(tmp_path: Path) -> None:
    (fx, fy, cx, cy), coefficients = CALIBRATIONS["bonn"]
    world = make_world((480, 640), frames=2, K=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]))
    native.bonn(tmp_path, distorted(world, coefficients))
    dataset = Bonn(tmp_path)
    (name,) = dataset.names()
    sample = dataset.load(name, dataset.frame_ids(name))
    inner = np.s_[:, 40:-40, 40:-40]
    assert np.mean(np.abs(sample.images.astype(int) - world.rgb)[inner] > 30) < 0.03  # checker edges
    known = sample.depth[inner] > 0
    relative = np.abs(sample.depth[inner] - world.depth[inner])[known] / world.depth[inner][known]
    assert np.quantile(relative, 0.95) < 2e-3


def test_undistort_inverts_the_lens() -> None:
    world = make_world((120, 160), frames=1)
    coefficients = (-0.2, 0.05, 0.002, -0.001)
    bent = distorted(world, coefficients)
    straight = undistort(Pixels(bent.rgb[0], bent.depth[0].astype(np.float32)), world.K, coefficients)
    inner = np.s_[20:-20, 20:-20]
    wrong = np.abs(straight.image.astype(int) - world.rgb[0])[inner].max(-1) > 40
    unbent = np.abs(bent.rgb[0].astype(int) - world.rgb[0])[inner].max(-1) > 40
    assert wrong.mean() < 0.5 * unbent.mean()


def test_colmap_lens_models() -> None:
    opencv = lens_of("OPENCV", [100, 101, 50, 40, 0.1, 0.01, 0.001, 0.002], Path("cameras.txt"))
    assert opencv.distortion == (0.1, 0.01, 0.001, 0.002)
    assert opencv.K[0].tolist() == [100, 0, 49.5]
    radial = lens_of("SIMPLE_RADIAL", [100, 50, 40, 0.1], Path("cameras.txt"))
    assert radial.distortion == (0.1, 0.0, 0.0, 0.0)
    assert lens_of("RADIAL", [100, 50, 40, 0.1, 0.2], Path("c")).distortion == (0.1, 0.2, 0.0, 0.0)
    with pytest.raises(DataError, match="image_undistorter"):
        lens_of("OPENCV_FISHEYE", [1.0] * 8, Path("cameras.txt"))


def test_nerfstudio_distortion_and_refusals(tmp_path: Path) -> None:
    world = make_world((120, 160), frames=2)
    native.nerfstudio(tmp_path, distorted(world, (-0.2, 0.05, 0.0, 0.0)))
    scene = json.loads((tmp_path / "transforms.json").read_text())
    (tmp_path / "transforms.json").write_text(json.dumps({**scene, "k1": -0.2, "k2": 0.05}))
    dataset = Nerfstudio(tmp_path)
    sample = dataset.load(dataset.names()[0], [0])
    known = sample.depth[0, 20:-20, 20:-20] > 0
    relative = np.abs(sample.depth[0] - world.depth[0])[20:-20, 20:-20][known] / world.depth[0][20:-20, 20:-20][known]
    assert np.median(relative) < 1e-3
    (tmp_path / "transforms.json").write_text(json.dumps({**scene, "camera_model": "OPENCV_FISHEYE"}))
    with pytest.raises(DataError, match="undistort the pictures"):
        Nerfstudio(tmp_path).names() and Nerfstudio(tmp_path).frame_ids("x")


def test_colmap_fisheye_names_the_cure(tmp_path: Path) -> None:
    native.colmap_text(tmp_path, make_world(frames=2))
    (tmp_path / "sparse/0/cameras.txt").write_text("1 OPENCV_FISHEYE 64 48 1 1 1 1 0 0 0 0\n")
    with pytest.raises(DataError, match="image_undistorter"):
        Colmap(tmp_path).frame_ids(tmp_path.name)
