"""What `openmore reconstruct` makes of real clips that were changed: cut, turned, cropped, darkened, covered.

    python -m benchmarks.robustness [--clips DIR] [--only CLIP ...] [--changes NAME ...] [--shard i/n]

The first 16 frames of every clip with cameras are reconstructed as they are and under each change; truth is changed
along. What is asked is what was asked of the clips themselves (docs/training.md): half the rotation error of a camera
that never turns, a drift below 5 % of the depth, depth better than a constant. Writes results/robustness.json and
prints what is missed; docs/refinement.md shows it. Predictions are cached in --out.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks._record import record
from benchmarks.refinement_page import JOINT, missed
from openmore.data.datasets.base import Dataset
from openmore.data.datasets.posed_folder import PosedFolder
from openmore.data.sample import Sample
from openmore.evaluation.network import Network
from openmore.evaluation.prediction import Prediction
from openmore.evaluation.protocols.base import Case, Plan, Row, plan_jobs
from openmore.evaluation.protocols.clips import Clips
from openmore.evaluation.shards import WHOLE, Shard
from openmore.evaluation.suite import run

CLIPS = Path(__file__).parents[2] / "shared" / "data"
MOST, FEWEST = 16, 5  # frames that are taken of a clip, and that a change must leave


def pictures(sample: Sample, change: Callable[[np.ndarray, int], np.ndarray]) -> Sample:
    """Every picture through `change(picture, number)`."""
    return replace(sample, images=np.stack([change(picture, i) for i, picture in enumerate(sample.images)]))


def maps(sample: Sample, change: Callable[[np.ndarray], np.ndarray]) -> Sample:
    """Pictures and everything else that has a value per pixel through `change([S, H, W, ...])`."""
    kept = ("images", "depth", "motion", "valid")
    found = {key: getattr(sample, key) for key in kept if getattr(sample, key) is not None}
    return replace(sample, **{key: np.ascontiguousarray(change(value)) for key, value in found.items()})


def take(sample: Sample, frames: np.ndarray) -> Sample:
    """Those frames, in that order, with times that increase."""
    picked = sample.select(frames)
    return replace(picked, times_s=np.arange(len(frames)) / 10.0, indices=None, is_video=True)


def upright(sample: Sample) -> Sample:
    """The picture turned by a quarter, anticlockwise: pixel (x, y) goes to (y, W - 1 - x)."""
    K = np.zeros_like(sample.K)
    K[:, 0, 0], K[:, 1, 1], K[:, 2, 2] = sample.K[:, 1, 1], sample.K[:, 0, 0], 1
    K[:, 0, 2], K[:, 1, 2] = sample.K[:, 1, 2], sample.shape[1] - 1 - sample.K[:, 0, 2]
    old_from_new = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned = maps(sample, lambda a: np.rot90(a, 1, (1, 2)))
    return replace(turned, K=K, world_from_cam=sample.world_from_cam @ old_from_new)


def crop(sample: Sample) -> Sample:
    """The central 60 %: a longer lens."""
    h, w = sample.shape
    y, x = round(h * 0.2), round(w * 0.2)
    K = sample.K.copy()
    K[:, 0, 2] -= x
    K[:, 1, 2] -= y
    return replace(maps(sample, lambda a: a[:, y : h - y, x : w - x]), K=K)


def darken(sample: Sample) -> Sample:
    """A quarter of the light, noise of a small sensor, a strong JPEG."""

    def dark(picture: np.ndarray, i: int) -> np.ndarray:
        light = picture / 255.0 / 4
        noise = np.random.default_rng(i).normal(size=light.shape) * np.sqrt(light * 4e-4 + 2e-5)
        return jpeg(np.clip((light + noise) * 255 + 0.5, 0, 255).astype(np.uint8), 60)

    return pictures(sample, dark)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """The picture after a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def cover(sample: Sample, where: np.ndarray, picture: np.ndarray) -> Sample:
    """`picture` over all frames `where` [H, W] is true; nothing is known below it."""
    depth, valid = sample.depth.copy(), sample.valid
    depth[:, where] = 0
    if valid is not None:
        valid = valid & ~where
    return replace(pictures(sample, lambda p, i: np.where(where[..., None], picture, p)), depth=depth, valid=valid)


