"""Make docs/masks.md from committed results: no number in its tables is typed by hand.

    python -m benchmarks.masks_page [--picture]   # --picture also draws docs/gallery/masks.jpg

Words come from masks_page.md beside this file, numbers from results/masks_{synthetic,real}.json and results/scale.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from openmore.evaluation.report import table

ROOT = Path(__file__).parents[1]
RESULTS, PAGE, WORDS = ROOT / "benchmarks/results", ROOT / "docs/masks.md", Path(__file__).with_suffix(".md")
PICTURE = ROOT / "docs/gallery/masks.jpg"


def page(results: Path = RESULTS) -> str:
    """The whole page. A result that was never recorded is said to be missing."""
    text = WORDS.read_text()
    for mark, name, lines in (
        ("synthetic", "masks_synthetic", synthetic),
        ("real", "masks_real", real),
        ("scale", "scale", scale),
    ):
        path = results / f"{name}.json"
        made = ["Not run yet."]
        if path.is_file():
            recorded = json.loads(path.read_text())
            made = [*lines(recorded["results"]), "", where(recorded)]
        text = text.replace(f"<<{mark}>>", "\n".join(made))
    return text


def where(recorded: dict[str, Any]) -> str:
    """Where the numbers come from."""
    machine = recorded["machine"]
    load = f", load {machine['load_average'][0]:.0f}" if machine["load_average"][0] > machine["cores"] else ""
    return (
        f"`{recorded['command']}`, {recorded['date'][:10]}, commit {recorded['commit']}, "
        f"{machine['cores']} cores of {machine['processor']}{load}."
    )


def synthetic(results: dict[str, Any]) -> list[str]:
    """One table of ingredients per picture size."""
    first, *others = [one_size(part) for part in results["sizes"]]
    return [*first, *(line for part in others for line in ("", *part))]


def one_size(results: dict[str, Any]) -> list[str]:
    """A heading and a table."""
    rows = [
        [
            name, f"{r['iou']:.3f}", f"{r['iou_mean_over_clips']:.3f}", f"{100 * r['false_positive_area']:.2f} %",
            f"{100 * r['unknown']:.1f} %", f"{r['cpu_seconds_per_frame']:.2f} s",
        ]
        for name, r in results["rows"].items()
    ]  # fmt: skip
    header = ["", "IoU", "mean over clips", "false area, static clips", "unknown", "CPU per frame"]
    shape = "x".join(str(side) for side in reversed(results["shape"]))
    count = f"{results['clips_with_movers']} clips with movers, {results['static_clips']} without"
    return [f"{count}, {results['frames']} frames of {shape}.", "", *table(header, rows)]


def real(results: dict[str, Any]) -> list[str]:
    """One row per clip and setting."""
    rows = [
        [
            name if first else "", label, *(f"{row[key]:.3f}" if key in row else "-" for key in ("j", "f")),
            f"{100 * row['moving']:.1f} %", f"{100 * row['true']:.1f} %" if "true" in row else "-",
            clip["masks"] if first else "", clip["depth"] if first else "",
        ]
        for name, clip in results["clips"].items()
        for first, (label, row) in zip((True, False, False), clip["rows"].items())
    ]  # fmt: skip
    header = ["clip", "", "J", "F", "moving", "in truth", "masks", "depth"]
    size = f"First {results['max_frames']} frames, long side at most {results['long_side']} px."
    return [size, "", *table(header, rows)]


def scale(results: dict[str, Any]) -> list[str]:
    """Throughput, then what an executor costs."""
    costs = {(row["executor"], row["workers"]): row for row in results["overhead"]}
    rows = []
    for row in results["throughput"]:
        cost = costs.get((row["executor"], row["workers"]))
        extra = ["-", "-"] if cost is None else [f"{cost['ms_per_clip']:.0f} ms", f"{cost['start_seconds']:.1f} s"]
        workers = str(row["workers"]) if row["workers"] else "0 (in this process)"
        rows.append([row["executor"], workers, f"{row['clips_per_minute']:.1f}", *extra])
    header = ["executor", "workers", "clips per minute", "overhead per clip", "start"]
    clips = results["throughput"][0]["clips"]
    return [f"Masks of {clips} clips of 8 frames, 224x168, start included.", "", *table(header, rows)]


def draw() -> None:
    """One frame of the synthetic world explained: no real clip's licence binds it."""
    from PIL import Image

    from openmore.data.synthetic import Recipe, make_clip
    from openmore.masks.clip import clip_from_sample
    from openmore.masks.pipeline import extract_masks
    from openmore.masks.write import explanations

    clip = clip_from_sample(make_clip(1001, 5, (252, 336), recipe=Recipe(movers=(1, 6))))
    PICTURE.parent.mkdir(exist_ok=True)
    Image.fromarray(explanations(clip, extract_masks(clip))[2]).save(PICTURE, quality=85)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", action="store_true", help="draw the picture, too")
    if parser.parse_args().picture:
        draw()
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
