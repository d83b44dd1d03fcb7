"""Put the measured numbers into docs/refinement.md: none on that page is typed by hand.

    python benchmarks/refinement_page.py

The lines between the two markers are replaced by tables of results/refinement_{clips,synthetic,scale,loop}.json and
results/robustness.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks/results", ROOT / "docs/refinement.md"
BEGIN, END = "<!-- numbers: benchmarks/refinement_page.py -->\n", "<!-- end of numbers -->\n"
JOINT = "@"  # between a clip and how it was changed
LEAST_TURN, MOST_DRIFT = 1.0, 0.05  # degrees; share of the depth
WITH_MOVERS = ("static_dog_gallery", "static_vtest_pedestrians", "static_nvidia_balloon1", "kitti01_000_050_movingcars")
SHORT = {
    "two-view SIFT": "SIFT, given K",
    "two-view SIFT without K": "SIFT, 55 degree lens",
    "small full": "network",
    "small full +geometry": "geometry",
    "small full +geometry +K": "geometry, given K",
    "small stream-window16 +geometry +K": "stream, given K",
}


def page(text: str, results: Path = RESULTS) -> str:
    """The page with its numbers renewed."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    parts = {
        "refinement_clips": clips,
        "robustness": changed,
        "refinement_synthetic": synthetic,
        "refinement_scale": scale,
        "refinement_loop": loop,
    }
    blocks = [make(load(results, name)) for name, make in parts.items()]
    return before + BEGIN + "\n" + "\n\n".join(blocks) + "\n\n" + END + after


def load(results: Path, name: str) -> dict[str, Any] | None:
    """A recorded result, or None."""
    path = results / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def missing(name: str, command: str) -> str:
    return f"{name}: not recorded yet (`python benchmarks/{command}`)."


