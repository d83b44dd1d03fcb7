"""Does a download say what its reader thinks it says? Counts, contracts, and geometry judged by the pictures.

Choices
- Some conventions in the readers are recalled, not verified; this is how to see whether they are wrong. SIFT matches
  of neighbouring frames are the witness: static pixels lifted by true depth and cameras must land on their matches
  (reprojection), and matches must lie on epipolar lines (Sampson), better than with the cameras inverted.
- A pair says something only if its pictures move and match; what could not be judged is reported as such.
- Problems are sentences; the check never raises on bad data, it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openmore.data.datasets.base import Dataset
from openmore.data.sample import Sample
from openmore.errors import OpenMoReError
from openmore.evaluation.consistency import move, project
from openmore.evaluation.epipolar import sampson
from openmore.evaluation.matching import features_of, match
from openmore.evaluation.poses import invert
from openmore.progress import ProgressCallback, silent

MIN_MATCHES = 30
MOVES_PX = 2.0  # median displacement below which a pair cannot tell conventions apart
EXPLAINED = 0.5  # cameras must explain at least half of the displacement


@dataclass
class PairCheck:
    """Two frames judged by their matches. Pixels; NaN where it does not apply."""

    displacement_px: float  # median length of the matches: what "no camera" would leave
    reprojection_px: float  # of static pixels with depth
    sampson_px: float
    sampson_inverted_px: float  # if the file held the other direction
    flow_px: float  # between the data set's flow and the matches
    matches: int
    sample: Sample
    uv_a: np.ndarray  # [M, 2]
    uv_b: np.ndarray  # [M, 2]
    predicted: np.ndarray  # [M, 2] where depth and cameras put uv_a; NaN without depth


@dataclass
class SequenceCheck:
    """One sequence."""

    name: str
    frames: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    shape: tuple[int, int] | None = None
    depth_share: float = 0.0
    depth_median: float = float("nan")
    motion_share: dict[str, float] = field(default_factory=dict)  # static, moving, unknown
    pairs: list[PairCheck] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def median(self, key: str) -> float:
        """Median of a pair's number over the pairs that have it."""
        values = [value for pair in self.pairs if np.isfinite(value := getattr(pair, key))]
        return float(np.median(values)) if values else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {key: value for key, value in vars(self).items() if key != "pairs"}
        keys = ("displacement_px", "reprojection_px", "sampson_px", "sampson_inverted_px", "flow_px", "matches")
        return {**plain, **{key: self.median(key) for key in keys}}


def check_dataset(
    dataset: Dataset, *, sequences: int = 3, pairs: int = 3, gap: int = 1, progress: ProgressCallback = silent
) -> list[SequenceCheck]:
    """Check `sequences` of the data set, evenly chosen, with `pairs` of frames `gap` apart each."""
    names = dataset.names()
    chosen = [
        names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(sequences, len(names))).round().astype(int))
    ]
    found = []
    for done, name in enumerate(chosen):
        progress("check", done, len(chosen))
        found.append(check_sequence(dataset, name, pairs, gap))
    progress("check", len(chosen), len(chosen))
    return found


def check_sequence(dataset: Dataset, name: str, pairs: int, gap: int) -> SequenceCheck:
    """One sequence; whatever cannot be read becomes a problem."""
    check = SequenceCheck(name)
    try:
        ids = dataset.frame_ids(name)
        index = getattr(dataset, "index", None)
        check.dropped = dict(index(name).dropped) if index else {}
    except OpenMoReError as error:
        check.problems.append(str(error))
        return check
    check.frames = len(ids)
    if len(ids) <= gap:
        check.problems.append(f"{len(ids)} usable frames, expected more than {gap}")
        return check
    starts = np.unique(np.linspace(0, len(ids) - 1 - gap, min(pairs, len(ids) - gap)).round().astype(int))
    for start in starts:
        try:
            sample = dataset.load(name, [ids[start], ids[start + gap]])
        except OpenMoReError as error:
            check.problems.append(str(error))
            continue
        check.pairs.append(check_pair(sample))
    summarise(check, dataset.truth(name))
    return check


def check_pair(sample: Sample) -> PairCheck:
    """Judge two frames by their matches."""
    a, b = (features_of(image) for image in sample.images)
    found = match(a, b)
    uv_a, uv_b = a.uv[found[:, 0]], b.uv[found[:, 1]]
    nothing = np.full((len(found), 2), np.nan)
    if len(found) < MIN_MATCHES:
        nan = float("nan")
        return PairCheck(nan, nan, nan, nan, nan, len(found), sample, uv_a, uv_b, nothing)
    b_from_a = invert(sample.world_from_cam[1]) @ sample.world_from_cam[0]
    inverted = sample.world_from_cam[1] @ invert(sample.world_from_cam[0])
    column, row = np.round(uv_a).astype(int).T.clip(0)
    row, column = row.clip(max=sample.shape[0] - 1), column.clip(max=sample.shape[1] - 1)
    depth = sample.depth[0, row, column].astype(np.float64)
    static = np.ones(len(depth), bool) if sample.motion is None else sample.motion[0, row, column] != 1
    usable = (depth > 0) & static
    predicted = nothing
    predicted[usable], _ = project(move(uv_a[usable], depth[usable], sample.K[0], b_from_a), sample.K[1])
    error = np.linalg.norm(predicted - uv_b, axis=1)[usable]
    return PairCheck(
        displacement_px=float(np.median(np.linalg.norm(uv_a - uv_b, axis=1))),
        reprojection_px=float(np.median(error)) if len(error) >= MIN_MATCHES else float("nan"),
        sampson_px=float(np.median(sampson(uv_a, uv_b, sample.K[0], sample.K[1], b_from_a))),
        sampson_inverted_px=float(np.median(sampson(uv_a, uv_b, sample.K[0], sample.K[1], inverted))),
        flow_px=flow_error(sample, row, column, uv_b - uv_a),
        matches=len(found),
        sample=sample,
        uv_a=uv_a,
        uv_b=uv_b,
        predicted=predicted,
    )


