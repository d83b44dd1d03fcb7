"""Every format on a scene of every real clip, counted and measured by readers that are not ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import openmore
from openmore.export import PointOptions, formats
from openmore.export.points import gather
from openmore.types import Reconstruction

CLIPS = """davis_bmx_trees davis_lady_running euroc_v101_still_a hololens_office_a kitti00_100_119
kitti01_000_050_movingcars kitti06_000_024 ngp_fox_static static_dog_gallery static_nvidia_balloon1
static_vtest_pedestrians tum_fr1_rpy_a tum_fr2_desk_20""".split()
FRAMES = 3
WRITTEN = {"tum": "a.txt", "ply": "a.ply", "glb": "a.glb", "usd": "a.usdc", "npz": "a.npz"}


@pytest.fixture(scope="module", params=CLIPS)
def real(request, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    """A lazy scene of a few frames; the weights are random, so that geometry is as wild as it gets."""
    source = clips / request.param / "rgb"
    if not source.is_dir():
        pytest.skip(f"{request.param} is not here")
    scene = openmore.reconstruct(source, "untrained:tiny", max_frames=FRAMES, refine="none")
    return Reconstruction.load(scene.save(tmp_path_factory.mktemp("real") / "scene"))


@pytest.mark.slow
def test_every_format_reads_back(real: Reconstruction, tmp_path: Path) -> None:
    trimesh, pycolmap = pytest.importorskip("trimesh"), pytest.importorskip("pycolmap")
    Usd, UsdGeom = pytest.importorskip("pxr.Usd"), pytest.importorskip("pxr.UsdGeom")
    assert real.motion is not None
    # Random weights may call everything a mover: half of it is one here.
    options = {"confidence": "0%", "edge": 0.0, "motion_margin": 0, "motion": float(np.median(real.motion))}
    for name in formats():
        if name != "rerun":  # its own test; needs a large extra
            points = options if name in ("ply", "glb", "usd", "colmap", "nerfstudio") else {}
            real.export(tmp_path / WRITTEN.get(name, name), format=name, **points)
    cloud = gather(real, PointOptions(**options))
    movers = [len(moving) for moving in cloud.movers]

    assert len(np.loadtxt(tmp_path / "a.txt")) == FRAMES
    assert len(trimesh.load(tmp_path / "a.ply").vertices) == len(cloud.static) + movers[FRAMES // 2]
    shapes = trimesh.load(tmp_path / "a.glb").geometry
    assert sum(len(shape.vertices) for name, shape in shapes.items() if name == "static") == len(cloud.static)
    assert sum(len(shape.vertices) for name, shape in shapes.items() if "movers" in name) == sum(movers)
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    assert len(UsdGeom.Points(stage.GetPrimAtPath("/Scene/Static")).GetPointsAttr().Get() or ()) == len(cloud.static)
    assert np.load(tmp_path / "a.npz")["depth"].shape == (FRAMES, *real.info.model_shape)
    check_projects(real, pycolmap.Reconstruction(tmp_path / "colmap/sparse/0"), tmp_path)


def check_projects(real: Reconstruction, model, folder: Path) -> None:
    """COLMAP: points reproject onto their pixels, pictures are the source's size. nerfstudio: every file is there."""
    assert len(model.images) == FRAMES
    for image in model.images.values():
        camera = model.cameras[image.camera_id]
        assert (camera.height, camera.width) == tuple(real.info.original_shape)
        seen = [point for point in image.points2D if point.has_point3D()][::50]
        found = [image.project_point(model.points3D[point.point3D_id].xyz) for point in seen]
        errors = [np.linalg.norm(at - point.xy) for at, point in zip(found, seen, strict=True)]
        assert not errors or max(errors) < 0.5
    entries = json.loads((folder / "nerfstudio/transforms.json").read_text())["frames"]
    for entry in entries:
        assert (folder / "nerfstudio" / entry["file_path"]).is_file()
        assert (folder / "nerfstudio" / entry["mask_path"]).is_file()
    assert len(list((folder / "depth").glob("*.png"))) == FRAMES == len(entries)


@pytest.mark.slow
def test_it_can_be_looked_at(real: Reconstruction, tmp_path: Path) -> None:
    pytest.importorskip("viser")
    from openmore.viewer.page import write_page
    from openmore.viewer.preview_video import write_preview_video

    assert write_page(real, tmp_path / "a.html").stat().st_size > 500_000  # the client alone is larger
    assert len(list(openmore.frames(write_preview_video(real, tmp_path / "a.mp4")))) == FRAMES