def clips(found: dict[str, Any] | None) -> str:
    """Per clip: median rotation error per frame and over all pairs, ATE, drift."""
    if found is None:
        return missing("Real clips", "refinement.py clips")
    rows = found["results"]["clips"]
    lines = [
        f"Real clips ({source(found)}). Degrees per frame / over any two frames; then ATE as a share of the camera's "
        "motion, or, for a camera that stands still, drift as a share of the median depth. Smaller is better.",
        "",
        "| clip | " + " | ".join(SHORT.values()) + " |",
        "|---|" + "---|" * len(SHORT),
    ]
    for name, row in rows.items():
        cells = [cell(row["methods"].get(method)) for method in SHORT]
        lines.append(f"| {name} ({row['frames']}) | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *costs(rows)])


def costs(rows: dict[str, Any]) -> list[str]:
    """Seconds per frame of every method, median and slowest clip."""
    lines = [
        "Seconds per frame with everything the method does, network and dense maps included; median, slowest clip in "
        "brackets.",
        "",
        "| method | processor | wall, two cores |",
        "|---|---|---|",
    ]
    for method, short in SHORT.items():
        found = [row["methods"][method] for row in rows.values() if method in row["methods"]]
        spent = [[row[f"{clock}_seconds_per_frame"] for row in found] for clock in ("cpu", "wall")] if found else []
        cells = [f"{median(seconds):.2f} ({max(seconds):.2f})" for seconds in spent]
        lines += [f"| {short} | {' | '.join(cells)} |"] if cells else []
    return lines


def cell(row: dict[str, float] | None) -> str:
    """One method on one clip."""
    if row is None:
        return "-"
    text = f"{row['rotation_step_deg']:.2f} / {row['rotation_deg']:.2f}"
    if "ate_share" in row:
        return f"{text}; {100 * row['ate_share']:.1f} %"
    return f"{text}; drift {100 * row['drift']:.1f} %" if "drift" in row else text


def changed(found: dict[str, Any] | None) -> str:
    """Real clips under each change: how far from a guess, and who is not below what was asked."""
    if found is None:
        return missing("Changed clips", "robustness.py")
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for name, row in found["results"]["clips"].items():
        clip, change = name.split(JOINT)
        rows.setdefault(change, {})[clip] = row
    lines = [
        f"The first 16 frames of the same clips, changed ({source(found)}). Rotation error of any two frames as a "
        "share of that of a camera that never turns (clips whose frames are a degree apart or more); AbsRel of "
        "depth as a share of a constant's; median, worst in brackets. IoU is that of the disc. The last column names "
        "who misses what was asked: half the rotation, a drift of 5 % of the depth, a constant's depth.",
        "",
        "| change | rotation | depth | drift, worst | IoU | misses |",
        "|---|---|---|---|---|---|",
    ]
    for words in found["note"].split("; "):
        change, _, meaning = words.partition(": ")
        of = rows.get(change, {})
        turns = [r["rotation_deg"] / r["no_rotation_deg"] for r in of.values() if r["no_rotation_deg"] >= LEAST_TURN]
        depths = [r["abs_rel"] / r["constant_abs_rel"] for r in of.values() if "abs_rel" in r]
        drifts = [r["drift"] for r in of.values() if "drift" in r]
        cells = [f"{median(x):.2f} ({max(x):.2f})" if x else "-" for x in (turns, depths)]
        cells.append(f"{100 * max(drifts):.1f} %" if drifts else "-")
        movers = [r["j_mean"] for clip, r in of.items() if "j_mean" in r and clip not in WITH_MOVERS]
        cells.append(f"{median(movers):.2f} ({min(movers):.2f})" if movers and change == "mover" else "-")
        bad = [f"{clip}: {', '.join(missed(r))}" for clip, r in of.items() if missed(r)]
        lines.append(f"| {meaning} | {' | '.join(cells)} | {'; '.join(bad) or 'none'} |")
    failed = found["results"]["failures"]
    return "\n".join([*lines, *(["", f"Failed: {', '.join(failed)}."] if failed else [])])


def missed(row: dict[str, float]) -> list[str]:
    """What of a changed clip's row is not what was asked."""
    asked = []
    if row["no_rotation_deg"] >= LEAST_TURN and row["rotation_deg"] > row["no_rotation_deg"] / 2:
        asked.append("rotation")
    if row.get("drift", 0) > MOST_DRIFT:
        asked.append("drift")
    if "abs_rel" in row and row["abs_rel"] > row["constant_abs_rel"]:
        asked.append("depth")
    return asked


def synthetic(found: dict[str, Any] | None) -> str:
    """Medians over the synthetic validation clips."""
    if found is None:
        return missing("Synthetic clips", "refinement.py synthetic")
    results = found["results"]
    moving = [row["moving_share"] for row in results["clips"].values()]
    lines = [
        f"Synthetic clips, {len(moving)} of seeds that training never draws ({source(found)}); moving things cover up "
        f"to {100 * max(moving):.0f} % of a clip's pixels. Medians over clips, 90th percentile in brackets.",
        "",
        "| method | degrees per frame | any two frames | ATE / path length (%) |",
        "|---|---|---|---|",
    ]
    for method, row in results["summary"].items():
        values = [("rotation_step_deg", 1), ("rotation_deg", 1), ("ate_path", 100)]
        cells = [f"{k * row[key]:.2f} ({k * row[key + '_90th']:.2f})" for key, k in values]
        lines.append(f"| {SHORT.get(method, method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def scale(found: dict[str, Any] | None) -> str:
    """Cost against length."""
    if found is None:
        return missing("Cost against length", "refinement_scale.py")
    lines = [
        f"Cost against length, 512x384 pixels, without the network ({source(found)}).",
        "",
        "| frames | processor s per frame | growth of peak memory (MB) |",
        "|---|---|---|",
    ]
    for row in found["results"]["clips"]:
        lines.append(f"| {row['frames']} | {row['cpu_seconds_per_frame']:.3f} | {row['peak_memory_growth_mb']:.0f} |")
    quarters = ", ".join(f"{x:.3f}" for x in found["results"]["window"]["median_cpu_seconds_per_quarter"])
    count = found["results"]["window"]["frames"]
    return "\n".join([*lines, "", f"A stream of {count} frames, processor seconds per frame by quarter: {quarters}."])


def loop(found: dict[str, Any] | None) -> str:
    """Matching far apart, on a walk forth and back."""
    if found is None:
        return missing("A walk that comes back", "refinement_loop.py")
    results = found["results"]
    lines = [
        f"A walk of {results['frames']} synthetic pictures that comes back ({source(found)}), with and without "
        "matching frames far apart; lengths as shares of the walk's reach.",
        "",
        "| far matches | ATE (%) | gap at the end (%) | turn at the end (degrees) | processor s |",
        "|---|---|---|---|---|",
    ]
    for name in ("without", "with"):
        row = results[name]
        cells = f"{100 * row['ate_share']:.3f} | {100 * row['end_gap_share']:.3f} | {row['end_turn_deg']:.3f}"
        lines.append(f"| {name} | {cells} | {row['cpu_seconds']:.1f} |")
    if "long" in results:
        lines += ["", *rings(results["long"])]
    return "\n".join(lines)


def rings(found: dict[str, Any]) -> list[str]:
    """Long clips that come back, with and without closing their loops."""
    lines = [
        f"Corridors round a block, {found['frames']} synthetic pictures each, which end where they began: without and "
        "with closing loops. ATE as a share of the camera's motion, the gap as a share of the reach.",
        "",
        "| seed | loops used | ATE (%) | gap at the end (%) | turn at the end (degrees) | processor s |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rings"]:
        a, b = row["without"], row["with"]
        used = sum(loops["used"] for loops in b["loops"] if loops["taken"])
        cells = [f"{100 * a[k]:.2f} to {100 * b[k]:.2f}" for k in ("ate_share", "end_gap_share")]
        cells += [f"{a[k]:.{d}f} to {b[k]:.{d}f}" for k, d in (("end_turn_deg", 2), ("cpu_seconds", 1))]
        lines.append(f"| {row['seed']} | {used} | " + " | ".join(cells) + " |")
    return lines


def source(found: dict[str, Any]) -> str:
    return f"commit {found['commit']}, {found['date'][:10]}, {found['machine']['cores']} cores"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
