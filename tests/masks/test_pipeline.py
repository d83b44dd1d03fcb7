from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from openmore.errors import ConfigError, InputError
from openmore.flow.dis import DISFlow
from openmore.flow.exact import ExactFlow
from openmore.masks.clip import Geometry, MaskClip, Origin, clip_from_pictures, clip_from_sample, fit_clip
from openmore.masks.decision import Rule
from openmore.masks.pipeline import PAPER, Judge, MaskOptions, choose_ego, extract_masks
from openmore.masks.segments import InstanceIds, ResidualRegions
from tests.masks.conftest import moving_square

FAST = MaskOptions(segments="residual")


def iou(masks: list[np.ndarray], truth: np.ndarray) -> float:
    found = np.stack(masks) == 1
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize("camera", ["fixed_camera", "panning_camera"])
def test_a_plain_clip_without_geometry(camera: str, request: pytest.FixtureRequest) -> None:
    clip, truth = request.getfixturevalue(camera)
    result = extract_masks(clip, FAST)
    assert iou(result.masks, truth) > 0.75
    assert all(mask.shape == clip.shape and mask.dtype == np.uint8 for mask in result.masks)
    assert {pair.ego for frame in result.report.frames for pair in frame.pairs} == {"homography"}


def test_nothing_moves_in_a_static_clip() -> None:
    clip, _ = moving_square(pan=3, step=0)
    assert not any((mask == 1).any() for mask in extract_masks(clip, FAST).masks)


def test_offsets_that_leave_the_clip_are_refused(fixed_camera: tuple[MaskClip, np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"offsets \(-5, 9\) lead out of .* has 5 frames"):
        extract_masks(fixed_camera[0], replace(FAST, offsets=(-5, 9)))
    assert len(extract_masks(fixed_camera[0], replace(FAST, offsets=(4,))).masks) == 5


def test_the_report_explains_every_segment(fixed_camera: tuple[MaskClip, np.ndarray]) -> None:
    report = extract_masks(fixed_camera[0], FAST).report
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert len(document["frames"]) == len(fixed_camera[0]) and document["settings"]["flow"] == "dis-medium"
    frame = document["frames"][2]
    assert [pair["other"] for pair in frame["pairs"]] == [0, 1, 3, 4]
    moving = [s for s in frame["segments"] if s["label"] == 1]
    assert moving and all(s["reason"].startswith("moving") for s in moving)
    assert sum(s["area"] for s in frame["segments"]) == 96 * 128


@pytest.fixture(scope="module")
def world():
    from openmore.data.synthetic import Recipe, make_clip

    return make_clip(3, 4, (72, 96), recipe=Recipe(movers=(4, 6), camera_speed=0.5))


def test_exact_flow_and_instances_on_the_synthetic_world(world) -> None:
    rule = Rule("floor", floor_px=0.05, min_valid_pixels=1, min_valid_share=0)
    options = MaskOptions(rule=rule, offsets=(1,), stabilise=False, colours=False, vote=False, split=1, refine="none")
    flow = ExactFlow(world.images, world.flow_forward, world.flow_backward)
    result = extract_masks(clip_from_sample(world), options, flow=flow, segmenter=InstanceIds(world.instances))
    assert (world.motion == 1).any() and iou(result.masks, world.motion == 1) > 0.95
    paper = replace(PAPER, segments="residual")
    report = extract_masks(clip_from_sample(world), paper, flow=flow, segmenter=InstanceIds(world.instances)).report
    d = np.array([s.d for s in report.frames[0].segments if s.d is not None])
    assert report.frames[0].threshold == pytest.approx(d.mean() + 2 * d.std(), abs=1e-3)


def test_geometry_is_used_when_there_is_some(world) -> None:
    result = extract_masks(clip_from_sample(world), FAST)
    assert {pair.ego for frame in result.report.frames for pair in frame.pairs} == {"geometry"}
    assert "its own" in result.report.settings["ego_source"]


def test_agreement_with_the_motion_head(fixed_camera: tuple[MaskClip, np.ndarray]) -> None:
    clip, truth = fixed_camera
    with_head = MaskClip(clip.images, clip.name, head_motion=truth.astype(np.float32))
    agreement = extract_masks(with_head, FAST).report.agreement
    assert agreement is not None and agreement["iou"] > 0.75 and agreement["equal"] > 0.97


def test_every_frame_finds_a_partner() -> None:
    clip, _ = moving_square()
    judge = Judge(clip, MaskOptions(offsets=(1,)), DISFlow(), ResidualRegions(), choose_ego(clip, "auto"))
    assert [judge.others(t) for t in range(5)] == [[1], [2], [3], [4], [3]]
    far = Judge(clip, MaskOptions(offsets=(9,)), DISFlow(), ResidualRegions(), choose_ego(clip, "auto"))
    assert [far.others(t) for t in range(5)] == [[1], [0], [1], [2], [3]]


def test_flow_is_computed_once_per_pair() -> None:
    clip, _ = moving_square()
    seen: list[bytes] = []

    class Counting(DISFlow):
        def both(self, image_a, image_b):
            seen.append(image_a.tobytes() + image_b.tobytes())
            return super().both(image_a, image_b)

    extract_masks(clip, MaskOptions(segments="residual", stabilise=False), flow=Counting("ultrafast"))
    assert len(seen) == len(set(seen)) == 4 + 3


def test_wrong_input_is_one_clear_line(fixed_camera: tuple[MaskClip, np.ndarray]) -> None:
    clip = fixed_camera[0]
    with pytest.raises(InputError, match="has 1 frame: motion needs at least 2"):
        MaskClip(clip.images[:1], "one")
    with pytest.raises(InputError, match="no depth and cameras"):
        extract_masks(clip, MaskOptions(ego="geometry"))
    with pytest.raises(InputError, match="resize first"):
        bad = Geometry(np.ones((5, 10, 10)), np.tile(np.eye(3), (5, 1, 1)), np.tile(np.eye(4), (5, 1, 1)), "x")
        MaskClip(clip.images, "sizes", bad)
    with pytest.raises(InputError, match="2 shapes"):
        clip_from_pictures([clip.images[0], clip.images[1][:50]], "mixed")
    with pytest.raises(ConfigError, match="no other frame"):
        MaskOptions(offsets=(0,))
    for wrong in ({"flow": "nope"}, {"segments": "nope"}, {"segments": "slic:x"}, {"refine": "nope"}):
        with pytest.raises(ConfigError, match=f"'{next(iter(wrong.values()))}' is unknown: choose one of"):
            MaskOptions(**wrong)  # type: ignore[arg-type]


def test_fit_keeps_the_projection() -> None:
    images = np.zeros((2, 40, 80, 3), np.uint8)
    K = np.tile(np.array([[60.0, 0, 40], [0, 60, 20], [0, 0, 1]]), (2, 1, 1))
    geometry = Geometry(np.ones((2, 40, 80), np.float32), K, np.tile(np.eye(4), (2, 1, 1)), "x")
    motion = np.zeros((2, 40, 80), np.float32)
    small = fit_clip(MaskClip(images, "c", geometry, motion, motion, [Origin(3), Origin(5)]), 40)
    assert small.shape == (20, 40) and small.geometry is not None and small.motion is not None
    assert small.head_motion is not None and [origin.index for origin in small.origins] == [3, 5]
    assert small.geometry.K[0, 0, 0] == 30 and small.geometry.depth.shape == (2, 20, 40)
    assert fit_clip(small, 100) is small
