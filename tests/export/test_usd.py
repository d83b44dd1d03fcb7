"""USD is read back with Pixar's own library, and the camera by its projection of a known point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmore.export import PointOptions
from openmore.export.cameras import corner_K
from openmore.export.points import gather
from openmore.types import Reconstruction

Usd = pytest.importorskip("pxr.Usd")
UsdGeom = pytest.importorskip("pxr.UsdGeom")


@pytest.fixture(scope="module", params=["usdc", "usda"])
def stage(scene: Reconstruction, target: Path, request):
    return Usd.Stage.Open(str(scene.export(target / f"scene.{request.param}")))


def test_points_and_time_samples_match(scene: Reconstruction, stage) -> None:
    cloud = gather(scene, PointOptions())
    static = UsdGeom.Points(stage.GetPrimAtPath("/Scene/Static")).GetPointsAttr()
    np.testing.assert_allclose(np.array(static.Get()), cloud.static["xyz"], atol=1e-6)
    assert static.GetNumTimeSamples() == 0
    movers = UsdGeom.Points(stage.GetPrimAtPath("/Scene/Movers")).GetPointsAttr()
    np.testing.assert_allclose(movers.GetTimeSamples(), [0, 1, 2, 3], atol=1e-9)
    for code, expected in zip(movers.GetTimeSamples(), cloud.movers, strict=True):
        np.testing.assert_allclose(np.array(movers.Get(code)), expected["xyz"], atol=1e-6)


def test_time_codes_are_the_sources_seconds(stage) -> None:
    assert stage.GetTimeCodesPerSecond() == pytest.approx(10)
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, pytest.approx(3))


def test_the_camera_projects_like_ours(scene: Reconstruction, stage) -> None:
    """USD's own frustum, from transform, apertures and offsets, puts a world point at our pixel."""
    point = np.array([0.3, -0.4, 2.5])
    prim = UsdGeom.Camera(stage.GetPrimAtPath("/Scene/Camera"))
    for i, camera in enumerate(scene.cameras):
        frustum = prim.GetCamera(float(i)).frustum
        local = UsdGeom.Xformable(stage.GetPrimAtPath("/Scene")).GetLocalTransformation()
        in_stage = local.Transform(type(local.Transform((0, 0, 0)))(*point))
        clip = (frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix()).Transform(in_stage)
        pixel = [(clip[0] + 1) / 2 * camera.width, (1 - clip[1]) / 2 * camera.height]
        in_camera = camera.cam_from_world[:3, :3] @ point + camera.cam_from_world[:3, 3]
        ours = corner_K(camera, (48, 64), (96, 128)) @ in_camera
        np.testing.assert_allclose(pixel, ours[:2] / ours[2], atol=1e-3)


def test_the_stage_stands_upright(stage) -> None:
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    down = UsdGeom.Xformable(stage.GetPrimAtPath("/Scene")).GetLocalTransformation().TransformDir((0, 1, 0))
    np.testing.assert_allclose(down, [0, -1, 0], atol=1e-9)
