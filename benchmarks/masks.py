"""Motion masks against truth: on the synthetic world, where everything is exact, and on real clips.

    python -m benchmarks.masks synthetic           # results/masks_synthetic.json
    python -m benchmarks.masks real ../shared/data # results/masks_real.json and, with --pictures FOLDER, overlays

Choices
- Seeds 1000-1015, 2000-2023 and 5000-5047 and the clips vtest, dog and bmx were looked at while the pipeline was built;
  the synthetic tables use other seeds (9000 and up). KITTI has no true masks: its rows are shares and pictures.
- Two sizes: 224x168, which is hard on optical flow, and twice that, nearer to the 640 px that the command works at.
- IoU pools the pixels of all clips; the mean over clips stands beside it. Unknown counts as static, as for a user who
  asks "moving or not"; its share is reported.
- `paper` rows apply equations 1-3 to the same regions and the same evidence as the row above; `the paper's recipe`
  switches off everything that the paper does not have.
- Pseudo masks of real clips are background subtraction: with shadows, and with holes in what stands still.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks._record import record
from openmore.data.datasets.registry import open_dataset
from openmore.data.sample import Sample
from openmore.data.synthetic import Recipe, make_clip
from openmore.evaluation.motion import mask_errors
from openmore.flow.exact import ExactFlow
from openmore.io.images import write_png
from openmore.masks.clip import MaskClip, clip_from_pictures, clip_from_sample, fit_clip
from openmore.masks.decision import Rule
from openmore.masks.pictures import overlay
from openmore.masks.pipeline import PAPER, MaskOptions, MaskResult, extract_masks
from openmore.masks.segments import InstanceIds

SMALL, LARGE, FRAMES, FIRST_SEED = (168, 224), (336, 448), 8, 9000
DEFAULT = MaskOptions()
# Exact flow exists for neighbouring frames only, needs no stabilising and has no noise.
EXACT = replace(
    DEFAULT,
    offsets=(-1, 1),
    stabilise=False,
    colours=False,
    split=1,
    vote=False,
    refine="none",
    rule=Rule("floor", floor_px=0.05, min_valid_pixels=1, min_valid_share=0),
)
FREE = replace(PAPER, flow="dis", segments="felzenszwalb")  # the paper's recipe with backends that need no weights
ROWS: dict[str, MaskOptions] = {
    "exact flow, instance ids": EXACT,
    "exact flow, instance ids, paper's rule": replace(EXACT, rule=Rule("paper")),
    "DIS, superpixels (default)": DEFAULT,
    "... paper's rule": replace(DEFAULT, rule=Rule("paper")),
    "... robust rule": replace(DEFAULT, rule=Rule("robust")),
    "the paper's recipe with DIS, superpixels": FREE,
    "... flow not stabilised": replace(DEFAULT, stabilise=False),
    "... colours not asked": replace(DEFAULT, colours=False),
    "... no refinement": replace(DEFAULT, refine="none"),
    "... cameras and depth not given": replace(DEFAULT, ego="picture"),
}
WITH_TRUTH = tuple(name for name in ROWS if name.startswith("exact"))
IN_LARGE = tuple(name for name in ROWS if not name.startswith("..."))
CLIPS = ("static_vtest_pedestrians", "static_dog_gallery", "davis_bmx_trees", "kitti01_000_050_movingcars")


@dataclass(frozen=True)
class Count:
    """One row on one clip."""

    hits: int
    union: int  # pixels that move or are called moving
    true: int
    moving: float  # share of pixels called moving
    unknown: float
    seconds: float  # of processor, per frame


def count(masks: np.ndarray, truth: np.ndarray, seconds: float) -> Count:
    """Labels [S, H, W] against truth [S, H, W] bool."""
    found = masks == 1
    hits, union = int((found & truth).sum()), int((found | truth).sum())
    unknown = float((masks == 255).mean())
    return Count(hits, union, int(truth.sum()), float(found.mean()), unknown, seconds / len(masks))


def summary(counts: list[Count]) -> dict[str, Any]:
    """A row over all clips: IoU where something moves, false area where nothing does."""
    moving, still = [c for c in counts if c.true], [c for c in counts if not c.true]
    mean = lambda values: round(float(np.mean(values)), 4)  # noqa: E731
    return {
        "iou": round(sum(c.hits for c in moving) / sum(c.union for c in moving), 4),
        "iou_mean_over_clips": mean([c.hits / c.union for c in moving]),
        "false_positive_area": mean([c.moving for c in still]),
        "worst_false_positive_area": round(max(c.moving for c in still), 4),
        "unknown": mean([c.unknown for c in counts]),
        "cpu_seconds_per_frame": round(float(np.mean([c.seconds for c in counts])), 3),
    }


def synthetic(moving: int, still: int, processes: int) -> dict[str, Any]:
    """Every row on the same small clips, and the main rows on a third as many large ones."""
    sizes = ((SMALL, moving, still, tuple(ROWS)), (LARGE, moving // 3, still // 3, IN_LARGE))
    return {"sizes": [one_size(*size, processes) for size in sizes]}


def one_size(shape: tuple[int, int], moving: int, still: int, names: tuple[str, ...], processes: int) -> dict[str, Any]:
    """The rows `names` on `moving` clips with movers and `still` clips in which nothing moves."""
    seeds = range(FIRST_SEED, FIRST_SEED + moving + still)
    kinds = [n < moving for n in range(moving + still)]
    counts: list[dict[str, Count]] = []
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for clip in pool.map(some_rows, seeds, kinds, repeat(shape), repeat(names)):
            counts.append(clip)
            print(f"{shape}: {len(counts)}/{moving + still}", flush=True)
    with_movers = sum(next(iter(clip.values())).true > 0 for clip in counts)
    return {
        "clips_with_movers": with_movers, "static_clips": len(counts) - with_movers, "frames": FRAMES, "shape": shape,
        "first_seed": FIRST_SEED, "rows": {name: summary([clip[name] for clip in counts]) for name in names},
    }  # fmt: skip


def some_rows(seed: int, movers: bool, shape: tuple[int, int], names: tuple[str, ...]) -> dict[str, Count]:
    """The rows `names` on one clip."""
    cv2.setNumThreads(1)
    recipe = Recipe(movers=(1, 6)) if movers else Recipe(mover_speed=0)
    sample = make_clip(seed, FRAMES, shape, recipe=recipe)
    counts = {}
    for name in names:
        begun = time.process_time()
        masks = np.stack(run(sample, ROWS[name], name in WITH_TRUTH).masks)
        counts[name] = count(masks, sample.motion == 1, time.process_time() - begun)
    return counts


def run(sample: Sample, options: MaskOptions, with_truth: bool) -> MaskResult:
    """Masks of a synthetic clip, `with_truth` from its exact flow and instance ids."""
    clip = clip_from_sample(sample)
    if not with_truth:
        return extract_masks(clip, options)
    assert sample.flow_forward is not None and sample.flow_backward is not None and sample.instances is not None
    flow = ExactFlow(sample.images, sample.flow_forward, sample.flow_backward)
    return extract_masks(clip, options, flow=flow, segmenter=InstanceIds(sample.instances))


def real(root: Path, names: tuple[str, ...], long_side: int, max_frames: int, pictures: Path | None) -> dict[str, Any]:
    """Our default and the paper's recipe (same backends) on each clip."""
    data = open_dataset("posed_folder", str(root), fill_missing=True)
    out: dict[str, Any] = {"long_side": long_side, "max_frames": max_frames, "clips": {}}
    for name in names:
        truth = data.truth(name)  # type: ignore[attr-defined]
        sample = data.load(name, data.frame_ids(name)[:max_frames])
        posed = "depth" in truth
        clip = clip_from_sample(sample) if posed else clip_from_pictures(list(sample.images), name)
        clip = fit_clip(clip, long_side)
        masks = None if sample.motion is None else np.stack([fit_mask(m, clip.shape) for m in sample.motion])
        rows = {
            "ours": DEFAULT,
            "ours with the paper's rule": replace(DEFAULT, rule=Rule("paper")),
            "the paper's recipe with DIS, superpixels": replace(FREE, ego="auto"),
        }
        out["clips"][name] = {
            "frames": len(clip), "shape": clip.shape, "masks": truth.get("motion", "none"),
            "depth": truth.get("depth", "none: ego flow fitted to the picture"),
            "rows": {row: real_row(clip, masks, o, drawer(pictures, name, row)) for row, o in rows.items()},
        }  # fmt: skip
        print(name, out["clips"][name]["rows"], flush=True)
    return out


