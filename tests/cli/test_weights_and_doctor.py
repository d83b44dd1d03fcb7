"""`openmore weights ...` and `openmore doctor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from openmore.model.config import PRESETS, preset
from openmore.model.more import MoRe
from openmore.model.weights.load import untrained


def test_list_names_licence_and_origin(openmore: Callable) -> None:
    ran = openmore("weights", "list")
    assert ran.code == 0
    for word in ("small", "more-stream", "haikuoxin/more", "Apache-2.0", "S-Lab"):
        assert word in ran.out
    assert ran.out.count("checksum: not known") == 3


def test_inspect_lists_what_a_preset_leaves_out(openmore: Callable, tmp_path: Path) -> None:
    state = untrained("tiny").state_dict() | {"track_head.x": torch.zeros(1)}
    torch.save({"model": state}, tmp_path / "a.pt")
    ran = openmore("weights", "inspect", f"tiny:{tmp_path / 'a.pt'}")
    assert ran.code == 0 and "missing 0" in ran.out and "unexpected 1\n  track_head.x" in ran.out


def test_convert_then_inspect(openmore: Callable, tmp_path: Path) -> None:
    torch.save(untrained("tiny").state_dict(), tmp_path / "a.pt")
    ran = openmore("weights", "convert", tmp_path / "a.pt", tmp_path / "b.safetensors", "--preset", "tiny")
    assert ran.code == 0 and "read as tiny" in ran.out
    assert "missing 0" in openmore("weights", "inspect", tmp_path / "b.safetensors").out
    compared = openmore("weights", "inspect", f"small:{tmp_path / 'b.safetensors'}")
    assert compared.code == 0 and "read as small" in compared.out and "missing 0" not in compared.out


def test_convert_says_what_a_guess_may_have_missed(
    openmore: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny = replace(preset("tiny"), heads=("camera", "depth", "points"), duplicate_camera=False)
    monkeypatch.setitem(PRESETS, "vggt-1b", tiny)  # a VGGT of a size that tests can write
    torch.save(MoRe(tiny).state_dict(), tmp_path / "a.pt")
    ran = openmore("weights", "convert", tmp_path / "a.pt", tmp_path / "b.safetensors")
    assert ran.code == 0 and "read as vggt-1b" in ran.out and "stream3r, streamvggt carry the same names" in ran.out


def test_download_offline_fails_at_once(openmore: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENMORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ran = openmore("weights", "download", "more-full")
    assert ran.code == 3 and "HF_HUB_OFFLINE" in ran.message


def test_doctor_says_what_this_machine_can_run(openmore: Callable) -> None:
    ran = openmore("doctor", "--width", "640", "--height", "480")
    assert ran.code == 0 and openmore("doctor", "--width", "-5").code == 2
    for word in ("torch", "cpu:", "GB free", "frames at once", "MB per remembered frame"):
        assert word in ran.out