def bars(sample: Sample) -> Sample:
    """A film's black bars, an eighth above and below."""
    h, w = sample.shape
    rows = np.arange(h)
    where = np.broadcast_to(((rows < h // 8) | (rows >= h - h // 8))[:, None], (h, w))
    return cover(sample, where, np.zeros((h, w, 3), np.uint8))


def caption(sample: Sample) -> Sample:
    """A line of writing and a logo that stay where they are."""
    h, w = sample.shape
    sheet = Image.new("RGB", (w, h))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((w * 0.1, h * 0.8, w * 0.9, h * 0.92), fill=(20, 20, 60))
    draw.text((w * 0.13, h * 0.81), "Some words about it", fill="white", font_size=h * 0.07)
    draw.ellipse((w * 0.86, h * 0.04, w * 0.86 + h * 0.12, h * 0.16), fill=(220, 30, 30), outline="white")
    picture = np.asarray(sheet)
    return cover(sample, picture.any(-1), picture)


def mover(sample: Sample) -> Sample:
    """A textured disc, a quarter of the picture's height in radius, crosses the clip once and bobs."""
    h, w = sample.shape
    y, x = np.mgrid[:h, :w]
    images, depth = sample.images.copy(), sample.depth.copy()
    motion = np.zeros(depth.shape, np.uint8) if sample.motion is None else sample.motion.copy()
    cells = np.random.default_rng(1).integers(30, 226, (64, 64, 3)).astype(np.uint8)
    for i, t in enumerate(np.linspace(0, 1, len(sample))):
        u, v = x - w * (0.15 + 0.7 * t), y - h * (0.55 + 0.1 * np.sin(9 * t))
        disc = u * u + v * v < (h / 4) ** 2
        size = max(h // 40, 2)
        images[i][disc] = cells[(v // size).astype(int) % 64, (u // size).astype(int) % 64][disc]
        depth[i][disc], motion[i][disc] = 0, 1
    return replace(sample, images=images, depth=depth, motion=motion)


@dataclass(frozen=True)
class Change:
    """How a clip is changed, in words and in code."""

    words: str
    apply: Callable[[Sample], Sample]


CHANGES = {
    "whole": Change("as it is", lambda s: s),
    "third": Change("every third frame", lambda s: take(s, np.arange(0, len(s), 3))),
    "eight": Change("eight frames of the middle", lambda s: take(s, np.arange(len(s))[len(s) // 2 - 4 :][:8])),
    "upright": Change("turned by a quarter", upright),
    "cropped": Change("central 60 %", crop),
    "dark": Change("a quarter of the light, noise, JPEG", darken),
    "bars": Change("black bars", bars),
    "caption": Change("writing and a logo", caption),
    "mover": Change("a disc that crosses", mover),
}


class Changed:
    """Clips of a folder, each under each change, as a data set: names are `clip@change`."""

    name = "changed"

    def __init__(self, root: Path, only: Sequence[str], changes: Sequence[str]):
        self.clips = PosedFolder(root, fill_missing=True)
        kept = [n for n in self.clips.names() if "cameras" in self.clips.truth(n) and (not only or n in only)]
        self._names = [f"{clip}{JOINT}{change}" for clip in kept for change in changes]
        self._frames = {name: self._count(name) for name in self._names}

    def __len__(self) -> int:
        return len(self._names)

    def names(self) -> list[str]:
        return [name for name in self._names if self._frames[name] >= FEWEST]

    def frame_ids(self, sequence: str) -> list[int]:
        return list(range(self._frames[sequence]))

    def truth(self, sequence: str) -> dict[str, str]:
        clip, change = sequence.split(JOINT)
        added = {"motion": "true"} if change == "mover" else {}
        return {**self.clips.truth(clip), **added}

    def load(self, sequence: str, frame_ids: Sequence[int]) -> Sample:
        clip, change = sequence.split(JOINT)
        sample = CHANGES[change].apply(self.clips.load(clip, self.clips.frame_ids(clip)[:MOST]))
        return replace(sample.select(list(frame_ids)), name=f"{self.name}/{sequence}")

    def _count(self, sequence: str) -> int:
        clip, change = sequence.split(JOINT)
        count = min(len(self.clips.frame_ids(clip)), MOST)
        return {"third": -(-count // 3), "eight": min(count, 8)}.get(change, count)


@dataclass(frozen=True)
class Robustness(Clips):
    """`Clips` on changed clips."""

    name: str = "robustness"
    title: str = "Changed clips"
    only: tuple[str, ...] = ()
    changes: tuple[str, ...] = tuple(CHANGES)

    def dataset(self, root: Path) -> Dataset:
        return Changed(root, self.only, self.changes)

    def plan(self, dataset: Dataset) -> Plan:
        return plan_jobs(dataset, dataset.names(), fewest=2)

    def measure(self, prediction: Prediction, case: Case) -> Row:
        row = super().measure(prediction, case)
        print(case.job.sequence.ljust(45), figures(row), flush=True)
        return row


KEYS = (
    "frames rotation_deg no_rotation_deg ate_share drift drift_deg focal_relative abs_rel constant_abs_rel j_mean "
    "seconds_per_frame"
).split()


def figures(row: Row) -> str:
    """A row for people."""
    return "  ".join(f"{key} {row[key]:.3g}" for key in KEYS if key in row) + "  " + " ".join(missed(row)).upper()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--changes", nargs="*", default=list(CHANGES), choices=list(CHANGES))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "build" / "robustness")
    parser.add_argument("--shard", default="0/1")
    args = parser.parse_args()
    torch.set_num_threads(1)
    index, count = (int(n) for n in args.shard.split("/"))
    bench = Robustness(only=tuple(args.only), changes=tuple(args.changes))
    shard = WHOLE if count == 1 else Shard(index, count)
    for result in run(
        bench, [Network("small", "full", refine="auto", label="default")], args.clips, args.out, shard=shard
    ):
        rows = {name: {k: row[k] for k in KEYS if k in row} for name, row in result.sequences.items()}
        for name, row in rows.items():
            if missed(row):
                print("missed", name.ljust(45), *missed(row))
        print(f"{sum(bool(missed(row)) for row in rows.values())} of {len(rows)} miss something; {result.failures}")
        note = "; ".join(f"{name}: {change.words}" for name, change in CHANGES.items() if name in args.changes)
        record("robustness", {"clips": rows, "failures": result.failures}, note)


if __name__ == "__main__":
    main()
