from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from openmore.errors import ConfigError
from openmore.scale import Item, Task, read_failures, run_job
from tests.masks.conftest import moving_square


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    for t, image in enumerate(moving_square()[0].images):
        Image.fromarray(image).save(folder / f"{t}.png")
    return folder


def test_masks_of_a_manifest_with_a_bad_clip(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    items = [
        Item("a", str(clip)),
        Item("b", str(tmp_path / "broken.mp4")),
        Item("c", str(clip), {"max_frames": 3, "offsets": [1]}),
        Item("d", str(clip), {"colour": 1}),
    ]
    out = tmp_path / "out"
    summary = run_job(items, out, "masks", workers=0, segments="residual", offsets=[-1, 1])
    assert summary.failed == ["b", "d"] and summary.done == 2
    assert len(list((out / "a" / "masks").iterdir())) == 5 and len(list((out / "c" / "masks").iterdir())) == 3
    reasons = {f["id"]: str(f["reason"]) for f in read_failures(out)}
    assert "broken.mp4" in reasons["b"] and "'colour'" in reasons["d"]


def test_reconstructions(clip: Path, tmp_path: Path) -> None:
    from openmore.types import Reconstruction

    items = [Item("a", str(clip), {"max_frames": 2})]
    assert run_job(items, tmp_path, "reconstruct", workers=0, weights="untrained:tiny", long_side=56).done == 1
    assert len(Reconstruction.load(tmp_path / "a")) == 2


def test_unknown_options_are_refused_before_the_work() -> None:
    with pytest.raises(ConfigError, match="'colour' of the masks task"):
        Task("masks", {"colour": 1}).load()
