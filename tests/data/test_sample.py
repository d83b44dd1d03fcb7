"""The Sample contract: what it accepts, what it names when it refuses, and the folder it survives in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openmore.data.sample import Sample
from openmore.data.sample_folder import read_sample, write_sample
from openmore.errors import DataError, InputError


def make_sample(frames: int = 3, shape: tuple[int, int] = (6, 8)) -> Sample:
    rng = np.random.default_rng(0)
    size = (frames, *shape)
    world_from_cam = np.tile(np.eye(4), (frames, 1, 1))
    world_from_cam[:, :3, 3] = rng.normal(size=(frames, 3))
    return Sample(
        images=rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        depth=rng.uniform(0.5, 5, size).astype(np.float32),
        K=np.tile(np.array([[7.1, 0, 4], [0, 7.3, 3], [0, 0, 1]]), (frames, 1, 1)),
        world_from_cam=world_from_cam,
        times_s=np.arange(frames) / 29.97,
        name="set/sequence",
        motion=rng.choice(np.array([0, 1, 255], np.uint8), size),
        flow_forward=rng.normal(size=(frames, 2, *shape)).astype(np.float32),
        flow_backward=rng.normal(size=(frames, 2, *shape)).astype(np.float32),
        instances=rng.integers(-1, 9, size).astype(np.int32),
        valid=rng.random(size) < 0.9,
        sky=rng.random(size) < 0.1,
        indices=np.arange(frames) * 2 + 10,
        is_metric=True,
    )


def same(a: Sample, b: Sample) -> bool:
    assert a.arrays().keys() == b.arrays().keys()
    assert (a.name, a.is_metric, a.is_video) == (b.name, b.is_metric, b.is_video)
    return all(
        x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(a.arrays().values(), b.arrays().values())
    )


def test_a_folder_brings_back_every_bit(tmp_path: Path) -> None:
    sample = make_sample()
    write_sample(sample, tmp_path / "clip", preview_fps=10)
    assert same(read_sample(tmp_path / "clip"), sample)
    assert (tmp_path / "clip" / "preview.mp4").stat().st_size > 0
    with pytest.raises(InputError, match="exists already"):
        write_sample(sample, tmp_path / "clip")
    bare = replace(sample, motion=None, flow_forward=None, flow_backward=None, instances=None, valid=None, sky=None)
    write_sample(bare, tmp_path / "clip", overwrite=True)
    assert same(read_sample(tmp_path / "clip"), bare)


def test_a_damaged_folder_names_the_file(tmp_path: Path) -> None:
    root = write_sample(make_sample(), tmp_path / "clip")
    depth = root / "depth" / "000001.npy"
    content = depth.read_bytes()
    depth.write_bytes(content[:-7])
    with pytest.raises(DataError, match=r"depth/000001\.npy is damaged"):
        read_sample(root)
    depth.write_bytes(content)
    image = root / "rgb" / "000002.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(DataError, match=r"rgb/000002\.png is damaged"):
        read_sample(root)
    image.unlink()
    with pytest.raises(DataError, match=r"rgb/000002\.png is missing"):
        read_sample(root)
    (root / "meta.json").write_text("{}")
    with pytest.raises(DataError, match=r"meta\.json: is not openmore-sample-1"):
        read_sample(root)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda s: s.world_from_cam.__setitem__((1, 0, 3), np.nan),
            r"set/sequence, frame 12: the camera .* not finite",
        ),
        (lambda s: s.world_from_cam.__setitem__((2, 0, 0), 1.01), r"frame 14: .* not orthonormal"),
        (lambda s: s.world_from_cam.__setitem__((2, 2, 2), -1), r"frame 14: .* determinant 1"),
        (lambda s: s.K.__setitem__((0, 1, 1), 0), r"frame 10: focal lengths are \(7.1, 0\)"),
        (lambda s: s.depth.__setitem__((1, 0, 0), np.inf), r"frame 12: depth holds NaN, infinite or negative"),
        (lambda s: s.depth.__setitem__((1, 0, 0), -1), r"frame 12: depth holds"),
        (lambda s: s.depth.__setitem__(2, 0), r"frame 14: only 0 pixels have depth, expected at least 4"),
        (lambda s: s.motion.__setitem__((0, 0, 0), 7), r"frame 10: motion labels must be"),
        (lambda s: s.times_s.__setitem__(2, 0.01), r"frame 14: its time stamp does not follow"),
    ],
)
def test_a_bad_frame_is_named_with_its_sequence(spoil, message: str) -> None:
    sample = make_sample()
    sample.check(min_valid=4)
    spoil(sample)
    with pytest.raises(DataError, match=message):
        sample.check(min_valid=4)


def test_wrong_shapes_and_types_are_named() -> None:
    sample = make_sample()
    with pytest.raises(DataError, match=r"depth is float64 \[3, 6, 8\], expected float32 \[3, 6, 8\]"):
        replace(sample, depth=sample.depth.astype(np.float64)).check()
    with pytest.raises(DataError, match=r"flow_forward is float32 \[3, 6, 8, 2\], expected float32 \[3, 2, 6, 8\]"):
        replace(sample, flow_forward=np.moveaxis(sample.flow_forward, 1, -1)).check()
    with pytest.raises(DataError, match=r"images are \(3, 6, 8\)"):
        replace(sample, images=sample.images[..., 0]).check()


def test_selected_frames_keep_their_numbers_and_only_flow_that_still_holds() -> None:
    sample = make_sample(5)
    tail = sample.select([2, 3, 4]).check()
    assert tail.indices.tolist() == [14, 16, 18] and tail.is_video
    assert np.isnan(tail.flow_forward[-1]).all() and np.isnan(tail.flow_backward[0]).all()
    assert np.array_equal(tail.flow_forward[:2], sample.flow_forward[2:4])
    apart = sample.select([0, 2, 4]).check()
    assert apart.flow_forward is None and apart.flow_backward is None and apart.is_video
    assert not sample.select([3, 1]).is_video


def test_relative_to_first_makes_the_first_camera_the_world() -> None:
    sample = make_sample().relative_to_first()
    np.testing.assert_allclose(sample.world_from_cam[0], np.eye(4), atol=1e-12)
