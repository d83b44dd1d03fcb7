from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from openmore.cli.main import app, main
from openmore.errors import DataError
from openmore.scale import read_failures
from tests.masks.conftest import moving_square

OBEDIENT = ("--task", "tests.scale.helpers:obedient", "--workers", "0")


def write_manifest(path: Path, sources: list[str]) -> Path:
    path.write_text("".join(json.dumps({"id": f"i{n:02d}", "source": s}) + "\n" for n, s in enumerate(sources)))
    return path


def test_ninety_nine_of_a_hundred(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(tmp_path / "m.jsonl", ["ok"] * 41 + ["corrupt"] + ["ok"] * 58)
    with pytest.raises(SystemExit) as end:
        main(["batch", str(manifest), "-o", str(tmp_path / "out"), *OBEDIENT])
    captured = capsys.readouterr()
    assert end.value.code == 2 and "99 done" in captured.out
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("openmore: 1 of 100 clips failed (i41)") and "Traceback" not in captured.err
    assert len(list((tmp_path / "out").glob("i*/result.txt"))) == 99
    (failure,) = read_failures(tmp_path / "out")
    assert (failure["id"], failure["reason"]) == ("i41", "i41 is damaged: second line")
    write_manifest(manifest, ["ok"] * 100)
    again = CliRunner().invoke(app, ["batch", str(manifest), "-o", str(tmp_path / "out"), *OBEDIENT])
    assert again.exit_code == 0 and "1 done, 99 were there" in again.output


def test_masks_of_real_files(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    for t, image in enumerate(moving_square()[0].images):
        Image.fromarray(image).save(tmp_path / "clip" / f"{t}.png")
    (tmp_path / "torn.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42")
    manifest = tmp_path / "m.txt"
    manifest.write_text(f"{tmp_path / 'clip'}\n{tmp_path / 'torn.mp4'}\n")
    args = ["--workers", "0", "--set", "segments=residual", "--set", "offsets=[-1, 1]", "--set", "max_frames=3"]
    result = CliRunner().invoke(app, ["batch", str(manifest), "-o", str(tmp_path / "out"), *args])
    assert isinstance(result.exception, DataError) and "1 of 2 clips failed (torn)" in str(result.exception)
    assert len(list((tmp_path / "out" / "clip" / "masks").iterdir())) == 3
    settings = json.loads((tmp_path / "out" / "clip" / "report.json").read_text())["settings"]
    assert settings["segments"] == "residual" and settings["offsets"] == [-1, 1]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["absent.txt"], 2, "is no manifest file"),
        (["m.txt", "--executor", "dask"], 2, "executor 'dask' is unknown"),
        (["m.txt", "--executor", "slurm-array"], 2, "no job array"),
        (["m.txt", "--task", "depth"], 2, "choose one of masks, reconstruct"),
        (["m.txt", "--set", "flow=best"], 2, "flow backend 'best' is unknown"),
        (["m.txt", "--set", "colour=1"], 2, "option 'colour' of the masks task is unknown"),
        (["m.txt", "--task", "reconstruct", "--set", "mode=live"], 2, "expected one of full, stream"),
        (["m.txt", "--task", "reconstruct", "--set", "colour=1"], 2, "unexpected keyword argument 'colour'"),
        (["m.txt", "-o", "m.txt/out"], 2, "m.txt is a file, not a folder"),
        (["m.txt", "--executor", "ray"], 4, "pip install 'openmore[scale]'"),
    ],
)
def test_what_cannot_work_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    (tmp_path / "m.txt").write_text("clip.mp4\n")
    workers = [] if "ray" in args else ["--workers", "0"]
    with pytest.raises(SystemExit) as end:
        main(["batch", *args, *([] if "-o" in args else ["-o", "out"]), *workers])
    error = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == code and words in error[-1] and not any("Traceback" in line for line in error)
