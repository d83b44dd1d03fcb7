from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openmore.errors import DataError
from openmore.types import Reconstruction
from openmore.viewer.layers import MAYBE_MOVING, Background, FrameCache, Settings, _coarse_to_fine, first_readable
from tests.scenes import SPHERE_RADIUS, SURE, distance_to_static, make_scene, sphere_center

ALL = Settings(confidence=0, budget=10**6)


class Reads:
    """A sequence of frames that counts how often each is read."""

    def __init__(self, scene: Reconstruction):
        self._frames, self.numbers = scene.frames, []
        self.cameras = scene.cameras

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, number: int):
        self.numbers.append(number)
        return self._frames[number]


def counting(scene: Reconstruction) -> tuple[Reconstruction, Reads]:
    reads = Reads(scene)
    return Reconstruction(reads, scene.info), reads  # type: ignore[arg-type]


def test_the_background_is_the_static_world(scene: Reconstruction) -> None:
    background = Background(scene)
    background.accumulate()
    cloud, spacing = background.points(ALL)
    assert 0.5 < spacing / (4 / (0.9 * 64)) < 2  # a pixel of the wall
    assert len(cloud) > 3000 and set(cloud["frame"]) == {0, 1, 2, 3}
    assert distance_to_static(cloud["xyz"]).max() < 1e-4


def test_the_background_reports_while_it_grows(scene: Reconstruction) -> None:
    background, sizes = Background(scene), []
    background.accumulate(lambda: sizes.append((background.done, len(background.points(ALL)[0]))))
    assert [done for done, _ in sizes] == [1, 2, 4]
    assert sizes[0][1] < sizes[-1][1]


def test_a_long_clip_is_sampled_evenly() -> None:
    scene, reads = counting(make_scene(9, (12, 16), (24, 32)))
    Background(scene, sample=3).accumulate()
    assert sorted(reads.numbers) == [0, 4, 8]


@pytest.mark.parametrize("count", [1, 2, 7, 16, 100])
def test_every_beginning_of_the_order_is_spread_out(count: int) -> None:
    numbers = list(range(0, 3 * count, 3))
    order = _coarse_to_fine(numbers)
    assert sorted(order) == numbers
    for n in (1, 2, 4, 8):
        if n < count:
            gaps = np.diff([*sorted(order[:n]), 3 * count])
            assert gaps.max() <= 3 * 2 * -(-count // n)


def test_stopping_ends_the_accumulation(scene: Reconstruction) -> None:
    counted, reads = counting(scene)
    background = Background(counted)
    background.stop()
    background.accumulate()
    assert reads.numbers == [] and not len(background.points(ALL)[0])


def test_damaged_frames_are_left_out_and_named(scene: Reconstruction, tmp_path: Path) -> None:
    folder = scene.save(tmp_path / "scene")
    for number in (0, 3):
        (folder / "depth" / f"{number:06d}.npy").write_bytes(b"no array")
    holed, told = Reconstruction.load(folder), []
    assert first_readable(holed)[0] == 1
    background = Background(holed)
    background.accumulate(lambda: told.append(background.done))
    assert told[-1] == 4 and set(background.points(ALL)[0]["frame"]) == {1, 2}
    assert sorted("000003.npy is damaged" in reason for reason in background.damaged) == [False, True]
    assert set(FrameCache(holed).movers(2, replace(ALL, trail=2))["frame"]) == {1, 2}
    with pytest.raises(DataError, match=r"000003\.npy is damaged"):
        FrameCache(holed).movers(3, replace(ALL, trail=2))


def test_thresholds_and_budget_apply_without_reading_frames_again(scene: Reconstruction) -> None:
    counted, reads = counting(scene)
    background = Background(counted)
    background.accumulate()
    before = list(reads.numbers)
    assert background.points(replace(ALL, confidence=20))[0]["confidence"].min() == SURE
    few, spacing = background.points(replace(ALL, budget=100))
    every, pixel = background.points(ALL)
    assert len(few) == 100 and spacing == pytest.approx(pixel * np.sqrt(len(every) / 100))
    assert reads.numbers == before


def test_movers_are_those_of_the_frame_and_of_the_trail(scene: Reconstruction) -> None:
    cache = FrameCache(scene)
    movers = cache.movers(2, ALL)
    assert np.abs(np.linalg.norm(movers["xyz"] - sphere_center(2), axis=-1) - SPHERE_RADIUS).max() < 1e-4
    assert set(cache.movers(2, replace(ALL, trail=1))["frame"]) == {1, 2}
    assert set(cache.movers(0, replace(ALL, trail=9))["frame"]) == {0}


def test_the_motion_threshold_divides_the_same_points() -> None:
    scene = make_scene(1)
    half = replace(scene.frames[0], motion=np.where(scene.frames[0].motion == 1, 0.4, 0.0).astype(np.float32))
    cache = FrameCache(Reconstruction([half], scene.info))
    assert len(cache.movers(0, replace(ALL, motion=MAYBE_MOVING))) > 50
    assert len(cache.movers(0, ALL)) == 0


def test_the_cache_reads_once_and_stays_below_its_cap() -> None:
    scene, reads = counting(make_scene(6, (24, 32), (48, 64)))
    one = FrameCache(scene)[0].nbytes
    reads.numbers.clear()
    cache = FrameCache(scene, max_bytes=3 * one)
    for number in (0, 1, 1, 0, 2, 3, 4, 5):
        cache[number]
        assert cache.nbytes <= 3 * one or len(cache._layers) == 1
    assert reads.numbers == [0, 1, 2, 3, 4, 5]
    cache[5]
    assert len(reads.numbers) == 6
    cache[1]  # gone since
    assert reads.numbers[-1] == 1
