"""A refined scene exports the tracks its cameras were solved from, and pycolmap finds every one where it was seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openmore.errors import DataError, InputError
from openmore.io.scene_tracks import TRACKS
from openmore.refinement.apply import refine_predictions
from openmore.types import Camera, FramePrediction, Reconstruction, SceneInfo
from tests.refinement.world import ROOM, SHAPE, K, depth_of, disturbed, film, rotation_errors_deg, walk

pycolmap = pytest.importorskip("pycolmap")
FRAMES = 5


@pytest.fixture(scope="module")
def refined() -> Reconstruction:
    """Frames of 480x360 pixels of which refinement saw half the size, the network an eighth."""
    cameras = walk(FRAMES, 0.2)
    network, pictures = disturbed(cameras), film(ROOM, cameras)
    frames = []
    for s in range(FRAMES):
        camera = Camera(network[s], np.diag([2.0, 2, 1]) @ K, 2 * SHAPE[1], 2 * SHAPE[0])
        depth = depth_of(ROOM, cameras[s])[2::4, 2::4]
        rgb = pictures[s][2::4, 2::4]
        frames.append(FramePrediction(s, s / 10, camera, depth, np.ones_like(depth), np.zeros_like(depth), rgb))
    found, _, tracks = refine_predictions(frames, pictures, K=np.diag([2.0, 2, 1]) @ K)
    assert rotation_errors_deg(np.stack([f.camera.world_from_cam for f in found]), cameras).max() < 0.2
    info = SceneInfo("none", {"name": "exact"}, "full", frames[0].shape, (2 * SHAPE[0], 2 * SHAPE[1]))
    return Reconstruction(found, info, tracks=tracks)


def test_tracks_are_saved_and_loaded(refined: Reconstruction, tmp_path: Path) -> None:
    path = refined.save(tmp_path / "scene")
    loaded = Reconstruction.load(path).tracks
    assert loaded is not None and refined.tracks is not None and len(loaded.xyz) > 150
    for name in ("xyz", "rgb", "point", "frame", "pixel"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(refined.tracks, name))
    (path / TRACKS).write_bytes(b"torn")
    with pytest.raises(DataError, match=r"tracks\.npz"):
        Reconstruction.load(path)
    (path / TRACKS).unlink()
    assert Reconstruction.load(path).tracks is None


def test_colmap_gets_real_tracks(refined: Reconstruction, tmp_path: Path) -> None:
    project = refined.export(tmp_path / "colmap", format="colmap")
    model = pycolmap.Reconstruction(str(project / "sparse" / "0"))
    lengths = np.array([len(point.track.elements) for point in model.points3D.values()])
    assert len(lengths) > 150 and lengths.min() >= 2 and lengths.mean() > 2.5
    errors = [
        np.linalg.norm(image.project_point(model.points3D[p.point3D_id].xyz) - p.xy)
        for image in model.images.values()
        for p in image.points2D
        if p.has_point3D()
    ]
    assert len(errors) == lengths.sum()
    assert np.median(errors) < 0.3 and np.max(errors) < 1.0  # pixels of the exported pictures


def test_dense_points_on_request_and_without_refinement(refined: Reconstruction, tmp_path: Path) -> None:
    for name, scene, options in (("a", refined, {"dense": True}), ("b", replace(refined, tracks=None), {})):
        project = scene.export(tmp_path / name, format="colmap", **options)
        model = pycolmap.Reconstruction(str(project / "sparse" / "0"))
        assert {len(point.track.elements) for point in model.points3D.values()} == {1}


def test_point_options_beside_tracks_are_refused(refined: Reconstruction, tmp_path: Path) -> None:
    for option in ({"confidence": "30%"}, {"static_only": False}, {"max_points": 9}):
        with pytest.raises(InputError, match=r"has no effect on colmap: .* add --dense \(dense=True\)"):
            refined.export(tmp_path / "a", format="colmap", **option)
    assert not (tmp_path / "a").exists()
    refined.export(tmp_path / "b", format="colmap", static_only=True, motion=0.9, motion_margin=0)


def test_colours_are_those_of_the_pictures(refined: Reconstruction) -> None:
    tracks = refined.tracks
    assert tracks is not None
    pictures = film(ROOM, walk(FRAMES, 0.2))
    first = np.unique(tracks.point, return_index=True)[1]
    at = np.round(tracks.pixel[first] / 2).astype(int)
    seen = np.stack([pictures[s][v, u] for s, (u, v) in zip(tracks.frame[first], at)])
    assert np.abs(seen.astype(int) - tracks.rgb.astype(int)).mean() < 3
