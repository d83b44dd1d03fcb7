"""Make docs/evaluation.md from committed results: no number on that page is typed by hand.

    python benchmarks/evaluation_page.py

Words come from evaluation_page.md beside this file, numbers from results/evaluation_{clips,synthetic}.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openmore.evaluation.protocols.base import Column
from openmore.evaluation.protocols.clips import COLUMNS
from openmore.evaluation.published import published
from openmore.evaluation.report import cells, headers, table

ROOT = Path(__file__).parents[1]
RESULTS, PAGE, WORDS = ROOT / "benchmarks/results", ROOT / "docs/evaluation.md", Path(__file__).with_suffix(".md")
SUMMARY = [column for column in COLUMNS if not column.detail]
DETAIL = [c for c in COLUMNS if c.key not in ("no_rotation_step_deg", "rpe_translation", "rpe_rotation_deg")]
METRICS = {"ate": "ATE", "rpe_translation": "RPE-t", "rpe_rotation_deg": "RPE-r", "abs_rel": "AbsRel"}
METRICS |= {"delta_1": "delta", "rra@30": "RRA@30", "rta@30": "RTA@30", "auc@30": "AUC@30"}
OTHER_PROTOCOLS = ("MoRe", "PAGE-4D")  # whose VGGT rows no known protocol explains
COMMANDS = {
    "sintel-pose": "ATE, RPE on 14 sequences",
    "tum-pose": "ATE, RPE, 90 frames of 8 sequences",
    "bonn-pose": "ATE, RPE, 110 frames of 5 sequences",
    "scannet-pose": "ATE, RPE, 90 frames of 100 scenes",
    "sintel-depth": "AbsRel, delta on 23 sequences",
    "sintel-depth-14": "AbsRel, delta on 14 sequences",
    "bonn-depth": "AbsRel, delta, 110 frames of 5 sequences",
    "kitti-depth": "AbsRel, delta, 110 frames of 13 drives",
    "tum-depth": "AbsRel, delta; our own definition",
    "co3d": "RRA, RTA, AUC@30, 10 frames per sequence",
    "davis": "J and F of motion masks, 20 sequences",
    "kitti-speed": "frames per second, window 5",
}


def page(results: Path = RESULTS) -> str:
    """The whole page. A result that was never recorded is said to be missing."""
    text = WORDS.read_text()
    for name in ("clips", "synthetic"):
        path = results / f"evaluation_{name}.json"
        lines = measured(json.loads(path.read_text()), per_clip=name == "clips") if path.is_file() else ["Not run yet."]
        text = text.replace(f"<<{name}>>", "\n".join(lines))
    return text.replace("<<suites>>", "\n".join(suite_table())).replace("<<vggt>>", "\n".join(vggt_table()))


def measured(recorded: dict[str, Any], per_clip: bool) -> list[str]:
    """Medians over sequences, the table per clip, failures, and where it was measured."""
    methods = recorded["results"]["methods"]
    rows = [[label(m), *cells(SUMMARY, m["summary"])] for m in methods]
    lines = ["Medians over sequences:", "", *table(["method", *headers(SUMMARY)], rows), ""]
    if per_clip:
        lines += ["Per clip:", "", *clip_table(methods), ""]
    return lines + failures(methods) + [where(recorded)]


def where(recorded: dict[str, Any]) -> str:
    """Commit, day and machine."""
    machine, results = recorded["machine"], recorded["results"]
    seconds = results["cpu_seconds"]
    spent = f"; {seconds:.0f} s of processor time in all" if seconds is not None else ""
    return (
        f"Commit {recorded['commit']}, {recorded['date'][:10]}, {machine['processor']}, {machine['cores']} cores, "
        f"torch {recorded['torch']}{spent}."
    )


def label(method: dict[str, Any]) -> str:
    """The method, and what its medians are missing."""
    count = len(method["sequences"])
    return method["method"] + ("" if count == method["expected"] else f" ({count} of {method['expected']})")


def clip_table(methods: Sequence[dict[str, Any]]) -> list[str]:
    """One line per clip and method; only columns somebody fills."""
    rows_of = [m["sequences"] for m in methods]
    used: list[Column] = [c for c in DETAIL if any(c.key in row for rows in rows_of for row in rows.values())]
    names = list(dict.fromkeys(name for rows in rows_of for name in rows))
    lines = [
        [name, m["method"], *cells(used, m["sequences"][name])]
        for name in names
        for m in methods
        if name in m["sequences"]
    ]
    return table(["clip", "method", *headers(used)], lines)


def failures(methods: Sequence[dict[str, Any]]) -> list[str]:
    """What could not be measured."""
    lines = [f"- {m['method']} failed on {name}: {reason}" for m in methods for name, reason in m["failures"].items()]
    return [*lines, ""] if lines else []


def suite_table() -> list[str]:
    """Commands with what they measure and how many published rows stand beside."""
    rows = [[f"`{name}`", what, str(len(published().get(name, [])))] for name, what in COMMANDS.items()]
    return table(["command", "measures", "published rows"], rows)


def vggt_table() -> list[str]:
    """What VGGT-1B scored in others' hands, where their protocol is ours."""
    rows = []
    for name in COMMANDS:
        for row in published().get(name, []):
            if row.method == "VGGT" and row.source not in OTHER_PROTOCOLS and row.kind == "full attention":
                values = ", ".join(f"{METRICS[key]} {value:g}" for key, value in row.values.items() if key in METRICS)
                rows.append([f"`{name}`", values, row.source])
    return table(["command", "VGGT-1B published", "by"], rows)


if __name__ == "__main__":
    PAGE.write_text(page())
