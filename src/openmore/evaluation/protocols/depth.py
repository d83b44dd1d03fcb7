"""Video depth: Sintel, Bonn, KITTI, TUM-dynamics with the CUT3R lineage's alignment, and every variant beside it.

Choices
- Prediction resized to the truth by bicubic interpolation, one alignment per sequence; the first variant of a
  benchmark is the published one and fills the columns, the others are reported under their own names.
- Sintel exists on 23 sequences (CUT3R, STream3R, StreamVGGT, TTT3R) and on 14 (Pi3); tables of the two do not mix.
- The variants without cap, without clip, and with other alignments are there because MoRe's Sintel column matches no
  known protocol (see docs/evaluation.md): none of them is chosen silently.
- "scale_shift" (the published Adam descent) is slow on long sequences and runs only when asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openmore.data.datasets.base import Dataset
from openmore.data.datasets.registry import open_dataset
from openmore.errors import DataError
from openmore.evaluation.depth import DepthErrors, depth_errors, resize_depth, weighted_mean
from openmore.evaluation.prediction import Prediction
from openmore.evaluation.protocols.base import Case, Column, Plan, Row, plan_jobs, present
from openmore.evaluation.protocols.pose import (
    BONN,
    SINTEL_ALL,
    SINTEL_POSE,
    TUM_DYNAMICS,
    every_third_of_first_ninety,
    frames_30_to_139,
    ninety,
    one_hundred_and_ten,
    sintel_length,
    unknown_length,
)

KITTI_DRIVES = [
    f"{date}_drive_{drive}_sync"
    for date, drives in (
        ("2011_09_26", "0002 0005 0013 0020 0023 0036 0079 0095 0113"),
        ("2011_09_28", "0037"),
        ("2011_09_29", "0026"),
        ("2011_09_30", "0016"),
        ("2011_10_03", "0047"),
    )
    for drive in drives.split()
]
COLUMNS = (
    Column("abs_rel", "AbsRel"),
    Column("delta_1", "d<1.25 (%)", digits=1, scale=100, higher_is_better=True),
)


@dataclass(frozen=True)
class Variant:
    """One way to align and mask."""

    name: str  # "" for the published one
    align: str = "scale"
    cap: float | None = None
    clip: float | None = None


def variants(cap: float | None, clip: float | None, slow: bool) -> tuple[Variant, ...]:
    """The published variant first; the scales with and without cap and clip; the other alignments as published."""
    found = [Variant("", "scale", cap, clip)]
    for align in ("scale", "scale_lsq", "median"):
        for limit in dict.fromkeys((cap, None)):
            for cut in dict.fromkeys((clip, None)):
                name = align + ("_nocap" if limit != cap else "") + ("_noclip" if cut != clip else "")
                found.append(Variant(name, align, limit, cut))
    others = ("scale_shift_lsq", "metric", *(("scale_shift",) if slow else ()))
    return (*(v for v in found if v.name != "scale"), *(Variant(name, name, cap, clip) for name in others))


@dataclass(frozen=True)
class DepthBenchmark:
    """AbsRel and delta on fixed frames of fixed sequences."""

    name: str
    title: str
    reader: str
    options: dict[str, object]
    sequences: Sequence[str]
    select: Callable[[list[int]], list[int]]
    variants: tuple[Variant, ...]
    frames: Callable[[str], int | None] = unknown_length  # of a sequence in the benchmark
    note: str = ""
    columns: tuple[Column, ...] = COLUMNS

    def dataset(self, root: Path) -> Dataset:
        return open_dataset(self.reader, root, **self.options)

    def plan(self, dataset: Dataset) -> Plan:
        here, missing = present(dataset, self.sequences)
        return plan_jobs(dataset, here, missing, select=self.select, expected=self.frames)

    def measure(self, prediction: Prediction, case: Case) -> Row:
        if prediction.depth is None:
            raise DataError(f"{case.job.sequence}: the method predicts no depth")
        truth = case.sample.depth
        predicted = resize_depth(prediction.depth, (truth.shape[1], truth.shape[2]))
        row: Row = {}
        for variant in self.variants:
            errors = depth_errors(predicted, truth, align=variant.align, cap=variant.cap, clip=variant.clip)
            prefix = f"{variant.name}/" if variant.name else ""
            row |= {f"{prefix}{key}": value for key, value in errors.as_dict().items()}
        return row

    def summarise(self, rows: Mapping[str, Row]) -> dict[str, float]:
        out: dict[str, float] = {}
        for variant in self.variants:
            prefix = f"{variant.name}/" if variant.name else ""
            errors = [errors_from(row, prefix) for row in rows.values()]
            out |= {f"{prefix}{key}": value for key, value in weighted_mean(errors).items()}
        return out


def errors_from(row: Row, prefix: str) -> DepthErrors:
    """The errors of one variant back from a row."""
    return DepthErrors(**{key: row[f"{prefix}{key}"] for key in DepthErrors.__dataclass_fields__})


def first_110(ids: list[int]) -> list[int]:
    """KITTI: the first 110 annotated frames."""
    return ids[:110]


def sintel_depth(sequences: int = 23, slow: bool = False, render: str = "final") -> DepthBenchmark:
    """`sequences`: 23 (CUT3R lineage) or 14 (Pi3). `render`: everybody's is final; clean may be MoRe's."""
    if sequences not in (14, 23):
        raise DataError(f"Sintel depth is published on 14 or 23 sequences, not {sequences}")
    chosen = SINTEL_POSE if sequences == 14 else SINTEL_ALL
    name = "sintel-depth" if sequences == 23 else "sintel-depth-14"
    note = "" if render == "final" else f"The {render} render: not what published rows are measured on."
    title = f"Sintel video depth ({sequences} sequences)"
    options: dict[str, object] = {"render": render}
    return DepthBenchmark(name, title, "sintel", options, chosen, list, variants(70, 70, slow), sintel_length, note)


def bonn_depth(slow: bool = False) -> DepthBenchmark:
    """Five sequences, 110 frames, depth by position."""
    return DepthBenchmark(
        "bonn-depth",
        "Bonn video depth",
        "bonn",
        {"by_position": True},
        BONN,
        frames_30_to_139,
        variants(70, None, slow),
        one_hundred_and_ten,
    )


def kitti_depth(slow: bool = False) -> DepthBenchmark:
    """13 validation drives, no cap."""
    return DepthBenchmark(
        "kitti-depth", "KITTI video depth", "kitti_depth", {}, KITTI_DRIVES, first_110, variants(None, None, slow)
    )


def tum_depth(slow: bool = False) -> DepthBenchmark:
    """Our proposal: nobody published code for it."""
    note = "No public code defines this benchmark: frames of tum-pose, nearest depth within 0.02 s, cap 70 m."
    return DepthBenchmark(
        "tum-depth",
        "TUM-dynamics video depth",
        "tum",
        {},
        TUM_DYNAMICS,
        every_third_of_first_ninety,
        variants(70, None, slow),
        ninety,
        note,
    )
