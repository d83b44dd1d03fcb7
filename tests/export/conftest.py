from __future__ import annotations

from pathlib import Path

import pytest

from openmore.types import Reconstruction
from tests.scenes import make_scene, write_source


@pytest.fixture(scope="session")
def scene() -> Reconstruction:
    """Four frames of 48x64 whose source is gone."""
    return make_scene()


@pytest.fixture(scope="session")
def sourced_scene(tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    """The same scene beside its source frames of 96x128."""
    folder = tmp_path_factory.mktemp("scene") / "frames"
    scene = make_scene(source=str(folder))
    write_source(scene, folder)
    return scene


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")
