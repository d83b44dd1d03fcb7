"""Co3Dv2: turntable-like phone videos of static objects, and the pose benchmark's own annotation files.

Layout: `<category>/{frame_annotations.jgz, sequence_annotations.jgz, <sequence>/{images,depths,depth_masks,masks}/}`.
Choices
- Depth is float16 bits times `scale_adjustment`, kept where the depth mask is above 128. Scale is arbitrary.
- Intrinsics are taken as isotropic NDC whatever the file calls them, as every user of Co3Dv2 does.
- Objects do not move: motion is 0 everywhere. The object mask is foreground and becomes `instances`.
- Sequences below a viewpoint quality of 0.5 are left out (`min_quality`).
- A category's annotations (hundreds of megabytes of JSON) are parsed once and kept as arrays, under 300 bytes per
  frame: clips come from all categories in turn. File names follow from the picture's number; others are refused.
- `Co3DBenchmark` reads `<category>_test.jgz` (PoseDiffusion/VGGT): cameras only. Its pictures are cropped about their
  middle to a height of at most their width, as VGGT's preprocessing leaves them (`crop`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.data.datasets.implicitron import ISOTROPIC, intrinsics_of
from openmore.data.sample import Sample
from openmore.errors import DataError

FPS = 30.0


class Co3D(FrameDataset):
    """Co3Dv2 with depth."""

    name = "co3d"
    knows = ("cameras", "intrinsics", "depth", "motion")

    def __init__(
        self, root: str | Path, *, categories: tuple[str, ...] = (), min_quality: float = 0.5, threads: int = 1
    ):
        super().__init__(root, threads=threads)
        self.categories, self.min_quality = categories, min_quality
        self._frames: dict[str, dict[str, Annotations]] = {}  # category -> sequence

    def names(self) -> list[str]:
        found = [f"{category}/{name}" for category in self._categories() for name in self._usable(category)]
        if not found:
            raise DataError(
                f"{self.root} has no sequence of quality {self.min_quality} with pictures: check the download"
            )
        return found

    def _categories(self) -> list[str]:
        here = [c for c in decode.subfolders(self.root) if (self.root / c / "frame_annotations.jgz").is_file()]
        if not here:
            raise DataError(f"{self.root} has no <category>/frame_annotations.jgz: give the root of Co3Dv2")
        return [c for c in here if not self.categories or c in self.categories]

    def _usable(self, category: str) -> list[str]:
        entries = decode.read_json(self.root / category / "sequence_annotations.jgz")
        good = {e["sequence_name"] for e in entries if (e.get("viewpoint_quality_score") or 0) > self.min_quality}
        return [n for n in decode.subfolders(self.root / category) if n in good]

    def annotations(self, sequence: str) -> Annotations:
        """Of one sequence, by frame number. Raises DataError when there are none."""
        category, _, name = sequence.partition("/")
        if category not in self._frames:
            by_name: dict[str, list[dict[str, Any]]] = {}
            usable = set(self._usable(category))
            for entry in decode.read_json(self.root / category / "frame_annotations.jgz"):
                if entry["sequence_name"] in usable:
                    by_name.setdefault(entry["sequence_name"], []).append(entry)
            self._frames[category] = {n: compact(entries, f"{category}/{n}") for n, entries in by_name.items()}
        if name not in self._frames[category]:
            raise DataError(f"{self.root}/{category}/frame_annotations.jgz has no usable frame of sequence {name}")
        return self._frames[category][name]

    def read_index(self, sequence: str) -> Index:
        known = self.annotations(sequence)
        ids = known.numbers.tolist()
        files = [self.root / sequence / f"images/frame{n:06d}.jpg" for n in known.files.tolist()]
        cameras = axes.from_pytorch3d(known.R, known.T)
        index = Index(ids, known.numbers / FPS, cameras, known.K, files)
        return index.without(invalid_cameras(cameras), "invalid camera")

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        known, folder, stem = self.annotations(sequence), self.root / sequence, index.files[i].stem
        row = int(np.searchsorted(known.numbers, index.ids[i]))
        depth = decode.read_float16_bits(folder / f"depths/{stem}.jpg.geometric.png") * known.scale[row]
        if known.has_depth_mask:
            depth[decode.read_labels(folder / f"depth_masks/{stem}.png") <= 128] = 0
        mask = folder / f"masks/{stem}.png"
        instances = (decode.read_labels(mask) > 127).astype(np.int32) if known.has_mask else None
        return Pixels(decode.read_rgb(index.files[i]), depth, np.zeros(depth.shape, np.uint8), instances)


@dataclass(frozen=True)
class Annotations:
    """What the annotation file says about the frames of one sequence, in order of their numbers."""

    numbers: np.ndarray  # [N] int64, frame_number
    files: np.ndarray  # [N] int64, the number in the picture's name, which may be another
    R: np.ndarray  # [N, 3, 3] PyTorch3D
    T: np.ndarray  # [N, 3] PyTorch3D
    K: np.ndarray  # [N, 3, 3] pixels
    scale: np.ndarray  # [N] of depth
    has_depth_mask: bool
    has_mask: bool


def compact(entries: list[dict[str, Any]], sequence: str) -> Annotations:
    """Arrays from annotation entries of `category/sequence`. Raises DataError when its files have other names."""
    entries = sorted(entries, key=lambda entry: int(entry["frame_number"]))
    files = [decode.number_in(Path(e["image"]["path"]).stem) for e in entries]
    expected = [f"{sequence}/images/frame{n:06d}.jpg" for n in files]
    for entry, path in zip(entries, expected):
        if entry["image"]["path"] != path:
            raise DataError(f"{sequence}: a picture is called {entry['image']['path']}, expected {path}: not Co3Dv2?")
    views = [e["viewpoint"] for e in entries]
    K = [
        intrinsics_of(v["focal_length"], v["principal_point"], ISOTROPIC, tuple(e["image"]["size"]))
        for v, e in zip(views, entries)
    ]
    return Annotations(
        np.array([int(e["frame_number"]) for e in entries], dtype=np.int64),
        np.array(files, dtype=np.int64),
        np.array([v["R"] for v in views], dtype=np.float64),
        np.array([v["T"] for v in views], dtype=np.float64),
        np.stack(K),
        np.array([e["depth"].get("scale_adjustment", 1.0) for e in entries], dtype=np.float32),
        all(e["depth"].get("mask_path") for e in entries),
        all((e.get("mask") or {}).get("path") for e in entries),
    )


class Co3DBenchmark(FrameDataset):
    """The relative-pose benchmark: one `<category>_test.jgz` per category and the Co3Dv2 pictures."""

    name = "co3d_benchmark"
    is_video = False
    knows = ("cameras",)

    def __init__(self, root: str | Path, *, annotations: str | Path | None = None, crop: bool = True, threads: int = 1):
        """`annotations`: folder of the .jgz files, default the root itself."""
        super().__init__(root, threads=threads)
        self.crop = crop
        self.annotations = Path(annotations) if annotations is not None else self.root
        self._categories: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def categories(self) -> list[str]:
        """Categories that have a list."""
        found = sorted(p.name.removesuffix("_test.jgz") for p in self.annotations.glob("*_test.jgz"))
        if not found:
            raise DataError(
                f"{self.annotations} has no <category>_test.jgz: get the VGGT/PoseDiffusion annotation files"
            )
        return found

    def names(self) -> list[str]:
        return [f"{c}/{name}" for c in self.categories() for name in sorted(self._category(c))]

    def _category(self, category: str) -> dict[str, list[dict[str, Any]]]:
        if category not in self._categories:
            self._categories[category] = decode.read_json(self.annotations / f"{category}_test.jgz")
        return self._categories[category]

    def read_index(self, sequence: str) -> Index:
        entries = self._entries(sequence)
        files = [self.root / entry["filepath"] for entry in entries]
        cameras = axes.from_pytorch3d(np.array([e["R"] for e in entries]), np.array([e["T"] for e in entries]))
        K = np.tile(np.eye(3), (len(files), 1, 1))  # needs the pictures' size: filled in by `load`
        index = Index(list(range(len(files))), np.arange(len(files), dtype=float), cameras, K, files)
        return index.without(invalid_cameras(cameras), "invalid camera")

    def load(self, sequence: str, frame_ids: Sequence[int]) -> Sample:
        sample = super().load(sequence, frame_ids)
        entries = self._entries(sequence)
        chosen = [entries[int(i)] for i in frame_ids]
        K = np.stack([intrinsics_of(e["focal_length"], e["principal_point"], ISOTROPIC, sample.shape) for e in chosen])
        rows = crop_rows(sample.shape) if self.crop else slice(0, sample.shape[0])
        K[:, 1, 2] -= rows.start
        return replace(sample, K=K, images=sample.images[:, rows], depth=sample.depth[:, rows])

    def far_away(self, sequence: str, limit: float) -> bool:
        """Whether the three numbers of some frame's T sum above `limit`: how the benchmark finds broken sequences."""
        return any(sum(entry["T"]) > limit for entry in self._entries(sequence))

    def _entries(self, sequence: str) -> list[dict[str, Any]]:
        category, _, name = sequence.partition("/")
        return self._category(category)[name]

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        return Pixels(decode.read_rgb(index.files[i]))


def crop_rows(shape: tuple[int, int]) -> slice:
    """The middle rows of a picture (H, W) that leave it no higher than wide."""
    height, width = shape
    top = max(height - width, 0) // 2
    return slice(top, top + min(height, width))
