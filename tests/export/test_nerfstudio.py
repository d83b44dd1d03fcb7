"""transforms.json is read the way nerfstudio reads it: rays through pixel centres + 0.5, OpenGL axes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmore.types import Reconstruction
from tests.scenes import BOX_LOW, WALL_Z, distance_to_static

trimesh = pytest.importorskip("trimesh")


@pytest.fixture(scope="module")
def folder(sourced_scene: Reconstruction, target: Path) -> Path:
    return sourced_scene.export(target / "nerfstudio", format="nerfstudio")


@pytest.fixture(scope="module")
def transforms(folder: Path) -> dict:
    return json.loads((folder / "transforms.json").read_text())


def nerfstudio_ray(frame: dict, column: int, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin and direction of a pixel's ray as nerfstudio's Cameras generate it (y and z flipped: OpenGL)."""
    x = (column + 0.5 - frame["cx"]) / frame["fl_x"]
    y = -(row + 0.5 - frame["cy"]) / frame["fl_y"]
    matrix = np.array(frame["transform_matrix"])
    return matrix[:3, 3], matrix[:3, :3] @ [x, y, -1.0]


def test_rays_meet_the_scene_where_the_picture_says(folder: Path, transforms: dict) -> None:
    """Cast every pixel of a picture against the back wall and predict its checker colour."""
    for frame in transforms["frames"]:
        picture = np.asarray(Image.open(folder / frame["file_path"])).astype(int)
        right = agreed = 0
        for row in range(0, frame["h"], 3):
            for column in range(0, frame["w"], 3):
                origin, ray = nerfstudio_ray(frame, column, row)
                point = origin + ray * (WALL_Z - origin[2]) / ray[2]
                cell = point[:2] * 2
                if np.abs(cell - cell.round()).min() < 0.04:
                    continue  # on the line between two squares
                red, green, blue = picture[row, column]
                if not (blue > 120 and green > 90):
                    continue  # ball or box
                checker = (np.floor(cell[0]) + np.floor(cell[1])) % 2
                agreed += (red > 135) == bool(checker)
                right += 1
        assert right > 500 and agreed / right > 0.995


def test_cameras_look_forward_in_opengl_axes(sourced_scene: Reconstruction, transforms: dict) -> None:
    first = np.array(transforms["frames"][0]["transform_matrix"])
    np.testing.assert_allclose(first, np.diag([1, -1, -1, 1]), atol=1e-12)
    for frame, camera in zip(transforms["frames"], sourced_scene.cameras, strict=True):
        np.testing.assert_allclose(np.array(frame["transform_matrix"])[:3, 3], camera.center)


def test_points_share_the_cameras_world(folder: Path, transforms: dict) -> None:
    cloud = trimesh.load(folder / transforms["ply_file_path"])
    assert len(cloud.vertices) > 1000
    assert distance_to_static(np.asarray(cloud.vertices)).max() < 1e-4
    assert (np.asarray(cloud.vertices)[:, 2] < BOX_LOW[2] + 0.6).any()  # the box is there, not only the wall


def test_frames_name_existing_pictures_masks_and_times(folder: Path, transforms: dict) -> None:
    assert [frame["time"] for frame in transforms["frames"]] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    for frame in transforms["frames"]:
        assert Image.open(folder / frame["file_path"]).size == (frame["w"], frame["h"]) == (128, 96)
        assert Image.open(folder / frame["mask_path"]).size == (128, 96)
