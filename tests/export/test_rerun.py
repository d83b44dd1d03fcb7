"""The recording is checked by rerun's own command line (its SDK has no reader without pyarrow extras)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openmore.types import Reconstruction

pytest.importorskip("rerun")


def rerun_cli(*arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "rerun", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"RERUN_ANALYTICS": "0"},
    )
    return run.stdout + run.stderr


def test_the_recording_holds_every_entity_at_every_time(scene: Reconstruction, tmp_path: Path) -> None:
    path = str(scene.export(tmp_path / "scene.rrd"))
    assert "verified without error" in rerun_cli("rrd", "verify", path)
    printed = rerun_cli("rrd", "print", "-v", path)
    rows: dict[str, int] = {}
    for count, entity in re.findall(r"with (\d+) rows .*? - (/\S+) - ", printed):
        rows[entity] = rows.get(entity, 0) + int(count)
    once = dict.fromkeys(["/world", "/world/static", "/world/path"], 1)
    timed = ["/world/movers", "/world/camera", "/world/camera/image"]
    timed += [f"/world/camera/image/{kind}" for kind in ("rgb", "depth", "motion")]
    assert {k: v for k, v in rows.items() if not k.startswith("/__")} == once | dict.fromkeys(timed, 4)


def test_depth_can_be_left_out(scene: Reconstruction, tmp_path: Path) -> None:
    printed = rerun_cli("rrd", "print", "-v", str(scene.export(tmp_path / "b.rrd", depth=False)))
    assert "/world/camera/image/rgb" in printed and "/world/camera/image/depth" not in printed
