"""Co3Dv2 relative pose: ten frames per sequence, all pairs, RRA / RTA / AUC at 30 degrees.

Choices
- MoRe's supplement repeats Pi3's rows, so its protocol is Pi3's: all categories, pooled pairs. VGGT's (41 seen
  categories, mean of categories) is reported as `by_category/*` over the categories at hand.
- Frames: ten distinct ones per sequence. Pi3 froze its draw in a file; `frames_json` reads it (sequence -> ids).
  Without it ours are drawn with numpy's seed 42 in the order of sorted sequence names, which is the same recipe but
  need not be the same draw: differences of a few tenths are possible and the report says which was used.
- Sequences below 50 frames and those with a frame whose T sums above 1e5 are left out, as published, and counted in the
  note. Portrait pictures are cropped to squares, as VGGT's preprocessing does (width 518, height at most 518).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from openmore.data.datasets.base import Dataset
from openmore.data.datasets.co3d import Co3DBenchmark
from openmore.errors import DataError, OpenMoReError
from openmore.evaluation.prediction import Prediction
from openmore.evaluation.protocols.base import Case, Column, Job, Plan, Row
from openmore.evaluation.relative_pose import PairErrors, by_category, pair_errors, pooled, summary

SEED, FRAMES, SHORTEST, LARGEST_T = 42, 10, 50, 1e5
COLUMNS = tuple(
    Column(f"{key}@30", f"{header}@30", digits=2, scale=100, higher_is_better=True)
    for key, header in (
        ("rra", "RRA"),
        ("rta", "RTA"),
        ("auc", "AUC"),
        ("rta_signed", "RTA signed"),
        ("auc_signed", "AUC signed"),
    )
)


class Co3DPose:
    """The benchmark."""

    name = "co3d"
    title = "Co3Dv2 relative pose"
    columns = COLUMNS

    def __init__(self, annotations: Path | None = None, frames_json: Path | None = None, shortest: int = SHORTEST):
        self.annotations, self.frames_json, self.shortest = annotations, frames_json, shortest
        self.left_out = 0  # sequences, known after `jobs`

    @property
    def note(self) -> str:
        drawn = f"frames from {self.frames_json.name}" if self.frames_json else f"frames drawn here with seed {SEED}"
        left_out = f" {self.left_out} sequences left out by the benchmark's own rules." if self.left_out else ""
        return f"Pairs pooled over all categories (Pi3's way); {drawn}; RTA is sign-ambiguous as published.{left_out}"

    def dataset(self, root: Path) -> Dataset:
        return Co3DBenchmark(root, annotations=self.annotations)

    def plan(self, dataset: Dataset) -> Plan:
        frozen = read_frames(self.frames_json) if self.frames_json else None
        generator = np.random.RandomState(SEED)  # the published draws come from numpy's legacy generator
        plan, self.left_out = Plan([]), 0
        for name in dataset.names():
            if not isinstance(dataset, Co3DBenchmark):
                raise DataError(f"{dataset.name} is not the Co3Dv2 pose benchmark")
            try:
                index = dataset.index(name)
            except OpenMoReError as error:
                plan.broken[name] = error
                continue
            if len(index.ids) < self.shortest or dataset.far_away(name, LARGEST_T):
                self.left_out += 1
                continue
            if frozen is None:
                chosen = [index.ids[k] for k in generator.choice(len(index.ids), FRAMES, replace=False)]
            elif name in frozen:
                chosen = frozen[name]
            else:
                self.left_out += 1
                continue
            plan.jobs.append(Job(name, tuple(chosen)))
        return plan

    def measure(self, prediction: Prediction, case: Case) -> Row:
        if prediction.world_from_cam is None:
            raise DataError(f"{case.job.sequence}: the method predicts no cameras")
        errors = pair_errors(prediction.world_from_cam, case.sample.world_from_cam)
        pairs = {key: np.round(getattr(errors, key), 6).tolist() for key in _FIELDS}
        return {**summary(errors), "_pairs": pairs}

    def summarise(self, rows: Mapping[str, Row]) -> dict[str, float]:
        categories: dict[str, list[PairErrors]] = {}
        for name, row in rows.items():
            errors = PairErrors(*(np.array(row["_pairs"][key]) for key in _FIELDS))
            categories.setdefault(name.partition("/")[0], []).append(errors)
        means = {f"by_category/{key}": value for key, value in by_category(categories).items()}
        return {**pooled(categories), **means, "categories": float(len(categories))}


_FIELDS = ("rotation", "translation", "translation_signed")


def read_frames(path: Path) -> dict[str, list[int]]:
    """`{"category/sequence": [ids]}` or `{"category": {"sequence": [ids]}}`. Raises DataError when it is neither."""
    try:
        content = json.loads(path.read_text())
        flat: dict[str, list[int]] = {}
        for key, value in content.items():
            if isinstance(value, dict):
                flat |= {f"{key}/{name}": [int(i) for i in ids] for name, ids in value.items()}
            else:
                flat[key] = [int(i) for i in value]
        return flat
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is no map from sequences to frame numbers ({error})") from error
