"""A pool of rendered clips gives the truth of what it shows, the same whenever it is asked."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from openmore.data.synthetic import Recipe, make_batch
from openmore.errors import ConfigError, DataError
from openmore.geometry.camera import project, unproject
from openmore.geometry.rigid import invert, transform_points
from openmore.training.config import DataConfig
from openmore.training.plan import plan_step
from openmore.training.pool import BLOCK, STALE_S, PoolSource, cut, mirror
from openmore.training.sources import make_source

SHAPE = (48, 64)


def config(folder: Path, **changes: object) -> DataConfig:
    settings = {
        "frames": (2, 2),
        "interval": (1, 3),
        "long_side": 32,
        "min_short_side": 16,
        "aspects": (0.75,),
        "images_per_rank": 4,
        "pool": str(folder),
        "pool_scenes": BLOCK,
        "pool_frames": 2,
        "pool_shape": SHAPE,
    }
    return DataConfig(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pool")


def test_the_same_plan_gives_the_same_batch_from_a_fresh_source(folder: Path) -> None:
    plan = plan_step(config(folder), 16, 7, 0, 14)
    first, again = (make_source(config(folder), torch.device("cpu")).prepare(plan, 0) for _ in range(2))
    assert first.images.shape == (2, 2, 3, 32, 32) or first.shape == plan.shape
    for name in ("images", "depth", "motion", "K", "world_from_cam"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert bool((first.valid == (first.depth > 0)).all())
    other = make_source(config(folder), torch.device("cpu")).prepare(plan_step(config(folder), 16, 8, 0, 16), 0)
    assert not torch.equal(first.images, other.images)


def test_blocks_are_the_clips_of_their_seeds(folder: Path) -> None:
    pool = PoolSource(config(folder), 1_000_000).pool
    made = make_batch([1_000_003], 2, SHAPE, recipe=Recipe(intervals=(1, 3)))
    clip = pool.clip(3)
    assert np.array_equal(clip["images"], (made.images[0] * 255).round().byte().numpy())
    np.testing.assert_allclose(clip["depth"], torch.where(made.sky, 0, made.depth)[0], rtol=1e-3)


@pytest.mark.parametrize("change", ["cut", "mirror"])
def test_geometry_survives_augmentation(change: str) -> None:
    """A pixel of frame 0, lifted and seen by frame 1, shows the same surface: colours agree where nothing moves."""
    made = make_batch([5], 2, (96, 128), recipe=Recipe(camera="slide", movers=(0, 0), outdoor=False))
    clip = {name: getattr(made, name)[0] for name in ("depth", "motion", "K", "world_from_cam")}
    clip["images"] = (made.images[0] * 255).byte()
    clip = cut(clip, (96, 96), 0.8) if change == "cut" else mirror(cut(clip, (96, 128), 1.0))
    points = transform_points(clip["world_from_cam"][:1], unproject(clip["depth"][:1], clip["K"][:1]))
    seen = transform_points(invert(clip["world_from_cam"][1:]), points)
    pixels, z = (x[0] for x in project(seen, clip["K"][1:]))
    u, v = pixels.round().long().unbind(-1)
    inside = (z > 0.1) & (u >= 0) & (u < z.shape[1]) & (v >= 0) & (v < z.shape[0])
    there = clip["depth"][1][v[inside], u[inside]]
    agree = (there / z[inside] - 1).abs() < 0.05
    assert inside.float().mean() > 0.5 and agree.float().mean() > 0.9


def test_a_mirrored_pixel_is_its_point_mirrored() -> None:
    made = make_batch([5], 2, (48, 64), recipe=Recipe(camera="slide"))
    clip = {name: getattr(made, name)[0] for name in ("images", "depth", "motion", "K", "world_from_cam")}
    mirrored = mirror(clip)
    points, seen = (transform_points(c["world_from_cam"], unproject(c["depth"], c["K"])) for c in (clip, mirrored))
    torch.testing.assert_close(seen.flip(-2), points * torch.tensor([-1.0, 1, 1]), rtol=1e-4, atol=1e-4)


def test_settings_that_contradict_the_pool(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"raise data\.pool_frames or lower data\.frames"):
        PoolSource(config(folder, frames=(2, 3)), 0)
    with pytest.raises(ConfigError, match="holds the synthetic world"):
        make_source(config(folder, source="rooms"), torch.device("cpu"))
    PoolSource(config(folder), 1_000_000)
    assert json.loads((folder / "pool.json").read_text())["frames"] == 2
    with pytest.raises(ConfigError, match=r"data\.difficulty_steps=100 has no effect on rendered clips: set it to 0"):
        PoolSource(config(folder, difficulty_steps=100), 1_000_000)
    for name, value in (("pool_shape", (96, 128)), ("interval", (1, 2)), ("textures", str(folder))):
        with pytest.raises(ConfigError, match=rf"{name.removeprefix('pool_')}.* give another folder as data\.pool"):
            PoolSource(config(folder, **{name: value}), 1_000_000)


def test_what_a_pool_is_of_is_written_once_and_may_say_less(tmp_path: Path) -> None:
    PoolSource(config(tmp_path), 1_000_000)
    path = tmp_path / "pool.json"
    written = path.stat()
    PoolSource(config(tmp_path), 1_000_000)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    path.write_text('{"first_seed": 1000000, "frames": 2, "shape": [48, 64]}')  # as older versions wrote it
    PoolSource(config(tmp_path, interval=(1, 2)), 1_000_000)
    path.write_text('{"first_seed": 10')
    with pytest.raises(DataError, match=r"pool\.json cannot be read"):
        PoolSource(config(tmp_path), 1_000_000)


def test_what_killed_processes_left_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, age in (("new_old", 2 * STALE_S), ("new_now", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    pool = PoolSource(config(tmp_path), 1_000_000).pool
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new_now", "pool.json"]

    def full(path: Path, value: np.ndarray) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("openmore.training.pool.np.save", full)
    monkeypatch.setattr(pool, "_render", lambda block: {"images": np.zeros(1)})
    with pytest.raises(OSError, match="No space"):
        pool.fill(0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new_now", "pool.json"]
