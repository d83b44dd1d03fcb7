"""PLY is read by trimesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmore.errors import InputError
from openmore.export import PointOptions
from openmore.export.points import gather
from openmore.types import Reconstruction
from tests.scenes import distance_to_static

trimesh = pytest.importorskip("trimesh")


@pytest.mark.parametrize(("frame", "shown"), [("middle", [2]), (0, [0]), ("all", [0, 1, 2, 3])])
def test_trimesh_reads_the_points_colours_and_columns(scene: Reconstruction, tmp_path: Path, frame, shown) -> None:
    cloud = gather(scene, PointOptions())
    expected = np.concatenate([cloud.static, *(cloud.movers[i] for i in shown)])
    loaded = trimesh.load(scene.export(tmp_path / "a.ply", frame=frame))
    np.testing.assert_array_equal(loaded.vertices, expected["xyz"])
    np.testing.assert_array_equal(loaded.colors[:, :3], expected["rgb"])
    columns = loaded.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(np.ravel(columns["confidence"]), expected["confidence"])
    np.testing.assert_array_equal(np.ravel(columns["frame"]), expected["frame"])


def test_static_only_removes_the_moving_object(scene: Reconstruction, tmp_path: Path) -> None:
    loaded = trimesh.load(scene.export(tmp_path / "a.ply", static_only=True, frame="all"))
    assert distance_to_static(np.asarray(loaded.vertices)).max() < 1e-4


@pytest.mark.parametrize("frame", [4, -1, "last"])
def test_a_frame_outside_the_scene_is_refused(scene: Reconstruction, tmp_path: Path, frame) -> None:
    with pytest.raises(InputError, match="give 0 to 3, 'middle' or 'all'"):
        scene.export(tmp_path / "a.ply", frame=frame)
