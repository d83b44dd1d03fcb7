"""A scene read lazily from its folder exports like the one in memory, and small exports read no dense file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from openmore.export.cameras import frame_indices, frame_times, timeline
from openmore.types import Reconstruction


@pytest.fixture(scope="module")
def folder(scene: Reconstruction, target: Path) -> Path:
    return scene.save(target / "saved_scene")


def test_the_camera_path_needs_no_dense_file(scene: Reconstruction, folder: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("depth", "rgb", "motion"))
    lazy = Reconstruction.load(bare)
    assert frame_indices(lazy) == frame_indices(scene) and frame_times(lazy) == frame_times(scene)
    np.testing.assert_allclose(timeline(lazy), [0, 0.1, 0.2, 0.3])
    assert lazy.export(tmp_path / "a.txt").read_text() == scene.export(tmp_path / "b.txt").read_text()


def test_points_of_the_folder_equal_points_in_memory(scene: Reconstruction, folder: Path, tmp_path: Path) -> None:
    from openmore.io.ply import read_ply

    ours = read_ply(scene.export(tmp_path / "a.ply"))
    lazy = read_ply(Reconstruction.load(folder).export(tmp_path / "b.ply"))
    assert len(ours) == len(lazy)
    np.testing.assert_allclose(np.stack([ours[a] for a in "xyz"]), np.stack([lazy[a] for a in "xyz"]), atol=1e-6)
