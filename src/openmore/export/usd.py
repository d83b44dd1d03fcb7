"""USD with time samples: a static cloud, a cloud of movers that changes over time, and the moving camera.

Choices
- Stage time codes are seconds x frames per second, from the scene's own time stamps.
- The root turns the OpenCV world (y down) into y up; the camera prim has USD's own axes (looks along -z).
- Units: scale is relative, so metersPerUnit is written as 1 and says nothing unless the scene was given a scale.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from openmore.errors import MissingExtra
from openmore.export.cameras import OPENGL, corner_K, timeline
from openmore.export.colours import linear_from_srgb
from openmore.export.points import PointOptions, gather
from openmore.progress import ProgressCallback, silent
from openmore.types import Camera, Reconstruction

_APERTURE = 0.36  # film width in tenths of a unit: 36 mm when the unit is read as a metre


def write(
    recon: Reconstruction,
    path: Path,
    *,
    points: PointOptions = PointOptions(),
    point_size: float | None = None,
    progress: ProgressCallback = silent,
) -> None:
    """Write the stage. `point_size` is the drawn diameter in scene units; default: the thinning cell."""
    Usd, UsdGeom = _pxr("Usd"), _pxr("UsdGeom")
    cloud = gather(recon, points, progress)
    times = timeline(recon)
    fps = 1 / float(np.median(np.diff(times))) if len(times) > 1 else 24.0
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(fps)
    stage.SetFramesPerSecond(fps)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(float(times[-1] * fps))
    root = UsdGeom.Xform.Define(stage, "/Scene")
    root.AddRotateXOp().Set(180.0)
    stage.SetDefaultPrim(root.GetPrim())
    size = point_size or cloud.voxel or 0.01
    _set_points(UsdGeom.Points.Define(stage, "/Scene/Static"), cloud.static, size, Usd.TimeCode.Default())
    if any(len(movers) for movers in cloud.movers):
        prim = UsdGeom.Points.Define(stage, "/Scene/Movers")
        for time, movers in zip(times * fps, cloud.movers, strict=True):
            _set_points(prim, movers, size, Usd.TimeCode(float(time)))
    _add_camera(stage, recon, times * fps)
    stage.GetRootLayer().Save()


def _pxr(module: str) -> Any:
    """One of USD's modules; typed Any because its members are bound at run time."""
    try:
        return import_module(f"pxr.{module}")
    except ImportError as error:
        raise MissingExtra("usd-core", "export", "USD export") from error


def _set_points(prim: Any, cloud: np.ndarray, size: float, time: Any) -> None:
    UsdGeom, Vt = _pxr("UsdGeom"), _pxr("Vt")
    prim.GetPointsAttr().Set(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(cloud["xyz"])), time)
    prim.GetWidthsAttr().Set(Vt.FloatArray.FromNumpy(np.full(len(cloud), size, np.float32)), time)
    primvar = prim.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex)
    primvar.Set(Vt.Vec3fArray.FromNumpy(linear_from_srgb(cloud["rgb"])), time)


def _add_camera(stage: Any, recon: Reconstruction, codes: np.ndarray) -> None:
    Gf, UsdGeom = _pxr("Gf"), _pxr("UsdGeom")
    prim = UsdGeom.Camera.Define(stage, "/Scene/Camera")
    transform = prim.AddTransformOp()
    for code, camera in zip(codes.tolist(), recon.cameras, strict=True):
        # USD multiplies row vectors, hence the transpose.
        transform.Set(Gf.Matrix4d((camera.world_from_cam @ OPENGL).T.tolist()), code)
        for name, value in _lens(camera, recon.info.model_shape).items():
            getattr(prim, f"Get{name}Attr")().Set(value, code)
    prim.GetHorizontalApertureAttr().Set(_APERTURE)
    prim.GetClippingRangeAttr().Set(Gf.Vec2f(0.001, 1e6))


def _lens(camera: Camera, model_shape: tuple[int, int]) -> dict[str, float]:
    """Focal length, vertical aperture and principal point in aperture units, per USD's camera schema."""
    shape = (camera.height, camera.width)
    K = corner_K(camera, model_shape, shape)
    unit = _APERTURE / camera.width
    return {
        "FocalLength": K[0, 0] * unit,
        # USD has square pixels; a different fy is expressed by the film back's height.
        "VerticalAperture": camera.height * unit * K[0, 0] / K[1, 1],
        "HorizontalApertureOffset": (camera.width / 2 - K[0, 2]) * unit,
        "VerticalApertureOffset": (K[1, 2] - camera.height / 2) * unit * K[0, 0] / K[1, 1],
    }
