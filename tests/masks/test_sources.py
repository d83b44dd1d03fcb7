"""Where clips come from: what is read, at which size, and which frames of the source they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openmore.errors import ConfigError, InputError
from openmore.io import frames as frames_module
from openmore.io.scene_arrays import SceneFrames
from openmore.io.source import SourceInfo
from openmore.masks.clip import clip_from_reconstruction
from openmore.masks.pipeline import MaskOptions, extract_masks
from openmore.masks.sources import open_clip
from openmore.types import Reconstruction
from tests.masks.conftest import moving_square
from tests.scenes import make_scene


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for t, image in enumerate(moving_square()[0].images):
        Image.fromarray(image).save(folder / f"shot{t}.png")
    return folder


def test_every_frame_is_shrunk_before_the_next_is_decoded(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full: list[tuple[int, ...]] = []
    stack = np.stack

    def watched(arrays: Any, *args: Any, **options: Any) -> np.ndarray:
        full.extend(np.shape(array) for array in arrays)
        return stack(arrays, *args, **options)

    monkeypatch.setattr(np, "stack", watched)
    clip, shape = open_clip(str(pictures), long_side=64)
    assert clip.images.shape == (5, 48, 64, 3) and shape == (96, 128)
    assert set(full) == {(48, 64, 3)}


def test_a_source_without_an_end_needs_a_number_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    class Camera(frames_module.ArrayReader):
        label = "camera 0"

        @property
        def info(self) -> SourceInfo:
            return SourceInfo("camera", None, (96, 128), 30.0)

    monkeypatch.setattr(frames_module, "open_source", lambda source: Camera(moving_square()[0].images))
    with pytest.raises(InputError, match="has no end: say how many frames to take with --max-frames"):
        open_clip("0")
    assert len(open_clip("0", max_frames=3)[0]) == 3


def test_frames_keep_their_numbers_and_damaged_ones_are_told(pictures: Path) -> None:
    whole = (pictures / "shot2.png").read_bytes()
    (pictures / "shot2.png").write_bytes(whole[: len(whole) // 2])
    clip, _ = open_clip(str(pictures))
    assert [(origin.index, origin.name) for origin in clip.origins] == [(t, f"shot{t}.png") for t in (0, 1, 3, 4)]
    report = extract_masks(clip, MaskOptions(segments="residual")).report.to_json()
    assert [(frame["frame"], frame["index"]) for frame in report["frames"]] == [(0, 0), (1, 1), (2, 3), (3, 4)]
    assert report["frames"][2]["name"] == "shot3.png" and [lost["index"] for lost in report["skipped"]] == [2]


@pytest.mark.parametrize("wrong", [{"stride": 0}, {"stride": -1}, {"max_frames": 0}, {"max_frames": -1}])
def test_impossible_sampling_is_refused_for_every_kind(pictures: Path, tmp_path: Path, wrong: dict[str, int]) -> None:
    scene = make_scene(2).save(tmp_path / "scene")
    for source, dataset in ((pictures, None), (scene, None), (scene, "posed_folder")):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            open_clip(str(source), dataset, **wrong)


def test_a_scene_is_read_where_it_is_sampled_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(4).save(tmp_path / "scene")
    for lost in (1, 3):
        (scene / "depth" / f"{lost:06d}.npy").unlink()
    read: list[int] = []
    ask = SceneFrames.__getitem__

    def counted(self: SceneFrames, place: Any) -> Any:
        read.extend([] if isinstance(place, slice) else [self.numbers[place]])
        return ask(self, place)

    monkeypatch.setattr(SceneFrames, "__getitem__", counted)
    clip, _ = open_clip(str(scene), stride=2)
    assert [origin.index for origin in clip.origins] == read[:2] == [0, 2] and set(read) == {0, 2}


def test_measured_motion_and_the_heads_own_are_told_apart() -> None:
    scene = make_scene(2)
    plain = clip_from_reconstruction(scene, "s", "made up")
    assert plain.motion is not None and np.array_equal(plain.motion, plain.head_motion)
    own = np.full(scene.frames[0].shape, 0.25, np.float32)
    measured = Reconstruction([replace(frame, network_motion=own) for frame in scene.frames], scene.info)
    clip = clip_from_reconstruction(measured, "s", "made up")
    assert np.array_equal(clip.motion, plain.motion) and (clip.head_motion == 0.25).all()
    extra = {"refinement": {"dense": {"motion_sources": ["residuals", "network"]}}}
    headless = Reconstruction(scene.frames, replace(scene.info, extra=extra))
    assert clip_from_reconstruction(headless, "s", "made up").head_motion is None
