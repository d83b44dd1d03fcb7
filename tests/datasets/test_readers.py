"""Every reader gives back the one world its miniature was written from: pictures, lenses, cameras, depth, motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openmore.data.datasets.registry import REGISTRY, open_dataset
from openmore.data.datasets.waymo import in_front
from openmore.data.sample import Sample
from openmore.evaluation.consistency import consistency
from openmore.evaluation.trajectory import invert
from tests.datasets.miniatures import dynamic, native, static
from tests.datasets.miniatures.world import World, make_world


@dataclass(frozen=True)
class Case:
    """What one reader must give back."""

    reader: str
    write: Callable[[Path, World], None]
    depth_error: float = 1e-3  # median relative error where there is depth
    depth_share: float = 0.9  # of the pixels
    motion: str | None = None  # "true", "static", "unknown"
    tone_mapped: bool = False  # pictures come back as a multiple of what was written
    shape: tuple[int, int] = (48, 64)
    K: tuple[float, float, float, float] | None = None
    cameras: bool = True
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    "posed_folder": Case("posed_folder", native.posed_folder, motion="true"),
    "colmap_text": Case("colmap", native.colmap_text, depth_share=0.015, options={"min_track": 1}),
    "colmap_binary": Case("colmap", native.colmap_binary, depth_share=0.015, options={"min_track": 1}),
    "nerfstudio": Case("nerfstudio", native.nerfstudio),
    "tum": Case("tum", native.tum, K=(535.4, 539.2, 320.1, 247.6), shape=(480, 640)),
    "dynamic_replica": Case(
        "dynamic_replica", dynamic.dynamic_replica, motion="true", options={"foreground_moves": True}
    ),
    "point_odyssey": Case("point_odyssey", dynamic.point_odyssey, depth_error=0.005, motion="true"),
    "spring": Case("spring", dynamic.spring, motion="true"),
    "vkitti2": Case("vkitti2", dynamic.vkitti2, depth_error=0.003, motion="true"),
    "tartanair": Case("tartanair", dynamic.tartanair, motion="unknown", K=(320, 320, 320, 240), shape=(480, 640)),
    "omniworld": Case("omniworld", dynamic.omniworld, motion="unknown", K=(60, 60, 31, 25)),
    "waymo": Case("waymo", dynamic.waymo, depth_share=0.1),
    "sintel": Case("sintel", dynamic.sintel, motion="true"),
    "co3d": Case("co3d", static.co3d, motion="static", depth_share=0.85),
    "co3d_benchmark": Case("co3d_benchmark", static.co3d_benchmark, depth_share=0),
    "scannet": Case("scannet", static.scannet, motion="static"),
    "scannet_sens": Case("scannet", static.scannet_sens, motion="static"),
    "blendedmvs": Case("blendedmvs", static.blendedmvs, motion="static"),
    "hypersim": Case("hypersim", static.hypersim, motion="static", tone_mapped=True),
    "arkitscenes": Case("arkitscenes", static.arkitscenes, motion="static", depth_share=0.85),
    "kitti_depth": Case("kitti_depth", static.kitti_depth, depth_error=0.002, depth_share=0.45, cameras=False),
    "kitti_odometry": Case("kitti_odometry", static.kitti_odometry, depth_share=0),
    "davis": Case("davis", static.davis, motion="true", depth_share=0, cameras=False),
}


def load(case: Case, tmp_path: Path) -> tuple[World, Sample]:
    K = None if case.K is None else np.array([[case.K[0], 0, case.K[2]], [0, case.K[1], case.K[3]], [0, 0, 1.0]])
    world = make_world(case.shape, K=K)
    case.write(tmp_path, world)
    dataset = open_dataset(case.reader, tmp_path, **case.options)
    (name,) = dataset.names()
    return world, dataset.load(name, dataset.frame_ids(name))


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_gives_the_world_back(case: Case, tmp_path: Path) -> None:
    world, sample = load(case, tmp_path)
    assert len(sample) == len(world)
    seen = sample.images.astype(float)
    if case.tone_mapped:
        seen *= np.median(world.rgb / np.maximum(seen, 1))
    assert np.median(np.abs(seen - world.rgb)) <= 6  # JPEG on hard edges; swapped channels would be 60
    if case.reader != "davis":
        assert pytest.approx(np.tile(world.K, (len(world), 1, 1)), abs=1e-3) == sample.K
    if case.cameras:
        expected = invert(world.world_from_cam[:1]) @ world.world_from_cam
        assert sample.relative_to_first().world_from_cam == pytest.approx(expected, abs=1e-5)
    known = sample.depth > 0
    assert known.mean() >= case.depth_share
    if case.depth_share:
        relative = np.abs(sample.depth - world.depth)[known] / world.depth[known]
        assert np.median(relative) < case.depth_error
    check_motion(case.motion, sample, world)


def check_motion(expected: str | None, sample: Sample, world: World) -> None:
    if expected == "true":
        assert sample.motion is not None
        labelled = sample.motion != 255
        assert labelled.mean() > 0.7
        assert ((sample.motion == 1) == world.moving)[labelled].mean() > 0.98
        assert (sample.motion == 1).any()
    elif expected == "static":
        assert sample.motion is not None and not sample.motion.any()
    elif expected == "unknown":
        assert sample.motion is not None and (sample.motion == 255).all()


DENSE = [name for name, case in CASES.items() if case.depth_share >= 0.85 and case.cameras]


@pytest.mark.parametrize("name", DENSE)
def test_static_pixels_reproject(name: str, tmp_path: Path) -> None:
    world, sample = load(CASES[name], tmp_path)
    result = consistency(sample.depth, sample.K, sample.world_from_cam, ~world.moving, stride=1)
    assert result.depth_relative < 0.01
    assert result.round_trip_px < 0.3


def test_waymo_boxes_cover_the_mover(tmp_path: Path) -> None:
    world, sample = load(CASES["waymo"], tmp_path)
    assert sample.motion is not None
    assert (sample.motion == 1)[world.moving].mean() > 0.98
    assert world.moving[sample.motion == 1].mean() > 0.5  # the outline of a box is larger than the sphere in it


def test_flow_is_read_in_pixels(tmp_path: Path) -> None:
    replica = replace(CASES["dynamic_replica"], options={"flow": True})
    for name, case in {**{n: CASES[n] for n in ("spring", "vkitti2", "sintel")}, "dynamic_replica": replica}.items():
        world, sample = load(case, tmp_path / name)
        assert sample.flow_forward is not None
        error = np.abs(sample.flow_forward - world.flow(1))[:-1].max(1)[~world.moving[:-1]]
        error = error[np.isfinite(error)]
        assert np.median(error) < 0.003 and len(error) > 1000, name
        assert np.isnan(sample.flow_forward[-1]).all()


def test_colmap_agrees_with_pycolmap(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    world = make_world()
    native.colmap_text(tmp_path / "text", world)
    (tmp_path / "binary/sparse/0").mkdir(parents=True)
    pycolmap.Reconstruction(tmp_path / "text/sparse/0").write_binary(tmp_path / "binary/sparse/0")
    (tmp_path / "binary/images").symlink_to(tmp_path / "text/images")
    samples = []
    for kind in ("text", "binary"):
        dataset = open_dataset("colmap", tmp_path / kind, min_track=0)
        samples.append(dataset.load(kind, dataset.frame_ids(kind)))
    assert samples[0].world_from_cam == pytest.approx(samples[1].world_from_cam)
    assert pytest.approx(samples[1].K) == samples[0].K
    assert samples[0].depth == pytest.approx(samples[1].depth, rel=1e-6)


def test_portrait_pictures_of_the_pose_benchmark_are_cropped(tmp_path: Path) -> None:
    world = make_world((64, 48))
    static.co3d_benchmark(tmp_path, world)
    dataset = open_dataset("co3d_benchmark", tmp_path)
    (name,) = dataset.names()
    sample = dataset.load(name, [0, 1])
    assert sample.shape == (48, 48)
    assert np.median(np.abs(sample.images.astype(int) - world.rgb[:2, 8:56])) <= 6
    assert sample.K[0, :2, 2] == pytest.approx(world.K[:2, 2] - [0, 8], abs=1e-6)
    assert open_dataset("co3d_benchmark", tmp_path, crop=False).load(name, [0]).shape == (64, 48)


def test_scannet_colour_at_its_own_size(tmp_path: Path) -> None:
    world = make_world()
    for write, folder in ((static.scannet, "exported"), (static.scannet_sens, "sens")):
        write(tmp_path / folder, world)
        dataset = open_dataset("scannet", tmp_path / folder, color_only=True)
        (name,) = dataset.names()
        sample = dataset.load(name, dataset.frame_ids(name))
        factor = 2 if folder == "exported" else 1
        assert sample.shape == (48 * factor, 64 * factor) and not sample.depth.any()
        assert sample.K[0, 0, 0] == pytest.approx(factor * world.K[0, 0])
        assert "depth" not in dataset.truth(name)


def test_bonn_by_position_leaves_pictures_as_stored(tmp_path: Path) -> None:
    world = make_world(frames=2)
    native.bonn(tmp_path, world)
    stored = open_dataset("bonn", tmp_path, by_position=True).load("rgbd_bonn_balloon2", [0, 1])
    assert (stored.images == world.rgb).all()
    assert not (open_dataset("bonn", tmp_path).load("rgbd_bonn_balloon2", [0, 1]).images == world.rgb).all()


def test_a_car_that_overtakes_is_moving_where_it_is_seen() -> None:
    box = np.array([[x, y, z] for x in (1.0, 2.5) for y in (-0.5, 1.0) for z in (-2.0, 4.0)])
    seen = in_front(box)
    assert len(seen) >= 8 and (seen[:, 2] >= 0.1 - 1e-9).all()
    assert seen[:, 0].min() == 1.0 and seen[:, 0].max() == 2.5
    assert not len(in_front(box - [0, 0, 10]))


def test_point_odyssey_without_tracks_knows_nothing(tmp_path: Path) -> None:
    dynamic.point_odyssey(tmp_path, make_world())
    path = tmp_path / "train/ani10/anno.npz"
    arrays = dict(np.load(path))
    for key in ("trajs_2d", "trajs_3d", "visibs", "valids"):
        arrays[key] = np.zeros(0, np.float32)
    np.savez(path, **arrays)
    sample = open_dataset("point_odyssey", tmp_path).load("ani10", [0, 3])
    assert sample.motion is not None and (sample.motion == 255).all()


def test_every_reader_has_a_miniature() -> None:
    covered = {case.reader for case in CASES.values()} | {"bonn"}  # Bonn has a lens: test_lens.py
    assert not set(REGISTRY) - covered
