"""The COLMAP project is read by pycolmap: points, cameras and pictures must tell the same story."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmore.errors import DataError, InputError
from openmore.export.cameras import corner_K, corner_pixels
from openmore.export.colmap import Tracks
from openmore.types import Reconstruction
from tests.scenes import SPHERE_RADIUS, camera, distance_to_static, make_scene, sphere_center, write_source

pycolmap = pytest.importorskip("pycolmap")


@pytest.fixture(scope="module")
def project(sourced_scene: Reconstruction, target: Path) -> Path:
    return sourced_scene.export(target / "colmap", format="colmap", text=True)


@pytest.fixture(scope="module")
def model(project: Path):
    return pycolmap.Reconstruction(str(project / "sparse" / "0"))


def reprojection_errors(model) -> np.ndarray:
    """Every observation against pycolmap's own projection of its point."""
    errors = []
    for image in model.images.values():
        for observation in image.points2D:
            projected = image.project_point(model.points3D[observation.point3D_id].xyz)
            errors.append(np.linalg.norm(projected - observation.xy))
    return np.array(errors)


def outline_middle(i: int) -> np.ndarray:
    """World point that projects to the middle of the ball's outline: the ellipse's, not the ball's, centre."""
    cam = camera(i, (96, 128))
    x, y, z = cam.cam_from_world[:3, :3] @ sphere_center(i) + cam.cam_from_world[:3, 3]
    return cam.world_from_cam[:3, :3] @ [x, y, z - SPHERE_RADIUS**2 / z] + cam.center


def test_points_project_to_the_middle_of_the_block_they_were_seen_in(model) -> None:
    errors = reprojection_errors(model)
    assert len(errors) == len(model.points3D) > 1000
    assert errors.max() < 1e-3
    some = next(iter(model.images.values())).points2D[0].xy
    np.testing.assert_allclose(some % 2, 1)  # a model pixel is a 2x2 block here: its middle is an odd corner coordinate


def test_cameras_match_the_scene_at_original_resolution(sourced_scene: Reconstruction, model) -> None:
    assert len(model.cameras) == 1  # equal intrinsics are one camera
    camera = next(iter(model.cameras.values()))
    assert (camera.width, camera.height, camera.model.name) == (128, 96, "PINHOLE")
    np.testing.assert_allclose(camera.params, [0.9 * 128, 0.9 * 128, 64 + 1, 48 + 1])
    for i, ours in enumerate(sourced_scene.cameras):
        image = model.images[i + 1]
        assert image.name == f"{i:06d}.jpg"
        np.testing.assert_allclose(image.cam_from_world().matrix(), ours.cam_from_world[:3], atol=1e-12)


def test_the_mover_is_where_the_camera_says_in_the_exported_picture(project: Path, model) -> None:
    """An end-to-end check of the half pixel: the red disc's middle in the picture against the ball's projection."""
    for i in range(4):
        picture = np.asarray(Image.open(project / "images" / f"{i:06d}.jpg")).astype(int)
        assert picture.shape == (96, 128, 3)
        v, u = np.nonzero((picture[..., 0] > 180) & (picture[..., 1] < 80))
        seen = np.array([u.mean(), v.mean()]) + 0.5
        assert np.linalg.norm(seen - model.images[i + 1].project_point(outline_middle(i))) < 0.15


def test_points_are_static_by_default_and_masks_cover_the_mover(project: Path, model) -> None:
    xyz = np.array([point.xyz for point in model.points3D.values()])
    assert distance_to_static(xyz).max() < 1e-4
    for i in range(4):
        mask = np.asarray(Image.open(project / "masks" / f"{i:06d}.jpg.png"))
        picture = np.asarray(Image.open(project / "images" / f"{i:06d}.jpg")).astype(int)
        red = (picture[..., 0] > 180) & (picture[..., 1] < 80)
        assert mask.shape == (96, 128) and set(np.unique(mask)) == {0, 255}
        assert (mask[red] == 0).all() and (mask == 0).mean() < 0.2


