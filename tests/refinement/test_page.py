"""docs/refinement.md carries the committed numbers, whatever has been recorded."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.refinement_page import PAGE, SHORT, page

ROW = {
    "rotation_step_deg": 0.5,
    "rotation_deg": 1.5,
    "cpu_seconds_per_frame": 0.2,
    "ate_share": 0.03,
    "wall_seconds_per_frame": 0.15,
}


def test_the_page_holds_what_was_recorded() -> None:
    assert PAGE.read_text() == page(PAGE.read_text()), "run: python benchmarks/refinement_page.py"


def test_absent_results_are_called_absent_and_present_ones_are_shown(tmp_path: Path) -> None:
    assert page(PAGE.read_text(), tmp_path).count("not recorded yet") == 5
    still = ROW | {"rotation_step_deg": 0.0, "rotation_deg": 0.0, "cpu_seconds_per_frame": 0.4, "drift": 0.01}
    del still["ate_share"]
    clips = {"a": {"frames": 3, "methods": dict.fromkeys(SHORT, ROW)}}
    clips["b"] = {"frames": 4, "methods": {"small full": still}}
    content = {"commit": "abc", "date": "2026-01-01", "machine": {"cores": 2}, "results": {"clips": clips}}
    (tmp_path / "refinement_clips.json").write_text(json.dumps(content))
    text = page(PAGE.read_text(), tmp_path)
    assert "| a (3) | 0.50 / 1.50; 3.0 % |" in text and "0.00 / 0.00; drift 1.0 %" in text
    assert "| network | 0.30 (0.40) | 0.15 (0.15) |" in text and "| geometry | 0.20 (0.20) | 0.15 (0.15) |" in text
    assert text.count("not recorded yet") == 4


def test_changed_clips_that_miss_are_named(tmp_path: Path) -> None:
    good = {"rotation_deg": 0.5, "no_rotation_deg": 5.0, "abs_rel": 0.2, "constant_abs_rel": 0.4}
    clips = {"a@whole": good, "b@whole": {"rotation_deg": 0.1, "no_rotation_deg": 0.0, "drift": 0.001}}
    clips |= {"a@mover": good | {"rotation_deg": 3.0, "j_mean": 0.8}, "b@mover": good | {"abs_rel": 0.5}}
    content = {"commit": "abc", "date": "2026-01-01", "machine": {"cores": 2}, "note": "whole: as it is; mover: a disc"}
    content["results"] = {"clips": clips, "failures": {}}
    (tmp_path / "robustness.json").write_text(json.dumps(content))
    text = page(PAGE.read_text(), tmp_path)
    assert "| as it is | 0.10 (0.10) | 0.50 (0.50) | 0.1 % | - | none |" in text
    assert "| a disc | 0.35 (0.60) | 0.88 (1.25) | - | 0.80 (0.80) | a: rotation; b: depth |" in text
