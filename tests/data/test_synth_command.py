"""`openmore synth` writes what the reader loads back bit-exactly, and names what it cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmore.cli.main import main
from openmore.data.sample_folder import read_sample
from openmore.data.synthetic import Recipe, make_clip
from tests.data.test_sample import same


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["synth", *args])
    return int(stop.value.code or 0)


def test_sequences_are_the_clips_of_their_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run("-n", "2", "-o", str(tmp_path), "--frames", "3", "--size", "32x48", "--seed", "5", "--movers", "1-3") == 0
    )
    recipe = Recipe(intervals=(1, 1), movers=(1, 3))
    for seed in (5, 6):
        sample = read_sample(tmp_path / f"{seed:06d}")
        assert same(sample, make_clip(seed, 3, (32, 48), recipe=recipe))
        assert (tmp_path / f"{seed:06d}" / "preview.mp4").stat().st_size > 0
        assert sample.times_s == pytest.approx(np.arange(3) / 30)
    assert "2 sequences of 3 frames" in capsys.readouterr().out
    assert run("-n", "1", "-o", str(tmp_path), "--seed", "5", "--size", "32x48") == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--size", "168*224"), "size '168*224'"),
        (("--camera", "fly"), "camera 'fly': expected one of handheld"),
        (("--movers", "many"), "movers 'many'"),
        (("--device", "tpu"), "device 'tpu' is not here"),
        (("--textures", "absent"), "textures absent: not a folder"),
    ],
)
def test_impossible_wishes_end_with_one_line(
    args: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-n", "1", "-o", str(tmp_path / "x"), *args) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("openmore: ") and message in error