def test_binary_and_text_files_hold_the_same_model(project: Path, model, tmp_path: Path) -> None:
    for file in (project / "sparse" / "0").glob("*.txt"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    text = pycolmap.Reconstruction(str(tmp_path))
    assert text.num_points3D() == model.num_points3D()
    for point_id in (1, 7, model.num_points3D()):
        a, b = text.points3D[point_id], model.points3D[point_id]
        np.testing.assert_allclose(a.xyz, b.xyz)
        assert (a.color == b.color).all()
        assert a.track.elements[0].image_id == b.track.elements[0].image_id
    np.testing.assert_allclose(text.images[3].points2D[5].xy, model.images[3].points2D[5].xy, atol=1e-5)


def test_pycolmap_can_write_and_read_it_again(model, tmp_path: Path) -> None:
    model.write_binary(str(tmp_path))
    again = pycolmap.Reconstruction(str(tmp_path))
    assert again.num_points3D() == model.num_points3D()


def test_without_the_source_pictures_and_intrinsics_are_model_sized(scene, target: Path, caplog) -> None:
    project = scene.export(target / "colmap_model", format="colmap", static_only=False)
    assert "model resolution" in caplog.text
    model = pycolmap.Reconstruction(str(project / "sparse" / "0"))
    camera = next(iter(model.cameras.values()))
    assert (camera.width, camera.height) == (64, 48)
    np.testing.assert_allclose(camera.params, [0.9 * 64, 0.9 * 64, 32.5, 24.5])
    assert reprojection_errors(model).max() < 1e-3
    assert Image.open(project / "images" / "000000.jpg").size == (64, 48)
    xyz = np.array([point.xyz for point in model.points3D.values()])
    assert distance_to_static(xyz).max() > 0.1  # asked for: movers are in


def test_real_tracks_replace_the_dense_points(scene: Reconstruction, target: Path) -> None:
    """A corner of the box and a wall point, observed in three and two frames; one observation is 3 px off."""
    xyz = np.array([[-0.7, 0.1, 2.6], [0.5, 0.0, 4.0]])
    point, frame = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 3, 3, 0])
    pixels = []
    for p, f in zip(point, frame):
        camera = scene.cameras[f]
        ray = camera.K_at((48, 64)) @ (camera.cam_from_world[:3, :3] @ xyz[p] + camera.cam_from_world[:3, 3])
        pixels.append(ray[:2] / ray[2])
    pixels[-1] += [3, 0]
    tracks = Tracks(xyz, np.full((2, 3), 9, np.uint8), point, frame, np.array(pixels))
    project = scene.export(target / "tracks", format="colmap", tracks=tracks)
    model = pycolmap.Reconstruction(str(project / "sparse" / "0"))
    lengths = {i: point.track.length() for i, point in model.points3D.items()}
    assert lengths == {1: 3, 2: 2}
    assert model.points3D[1].error == pytest.approx(0, abs=1e-9)
    assert model.points3D[2].error == pytest.approx(1.5)
    assert sorted(reprojection_errors(model).round(6)) == [0, 0, 0, 0, 3]


def test_tracks_of_absent_frames_are_refused(scene: Reconstruction, tmp_path: Path) -> None:
    bad = Tracks(np.zeros((1, 3)), np.zeros((1, 3), np.uint8), np.array([0]), np.array([9]), np.zeros((1, 2)))
    with pytest.raises(InputError, match=r"frames 9..9, the scene has 4"):
        scene.export(tmp_path / "x", format="colmap", tracks=bad)


def test_shared_camera_takes_the_median(scene: Reconstruction, tmp_path: Path) -> None:
    from dataclasses import replace

    frames = []
    for i, frame in enumerate(scene.frames):
        K = frame.camera.K.copy()
        K[0, 0] += i
        frames.append(replace(frame, camera=replace(frame.camera, K=K)))
    varied = Reconstruction(frames, scene.info)
    counts = []
    for name, shared in (("each", False), ("one", True)):
        path = varied.export(tmp_path / name, format="colmap", shared_camera=shared)
        counts.append(len(pycolmap.Reconstruction(str(path / "sparse" / "0")).cameras))
    assert counts == [4, 1]


def test_a_changed_source_is_an_error_and_says_what_to_do(tmp_path: Path) -> None:
    scene = make_scene(source=str(tmp_path / "frames"))
    folder = write_source(scene, tmp_path / "frames")
    (folder / "000003.png").unlink()
    with pytest.raises(DataError, match=r"frame 3 is missing now.*images='model'"):
        scene.export(tmp_path / "a", format="colmap")
    for file in folder.iterdir():
        Image.new("RGB", (30, 20)).save(file)
    with pytest.raises(DataError, match=r"frame 0 is \(20, 30\) now"):
        scene.export(tmp_path / "b", format="colmap")
    scene.export(tmp_path / "c", format="colmap", images="model")


def test_giant_pictures_are_exported_as_they_are_read_with_their_intrinsics(
    sourced_scene: Reconstruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("openmore.io.images.MAX_SIDE", 64)  # of 128
    project = sourced_scene.export(tmp_path / "colmap", format="colmap")
    model = pycolmap.Reconstruction(str(project / "sparse" / "0"))
    camera = next(iter(model.cameras.values()))
    assert (camera.width, camera.height) == (64, 48) and "reduced, 64x48" in caplog.text
    assert Image.open(project / "images" / "000000.jpg").size == (64, 48)
    assert Image.open(project / "masks" / "000000.jpg.png").size == (64, 48)
    assert reprojection_errors(model).max() < 1e-3
    nerf = json.loads((sourced_scene.export(tmp_path / "nerf", "nerfstudio") / "transforms.json").read_text())
    assert (nerf["frames"][0]["w"], nerf["frames"][0]["fl_x"]) == (64, pytest.approx(camera.params[0]))


def test_image_choices_are_checked(scene: Reconstruction, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of auto, source, model"):
        scene.export(tmp_path / "a", format="colmap", images="original")
    with pytest.raises(InputError, match="not a file or folder here"):
        scene.export(tmp_path / "b", format="colmap", images="source")


def test_corner_intrinsics_agree_with_corner_pixels() -> None:
    """Project with K_model in our convention or with corner_K in COLMAP's: the same place in the picture."""
    scene = make_scene(1, (30, 50), (90, 200))
    camera, point = scene.cameras[0], np.array([0.3, -0.2, 2.0])
    ours = camera.K_at((30, 50)) @ point
    theirs = corner_K(camera, (30, 50), (90, 200)) @ point
    np.testing.assert_allclose(corner_pixels(ours[:2] / ours[2], (30, 50), (90, 200)), theirs[:2] / theirs[2])
