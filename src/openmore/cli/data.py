"""`openmore data list | check`: which data sets can be read, and whether a download is what it should be."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmore.cli.progress import progress_bar
from openmore.errors import DataError

if TYPE_CHECKING:
    from openmore.data.datasets.base import FrameDataset
    from openmore.evaluation.dataset_check import SequenceCheck

NUMBERS = ("displacement_px", "reprojection_px", "sampson_px", "sampson_inverted_px", "flow_px")

verbs = typer.Typer(help="Data sets: what can be read, and whether a download is whole.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group of verbs."""
    app.add_typer(verbs, name="data")


@verbs.command("list")
def list_datasets() -> None:
    """Every data set with a reader, its use and its licence."""
    from openmore.data.datasets.registry import REGISTRY

    for name, entry in REGISTRY.items():
        print(f"{name:<16} {entry.use:<9} {entry.licence}")


@verbs.command()
def check(
    name: Annotated[str, typer.Argument(help="A name from `openmore data list`.")],
    path: Annotated[Path, typer.Argument(help="Its root folder.")],
    sequences: Annotated[int, typer.Option(help="Sequences to look into, evenly chosen.")] = 3,
    pairs: Annotated[int, typer.Option(help="Pairs of frames per sequence.")] = 3,
    gap: Annotated[int, typer.Option(help="Frames between the two of a pair.")] = 1,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE for the reader, e.g. split=valid or flow=true.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("-o", "--out", help="Contact sheet (PNG) to write.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing sheet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify a download: counts, files, cameras, reprojection of static pixels, motion labels, one picture."""
    from openmore.checks import named_values
    from openmore.data.datasets.registry import open_dataset
    from openmore.evaluation.dataset_check import check_dataset
    from openmore.io.output import FILE, require_free

    if picture is not None:
        require_free(picture, FILE, overwrite)
    dataset = open_dataset(name, path, **named_values(options or [], "--set", "--set split=valid"))
    with progress_bar() as progress:
        found = check_dataset(dataset, sequences=sequences, pairs=pairs, gap=gap, progress=progress)
    if as_json:
        counts = {"sequences": len(dataset), "expected_sequences": dataset.expected_sequences()}
        checks = [c.as_dict() for c in found]
        print(json.dumps({"dataset": name, **counts, "recalled": dataset.recalled, "checks": checks}, indent=1))
    else:
        show_counts(dataset, found)
        for c in found:
            show(c)
        for what, sign in dataset.recalled.items():
            print(f"  recalled, not verified: {what}; wrong if {sign}")
    if picture is not None:
        save(found, picture)
    problems = sum(len(c.problems) for c in found)
    if problems:
        raise DataError(f"{problems} problem(s) found in {path}: see the lines above, then docs/data.md")


def show_counts(dataset: FrameDataset, found: list[SequenceCheck]) -> None:
    """Sequences and sizes beside those of the official download."""
    whole = dataset.expected_sequences()
    of = "" if whole is None else f", the whole download has {whole}"
    print(f"{dataset.name}: {len(dataset)} sequences{of}")
    official, seen = dataset.picture_shape, {c.shape for c in found if c.shape}
    if official and seen - {official, official[::-1]}:
        sizes = ", ".join(f"{w}x{h}" for h, w in sorted(seen))
        print(f"  pictures are {sizes}, officially {official[1]}x{official[0]}: resized, or another version")


def show(c: SequenceCheck) -> None:
    """Print one sequence."""
    size = f"{c.shape[1]}x{c.shape[0]}" if c.shape else "nothing could be read"
    lost = f", dropped {c.dropped}" if c.dropped else ""
    print(f"  {c.name}: {c.frames} frames{lost}, {size}")
    if c.pairs:
        print(f"    depth on {c.depth_share:.0%} of the pixels, median {c.depth_median:.3g}")
        if c.motion_share:
            print("    motion labels: " + ", ".join(f"{word} {share:.1%}" for word, share in c.motion_share.items()))
        numbers = {k: c.median(k) for k in NUMBERS}
        known = [f"{k.removesuffix('_px')} {v:.2f}" for k, v in numbers.items() if isfinite(v)]
        print("    matches (px): " + (", ".join(known) or "too few to judge"))
    for problem in c.problems:
        print(f"    PROBLEM: {problem}")


def save(found: list[SequenceCheck], path: Path) -> None:
    """Write the contact sheet."""
    from PIL import Image

    from openmore.evaluation.dataset_check import picture
    from openmore.io.atomic import atomic_file

    with atomic_file(path) as handle:
        Image.fromarray(picture(found)).save(handle, format="PNG")
    print(f"picture: {path}")
