"""Batches from data sets: what the plan asks for, the same every time, damaged clips replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from openmore.data.clips import Share
from openmore.data.sample import Sample
from openmore.errors import ConfigError, DataError
from openmore.training.config import DataConfig
from openmore.training.mixture import DatasetSource, parse_source
from openmore.training.plan import plan_step, plan_steps
from openmore.training.sources import make_source
from tests.datasets.miniatures import native
from tests.datasets.miniatures.world import make_world

CONFIG = DataConfig(
    frames=(2, 3),
    interval=(1, 2),
    long_side=28,
    min_short_side=14,
    aspects=(0.5,),
    images_per_rank=4,
    short_scale=(1, 1),
)


class Shelf:
    """Two sequences of ten frames; frame i is grey with value i. `bad` cannot be read."""

    name = "shelf"
    bad: str | None = None

    def __len__(self) -> int:
        return 2

    def names(self) -> list[str]:
        return ["a", "b"]

    def frame_ids(self, sequence: str) -> list[int]:
        return list(range(10))

    def truth(self, sequence: str) -> dict[str, str]:
        return {"cameras": "true", "intrinsics": "true", "depth": "true"}

    def load(self, sequence: str, frame_ids: Sequence[int]) -> Sample:
        if sequence == self.bad:
            raise DataError(f"shelf/{sequence}: a file is damaged")
        n = len(frame_ids)
        image = np.array(frame_ids, np.uint8)[:, None, None, None] * 20
        return Sample(
            images=np.broadcast_to(image, (n, 40, 60, 3)).copy(),
            depth=np.full((n, 40, 60), 2.0, np.float32),
            K=np.tile(np.array([[50.0, 0, 30], [0, 50, 20], [0, 0, 1]]), (n, 1, 1)),
            world_from_cam=np.tile(np.eye(4), (n, 1, 1)),
            times_s=np.array(frame_ids, np.float64),
            name=f"shelf/{sequence}",
            indices=np.array(frame_ids, np.int64),
        )


def test_batches_follow_the_plan_and_repeat_exactly() -> None:
    source = DatasetSource(CONFIG, [Share(Shelf())])
    for plan in plan_steps(CONFIG, 14, range(4), 1, 2):
        one, again, other = source.prepare(plan, 0), source.prepare(plan, 0), source.prepare(plan, 1)
        assert one.images.shape == (plan.clips, plan.frames, 3, 14, 28) == other.images.shape
        assert torch.equal(one.images, again.images) and not torch.equal(one.images, other.images)
        assert (one.motion == 255).all() and one.valid.all()
        torch.testing.assert_close(
            one.K[0, 0, 0, 0], torch.tensor(50 * 28 / 60), rtol=0.05, atol=0
        )  # cover plus half a pixel


def test_the_interval_is_the_plans() -> None:
    source = DatasetSource(replace(CONFIG, colour=0.0), [Share(Shelf())])
    plan = plan_step(CONFIG, 14, 0, 0, 0)
    steps = source.prepare(plan, 0).images[:, :, 0, 0, 0].mul(255).diff(dim=1)
    torch.testing.assert_close(steps, torch.full_like(steps, 20.0 * plan.interval))


def test_damaged_clips_are_skipped_or_stop_the_run(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    shelf.bad = "a"
    plan = plan_step(CONFIG, 14, 0, 0, 0)
    batch = DatasetSource(CONFIG, [Share(shelf)]).prepare(plan, 0)
    assert set(batch.names) == {"shelf/b"} and "shelf/a: a file is damaged" in caplog.text
    with pytest.raises(DataError, match="shelf/a"):
        for plan in plan_steps(CONFIG, 14, range(9), 1, 1):
            DatasetSource(replace(CONFIG, on_bad="stop"), [Share(shelf)]).prepare(plan, 0)


def test_sources_are_written_as_name_folder_weight() -> None:
    assert parse_source("spring:/data/s*2, vkitti2:/data/v") == [("spring", "/data/s", 2), ("vkitti2", "/data/v", 1)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("spring", "is not name:folder"),
        ("spring:", "is not name:folder"),
        ("spring:/x*y", "no weight"),
    ],
)
def test_a_source_that_is_none(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_source(replace(CONFIG, source=text), torch.device("cpu"))


def test_reader_options_stand_behind_the_folder(tmp_path: Path) -> None:
    native.posed_folder(tmp_path, make_world((40, 60), frames=4))
    (tmp_path / "tum_clip").rename(tmp_path / "office")
    plan = plan_step(CONFIG, 14, 0, 0, 0)
    with pytest.raises(ConfigError, match="give depth_scale"):  # not a damaged clip, after which the next is tried
        make_source(replace(CONFIG, source=f"posed_folder:{tmp_path}"), torch.device("cpu"))
    source = make_source(replace(CONFIG, source=f"posed_folder:{tmp_path}?depth_scale=5000*2"), torch.device("cpu"))
    assert set(source.prepare(plan, 0).names) == {"posed_folder/office"}


def test_an_unknown_data_set_is_named() -> None:
    with pytest.raises(ConfigError, match="'sprong' is unknown"):
        make_source(replace(CONFIG, source="sprong:/data"), torch.device("cpu"))


@pytest.mark.parametrize("on_bad", ["skip", "stop"])
def test_a_sequence_whose_files_are_missing_is_left_out_or_stops(on_bad: str, caplog: pytest.LogCaptureFixture) -> None:
    class Torn(Shelf):
        def frame_ids(self, sequence: str) -> list[int]:
            if sequence == "b":
                raise DataError("shelf/b has 3 images and 4 poses")
            return super().frame_ids(sequence)

    source = DatasetSource(replace(CONFIG, on_bad=on_bad), [Share(Torn(), 1.0)])  # type: ignore[arg-type]
    plans = list(plan_steps(CONFIG, 14, range(4), 1, 1))
    if on_bad == "stop":
        with pytest.raises(DataError, match="3 images and 4 poses"):
            [source.prepare(plan, 0) for plan in plans]
        return
    names = {name for plan in plans for name in source.prepare(plan, 0).names}
    assert names == {"shelf/a"}
    assert caplog.text.count("leaving out a sequence: shelf/b has 3 images and 4 poses") == 1