def real_row(
    clip: MaskClip, truth: np.ndarray | None, options: MaskOptions, draw: Callable[[MaskClip, MaskResult], None]
) -> dict[str, Any]:
    """J and F where there is truth, shares of the picture everywhere."""
    begun = time.process_time()
    result = extract_masks(clip, options)
    seconds = (time.process_time() - begun) / len(clip)
    draw(clip, result)
    masks = np.stack(result.masks)
    shares = {"moving": float((masks == 1).mean()), "unknown": float((masks == 255).mean())}
    row = {key: round(value, 4) for key, value in shares.items()} | {"cpu_seconds_per_frame": round(seconds, 3)}
    if truth is None:
        return row
    errors = mask_errors(masks == 1, truth == 1)
    hits, union = ((masks == 1) & (truth == 1)).sum(), ((masks == 1) | (truth == 1)).sum()
    values = {"j": errors.j_mean, "f": errors.f_mean, "jf": errors.jf, "iou": hits / union, "true": (truth == 1).mean()}
    return {key: round(float(value), 4) for key, value in values.items()} | row


def fit_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Labels at the clip's resolution."""
    return cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST)


def drawer(folder: Path | None, name: str, row: str) -> Callable[[MaskClip, MaskResult], None]:
    """Writes six overlays of a clip, one below the other; nothing without a folder."""

    def draw(clip: MaskClip, result: MaskResult) -> None:
        if folder is None:
            return
        times = np.linspace(1, len(clip) - 2, 6).astype(int)
        sheet = np.concatenate([overlay(clip.images[t], result.masks[t]) for t in times])
        folder.mkdir(parents=True, exist_ok=True)
        label = "".join(c if c.isalnum() else "_" for c in row)
        write_png(folder / f"{name}_{label}.png", sheet)

    return draw


def main() -> None:
    """Run one part and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    world = parts.add_parser("synthetic")
    world.add_argument("--moving", type=int, default=12)
    world.add_argument("--still", type=int, default=6)
    world.add_argument("--processes", type=int, default=2)
    clips = parts.add_parser("real")
    clips.add_argument("root", type=Path)
    clips.add_argument("--clips", nargs="+", default=list(CLIPS))
    clips.add_argument("--long-side", type=int, default=518)
    clips.add_argument("--max-frames", type=int, default=60)
    clips.add_argument("--pictures", type=Path, help="folder for overlays (mind the clips' licences)")
    given = parser.parse_args()
    sys.argv[0] = "-m benchmarks.masks"  # what the record says, wherever it ran
    if given.part == "synthetic":
        path = record("masks_synthetic", synthetic(given.moving, given.still, given.processes))
    else:
        rows = real(given.root, tuple(given.clips), given.long_side, given.max_frames, given.pictures)
        path = record("masks_real", rows)
    print(path)


if __name__ == "__main__":
    main()
