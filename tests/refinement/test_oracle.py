"""The same problem given to pycolmap's bundle adjustment (Ceres): our solver must end where it does."""

from __future__ import annotations

import numpy as np
import pytest

from openmore.refinement.adjustment.bundle import Observations, State, residuals
from openmore.refinement.adjustment.solver import Settings, solve
from openmore.refinement.cameras.shot import world_from_cam
from tests.refinement.world import SHAPE, points_problem, position_error, rotation_errors_deg, shaken

pycolmap = pytest.importorskip("pycolmap")


def as_colmap(state: State, obs: Observations):
    """The problem as a pycolmap.Reconstruction. Both count pixels alike here: the centre is moved along."""
    scene = pycolmap.Reconstruction()
    camera = pycolmap.Camera(
        camera_id=1, model="SIMPLE_PINHOLE", width=SHAPE[1], height=SHAPE[0], params=[state.focal, *state.center]
    )
    scene.add_camera_with_trivial_rig(camera)
    rows = [np.flatnonzero(obs.frame == s) for s in range(len(state.R))]
    for s, own in enumerate(rows):
        image = pycolmap.Image(
            name=str(s), camera_id=1, image_id=s + 1, points2D=[pycolmap.Point2D(uv) for uv in obs.uv[own]]
        )
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(state.R[s]), state.t[s])
        scene.add_image_with_trivial_frame(image, pose)
    place = np.empty(len(obs), int)
    for own in rows:
        place[own] = np.arange(len(own))
    for p, point in enumerate(state.points):
        track = pycolmap.Track()
        for row in np.flatnonzero(obs.point == p):
            track.add_element(int(obs.frame[row]) + 1, int(place[row]))
        scene.add_point3D(point[:3] / point[3], track, np.zeros(3, np.uint8))
    return scene


@pytest.mark.parametrize("free_focal", [False, True])
def test_ends_where_pycolmap_ends(free_focal: bool) -> None:
    truth, obs = points_problem(6, 80, noise_px=0.3)
    start = shaken(truth, 0.01)
    settings = Settings(np.arange(6) > 0, free_focal, robust_px=1e3, iterations=100, tolerance=1e-12)
    ours = solve(start, obs, settings).state
    scene = as_colmap(start, obs)
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length, options.refine_principal_point, options.refine_extra_params = free_focal, False, False
    options.print_summary = False
    pycolmap.bundle_adjustment(scene, options)
    theirs = np.stack([np.linalg.inv(np.vstack((scene.images[s + 1].cam_from_world().matrix(), [0, 0, 0, 1])))
                       for s in range(6)])  # fmt: skip
    errors = [
        np.linalg.norm(image.project_point(scene.points3D[p.point3D_id].xyz) - p.xy)
        for image in scene.images.values()
        for p in image.points2D
        if p.has_point3D()
    ]
    own = np.linalg.norm(residuals(ours, obs)[0], axis=1)
    assert len(errors) == len(own)
    assert np.sqrt(np.mean(np.square(own))) <= np.sqrt(np.mean(np.square(errors))) + 1e-4
    assert rotation_errors_deg(world_from_cam(ours), theirs).max() < 2e-3
    assert position_error(world_from_cam(ours), theirs) < 1e-3
    if free_focal:
        assert ours.focal == pytest.approx(scene.cameras[1].params[0], rel=1e-3)