def flow_error(sample: Sample, row: np.ndarray, column: np.ndarray, moved: np.ndarray) -> float:
    """Median distance of the shipped flow from how matches moved [M, 2]; NaN without enough of it."""
    if sample.flow_forward is None:
        return float("nan")
    error = np.linalg.norm(sample.flow_forward[0][:, row, column].T - moved, axis=1)
    error = error[np.isfinite(error)]
    return float(np.median(error)) if len(error) >= MIN_MATCHES else float("nan")


def summarise(check: SequenceCheck, truth: dict[str, str]) -> None:
    """Fill in the shares and turn numbers into problems."""
    if not check.pairs:
        return
    depth = np.concatenate([pair.sample.depth for pair in check.pairs])
    check.shape = check.pairs[0].sample.shape
    check.depth_share = float((depth > 0).mean())
    check.depth_median = float(np.median(depth[depth > 0])) if (depth > 0).any() else float("nan")
    labels = [pair.sample.motion for pair in check.pairs if pair.sample.motion is not None]
    if labels:
        words = {"static": 0, "moving": 1, "unknown": 255}
        check.motion_share = {word: float((np.stack(labels) == value).mean()) for word, value in words.items()}
    if "depth" in truth and check.depth_share == 0:
        check.problems.append("no pixel has depth, though this data set has some: wrong scale or wrong files")
    if "cameras" in truth:
        check.problems += geometry_problems(check)


def geometry_problems(check: SequenceCheck) -> list[str]:
    """What the matches say against the cameras and the depth."""
    moved, given, inverted = (check.median(k) for k in ("displacement_px", "sampson_px", "sampson_inverted_px"))
    if not np.isfinite(moved) or moved < MOVES_PX:
        return []
    problems = []
    if given > 1.0 and inverted < EXPLAINED * given:
        problems.append(
            f"matches fit INVERTED cameras better ({inverted:.2f} px than {given:.2f} px): the pose file holds the "
            "other direction, or its axes differ from what the reader expects"
        )
    flow = check.median("flow_px")
    if np.isfinite(flow) and flow > max(1.0, EXPLAINED * moved):
        problems.append(
            f"flow is {flow:.1f} px from the matches (they move {moved:.1f} px): channels, sign or scale are misread"
        )
    reprojection = check.median("reprojection_px")
    if np.isfinite(reprojection) and reprojection > max(2.0, EXPLAINED * moved):
        problems.append(
            f"static pixels land {reprojection:.1f} px from their matches (they move {moved:.1f} px): depth scale, "
            "intrinsics or camera convention is wrong"
        )
    return problems


def picture(checks: Sequence[SequenceCheck], tile_width: int = 360) -> np.ndarray:
    """Contact sheet [H, W, 3] uint8, one row per sequence: frame | depth | motion | where matches should land."""
    rows = [np.concatenate(tiles(check.pairs[0], tile_width), axis=1) for check in checks if check.pairs]
    if not rows:
        return np.full((40, tile_width * 4, 3), 255, np.uint8)
    gap = np.full((4, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1])


def tiles(pair: PairCheck, width: int) -> list[np.ndarray]:
    """The four pictures of one pair, all `width` pixels wide."""
    from openmore.io.colours import MOVING, ramp

    image, depth = pair.sample.images[0], pair.sample.depth[0]
    inverse = np.where(depth > 0, 1 / np.where(depth > 0, depth, 1), 0)
    low, high = np.percentile(inverse[inverse > 0], (2, 98)) if (inverse > 0).any() else (0.0, 1.0)
    near = np.where((depth > 0)[..., None], ramp((inverse - low) / max(high - low, 1e-12)), 0).astype(np.uint8)
    motion = image.copy() // 2
    if pair.sample.motion is not None:
        motion[pair.sample.motion[0] == 1] = MOVING
        motion[pair.sample.motion[0] == 255] = 128
    return [shrink(x, width) for x in (image, near, motion, landing(pair))]


def landing(pair: PairCheck) -> np.ndarray:
    """The second frame with a line from where a static pixel should be to where its match is; green within 3 px."""
    import cv2

    canvas = (pair.sample.images[1] // 2).copy()
    for predicted, seen in zip(pair.predicted, pair.uv_b):
        if not np.isfinite(predicted).all():
            continue
        good = np.linalg.norm(predicted - seen) < 3
        ends = [tuple(np.round(np.clip(p, -1e4, 1e4)).astype(int).tolist()) for p in (predicted, seen)]
        cv2.line(canvas, ends[0], ends[1], (0, 220, 90) if good else (213, 94, 0), 1, cv2.LINE_AA)
        cv2.circle(canvas, ends[1], 2, (0, 220, 90) if good else (213, 94, 0), -1, cv2.LINE_AA)
    return canvas


def shrink(image: np.ndarray, width: int) -> np.ndarray:
    """The picture at the given width."""
    import cv2

    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
