"""The GLB is read by trimesh; what trimesh does not read (animation, camera) is read from the JSON chunk."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openmore.export import PointOptions
from openmore.export.cameras import OPENGL
from openmore.export.colours import linear_from_srgb, time_colours
from openmore.export.points import gather
from openmore.types import Reconstruction
from tests.scenes import distance_to_static

trimesh = pytest.importorskip("trimesh")


class Glb:
    """The container, parsed by hand from the specification."""

    def __init__(self, path: Path):
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        self.json = json.loads(data[20 : 20 + size])
        self.bin = data[28 + size :]

    def accessor(self, index: int) -> np.ndarray:
        entry = self.json["accessors"][index]
        view = self.json["bufferViews"][entry["bufferView"]]
        assert entry["componentType"] == 5126
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[entry["type"]]
        values = np.frombuffer(self.bin, "<f4", entry["count"] * width, view["byteOffset"])
        return values.reshape(entry["count"], width)

    def node(self, name: str) -> int:
        return [node["name"] for node in self.json["nodes"]].index(name)

    def channel(self, node: str, path: str) -> tuple[np.ndarray, np.ndarray, str]:
        (animation,) = self.json["animations"]
        target = {"node": self.node(node), "path": path}
        (sampler,) = [c["sampler"] for c in animation["channels"] if c["target"] == target]
        entry = animation["samplers"][sampler]
        return self.accessor(entry["input"])[:, 0], self.accessor(entry["output"]), entry["interpolation"]


@pytest.fixture(scope="module")
def path(scene: Reconstruction, target: Path) -> Path:
    return scene.export(target / "scene.glb")


def test_trimesh_reads_back_the_points_and_their_colours(scene: Reconstruction, path: Path) -> None:
    cloud = gather(scene, PointOptions())
    loaded = trimesh.load(path)
    geometry = loaded.geometry
    np.testing.assert_allclose(geometry["static"].vertices, cloud.static["xyz"], atol=1e-6)
    linear = linear_from_srgb(cloud.static["rgb"])
    np.testing.assert_allclose(geometry["static"].colors[:, :3] / 255, linear, atol=0.005)
    for i, movers in enumerate(cloud.movers):
        assert len(geometry[f"movers_{i:06d}"].vertices) == len(movers) > 0


def test_the_world_stands_upright(path: Path) -> None:
    """glTF is y up and looks along -z: our wall in front of the first camera must come out at negative z."""
    loaded = trimesh.load(path)
    world_from_node, _ = loaded.graph["static"]
    points = trimesh.transform_points(loaded.geometry["static"].vertices, world_from_node)
    np.testing.assert_allclose(points, loaded.geometry["static"].vertices * [1, -1, -1], atol=1e-6)


def test_movers_are_there_at_their_time_only(path: Path) -> None:
    glb = Glb(path)
    shown = {}
    for i in range(4):
        times, scales, how = glb.channel(f"movers_{i:06d}", "scale")
        assert how == "STEP" and (np.diff(times) > 0).all()
        shown[i] = [float(scales[np.searchsorted(times, t, side="right") - 1, 0]) for t in (0.05, 0.15, 0.25, 0.35)]
    assert shown == {0: [1, 0, 0, 0], 1: [0, 1, 0, 0], 2: [0, 0, 1, 0], 3: [0, 0, 0, 1]}
    rest = [glb.json["nodes"][glb.node(f"movers_{i:06d}")]["scale"][0] for i in range(4)]
    assert rest == [0, 0, 1, 0]  # without animation: the middle frame


def test_the_camera_follows_the_path(scene: Reconstruction, path: Path) -> None:
    glb = Glb(path)
    times, centers, _ = glb.channel("camera", "translation")
    _, quaternions, how = glb.channel("camera", "rotation")
    assert how == "LINEAR"
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3], atol=1e-6)
    for i, camera in enumerate(scene.cameras):
        matrix = trimesh.transformations.quaternion_matrix(quaternions[i][[3, 0, 1, 2]])
        matrix[:3, 3] = centers[i]
        np.testing.assert_allclose(matrix, camera.world_from_cam @ OPENGL, atol=1e-6)
    lens = glb.json["cameras"][0]["perspective"]
    assert lens["yfov"] == pytest.approx(2 * np.arctan(48 / (0.9 * 128)))
    assert lens["aspectRatio"] == pytest.approx(128 / 96)


def test_frusta_start_at_the_camera_centres(scene: Reconstruction, path: Path) -> None:
    vertices = Glb(path)
    mesh = vertices.json["meshes"][vertices.json["nodes"][vertices.node("frusta")]["mesh"]]
    lines = vertices.accessor(mesh["primitives"][0]["attributes"]["POSITION"]).reshape(4, 16, 3)
    np.testing.assert_allclose(lines[:, 0], [camera.center for camera in scene.cameras], atol=1e-6)


def test_options_reach_the_points(scene: Reconstruction, target: Path) -> None:
    loaded = trimesh.load(scene.export(target / "static.glb", static_only=True, cameras=False))
    assert list(loaded.geometry) == ["static"]
    assert distance_to_static(loaded.geometry["static"].vertices).max() < 1e-4


def test_one_frame_is_a_still(scene: Reconstruction, target: Path) -> None:
    still = Reconstruction(scene.frames[:1], scene.info)
    glb = Glb(still.export(target / "still.glb"))
    assert "animations" not in glb.json
    assert glb.json["nodes"][glb.node("movers_000000")]["scale"] == [1, 1, 1]


def test_equal_time_stamps_still_play(scene: Reconstruction, target: Path, caplog) -> None:
    frozen = Reconstruction([replace(frame, time_s=0.0) for frame in scene.frames], scene.info)
    times, _, _ = Glb(frozen.export(target / "frozen.glb")).channel("camera", "translation")
    assert "time stamps do not increase" in caplog.text
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3], atol=1e-6)


def test_time_colours_run_from_dark_to_bright() -> None:
    brightness = time_colours(20) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > 0).all()
