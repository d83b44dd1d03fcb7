"""Motion masks of a clip: optical flow - ego flow = residual; regions whose residual stands out move (supplement 2.1).

Choices
- Each frame is compared with its neighbours at `offsets`; the comparisons give one residual per pixel (their average,
  spread within the picture's edges, or without colours their majority), then the rule labels whole regions. `PAPER`
  compares with the next frame only.
- Ego flow comes from the clip's geometry when it has some, and is fitted to the flow itself otherwise; geometry that a
  network estimated competes with the fit.
- Everything the paper does not have (stabilising, colours, vote, refinement) can be switched off.
- Frames are finished in order and only neighbouring flow is kept: labels, regions and residuals are what stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from openmore.errors import ConfigError, InputError
from openmore.flow import FlowEstimator, FlowResult, get_flow
from openmore.flow.registry import require_name as require_flow
from openmore.masks.clip import MaskClip
from openmore.masks.decision import Rule, decide, floor_of, measure, paint
from openmore.masks.ego import BestEgo, Ego, EgoModel, GeometricEgo, ParametricEgo
from openmore.masks.evidence import Evidence, combine, noise_of, plain, stabilised, weighed
from openmore.masks.refine import from_probability, get_refiner
from openmore.masks.refine import require_name as require_refiner
from openmore.masks.report import Case, MaskReport, agreement, bare_report
from openmore.masks.segments import Segmenter, get_segmenter, split_mixed
from openmore.masks.segments import require_name as require_segmenter
from openmore.masks.spread import average, spread
from openmore.masks.temporal import vote
from openmore.progress import ProgressCallback, silent

EgoName = Literal["auto", "geometry", "picture"]


@dataclass(frozen=True)
class MaskOptions:
    """Everything that can be chosen about an extraction."""

    flow: str = "dis"  # see openmore.flow.get_flow
    segments: str = "felzenszwalb"  # see openmore.masks.segments.get_segmenter
    ego: EgoName = "auto"  # geometry when the clip has some, else fitted to the picture
    rule: Rule = field(default_factory=Rule)
    offsets: tuple[int, ...] = (-2, -1, 1, 2)  # frames to compare with, relative
    stabilise: bool = True  # estimate flow after undoing the ego flow
    colours: bool = True  # weigh the residual by the colours and spread it within edges
    split: float = 0.0  # whole objects: side in pixels (at 518 px width) of the smallest part to cut out; 0 = never
    vote: bool = True  # let neighbouring frames vote
    refine: str = "grabcut"  # see openmore.masks.refine.get_refiner

    def __post_init__(self) -> None:
        if not self.offsets or 0 in self.offsets:
            raise ConfigError(f"offsets {self.offsets} name no other frame: give numbers such as 1 or -2 -1 1 2")
        if self.ego not in ("auto", "geometry", "picture"):
            raise ConfigError(f"ego flow {self.ego!r} is unknown: choose auto, geometry or picture")
        # Backends are built when the clip is there, which may take hours: a wrong name is said before.
        require_flow(self.flow)
        require_segmenter(self.segments)
        require_refiner(self.refine)


PAPER = MaskOptions(
    flow="sea-raft-m",
    segments="sam2-large",
    ego="geometry",
    rule=Rule("paper"),
    offsets=(1,),
    stabilise=False,
    colours=False,
    vote=False,
    refine="none",
)


@dataclass(frozen=True)
class MaskResult:
    """Masks and their explanation."""

    masks: list[np.ndarray]  # S times [H, W] uint8: 0 static, 1 moving, 255 unknown
    residuals: list[np.ndarray]  # S times [H, W] float16, pixels; NaN = undecided, infinite = lost
    regions: list[np.ndarray]  # S times [H, W] int32, the report's segment ids; -1 = none
    report: MaskReport


class Judged(NamedTuple):
    """A frame before its neighbours have voted."""

    labels: np.ndarray  # [H, W] uint8
    residual: np.ndarray  # [H, W] float32
    regions: np.ndarray  # [H, W] int32
    case: Case


@dataclass
class Judge:
    """The tools that turn one frame of a clip into labels."""

    clip: MaskClip
    options: MaskOptions
    flow: FlowEstimator
    segmenter: Segmenter
    ego: EgoModel
    _raw: dict[tuple[int, int], tuple[FlowResult, FlowResult]] = field(default_factory=dict)

    def frame(self, t: int) -> Judged:
        """Compare frame t with its neighbours and label its regions."""
        pairs = [self.compare(t, other) for other in self.others(t)]
        noise = float(np.median([pair.noise for pair in pairs]))
        floor = floor_of(self.options.rule, self.clip.shape[1], noise)
        residuals = [pair.residual for pair in pairs]
        colours, image = self.options.colours, self.clip.images[t]
        residual = spread(average(residuals), image, floor) if colours else combine(residuals)
        regions = self.segmenter(image, t, residual, floor)
        if self.options.split:
            regions = split_mixed(regions, residual, floor, self.options.split)
        segments = measure(regions, residual)
        decision = decide(segments, self.options.rule, floor)
        self._forget(t)
        return Judged(paint(regions, decision, residual), residual, regions, Case(t, pairs, segments, decision))

    def others(self, t: int) -> list[int]:
        """Frames to compare frame t with; where all offsets leave the clip, their mirror images."""
        for sign in (1, -1):
            inside = [t + sign * k for k in self.options.offsets if 0 <= t + sign * k < len(self.clip)]
            if inside:
                return inside
        return [t + 1 if t == 0 else t - 1]

    def compare(self, a: int, b: int) -> Evidence:
        """Evidence of frame a against frame b."""
        image, other = self.clip.images[a], self.clip.images[b]
        static, evidence = self._stabilised(a, b) if self.options.stabilise else self._plain(a, b)
        if self.options.colours:
            evidence = weighed(evidence, static, image, other, self.options.rule)
        return evidence

    def _plain(self, a: int, b: int) -> tuple[Ego, Evidence]:
        there, back = self.raw(a, b)
        static = self.ego(a, b, there)
        return static, plain(b, static, there, noise_of(there, back))

    def _stabilised(self, a: int, b: int) -> tuple[Ego, Evidence]:
        image, other = self.clip.images[a], self.clip.images[b]
        static = self.ego(a, b, self.raw(a, b)[0] if self.ego.needs_flow else None)
        if static.model != "epipolar":
            return static, stabilised(b, static, image, other, self.flow)
        # Epipolar "ego flow" follows the observed flow, faults included: undo the dominant plane, then ask again.
        plane = ParametricEgo(planar_share=0)(a, b, self.raw(a, b)[0])
        moved = stabilised(b, plane, image, other, self.flow)
        static = self.ego(a, b, moved.flow)
        return static, plain(b, static, moved.flow, moved.noise)

    def raw(self, a: int, b: int) -> tuple[FlowResult, FlowResult]:
        """Flow a -> b and b -> a, computed once per pair."""
        first, second = min(a, b), max(a, b)
        if (first, second) not in self._raw:
            self._raw[first, second] = self.flow.both(self.clip.images[first], self.clip.images[second])
        there, back = self._raw[first, second]
        return (there, back) if a == first else (back, there)

    def _forget(self, t: int) -> None:
        """Drop flow that no later frame asks for."""
        reach = max(abs(k) for k in self.options.offsets)
        self._raw = {pair: flows for pair, flows in self._raw.items() if pair[0] > t - reach}


def extract_masks(
    clip: MaskClip,
    options: MaskOptions | None = None,
    *,
    flow: FlowEstimator | None = None,
    segmenter: Segmenter | None = None,
    progress: ProgressCallback = silent,
) -> MaskResult:
    """Motion masks of `clip`. `flow` and `segmenter` replace the backends that `options` names.

    Raises InputError when no offset stays in the clip, or geometry is asked for and missing; ConfigError,
    CheckpointError or MissingExtra when a backend cannot be had.
    """
    options = options or MaskOptions()
    if min(abs(k) for k in options.offsets) >= len(clip):
        raise InputError(f"offsets {options.offsets} lead out of {clip.name}, which has {len(clip)} frames: give less")
    ego = choose_ego(clip, options.ego)
    judge = Judge(clip, options, flow or get_flow(options.flow), segmenter or get_segmenter(options.segments), ego)
    refine = get_refiner(options.refine)
    result = MaskResult([], [], [], MaskReport(clip.name, describe(judge), skipped=list(clip.skipped)))
    for t, (labels, judged) in enumerate(settle(judge)):
        mask = labels if refine is None else refine(labels, clip.images[t])
        result.masks.append(mask)
        result.residuals.append(judged.residual.astype(np.float16))
        result.regions.append(judged.regions)
        result.report.frames.append(judged.case.report(mask, clip.origins[t]))
        progress("masks", t + 1, len(clip))
    if clip.head_motion is not None:
        result.report.agreement = agreement(result.masks, clip.head_motion)
    return result


def refine_head(clip: MaskClip, refine: str = "grabcut", threshold: float = 0.5) -> MaskResult:
    """The reconstruction's own motion, cut at `threshold` and refined (supplement 2.2): no flow, no rule.

    That is the motion head's, or what refinement measured and settled.
    Raises InputError when the clip carries no motion probabilities.
    """
    if clip.motion is None:
        raise InputError(
            f"{clip.name} has no motion probabilities: reconstruct it with weights that have a motion head"
        )
    refiner = get_refiner(refine)
    settings = {"source": "motion of the reconstruction", "threshold": threshold, "refine": refine}
    result = MaskResult([], [], [], MaskReport(clip.name, settings, skipped=list(clip.skipped)))
    for t, (probability, image) in enumerate(zip(clip.motion, clip.images)):
        labels = from_probability(probability, threshold)
        result.masks.append(labels if refiner is None else refiner(labels, image))
        result.report.frames.append(bare_report(t, result.masks[t], clip.origins[t]))
    if clip.head_motion is not None:
        result.report.agreement = agreement(result.masks, clip.head_motion, threshold)
    return result


def settle(judge: Judge) -> Iterator[tuple[np.ndarray, Judged]]:
    """Every frame's final labels, one frame behind the judgement so that the next frame can vote."""
    window: list[Judged] = []  # previous, current, next
    for t in range(len(judge.clip)):
        window = [*window[-2:], judge.frame(t)]
        if t > 0:
            yield _voted(judge, window[:-1], t - 1, window[-1]), window[-2]
    yield _voted(judge, window[-2:], len(judge.clip) - 1, None), window[-1]


def _voted(judge: Judge, window: Sequence[Judged], t: int, following: Judged | None) -> np.ndarray:
    """Frame t's labels; `window` ends with it and may begin with the frame before."""
    own = window[-1]
    if not judge.options.vote:
        return own.labels
    labels = {t + 1: following, t - 1: window[-2] if len(window) > 1 else None}
    flows = {pair.other: pair.flow for pair in own.case.pairs}
    return vote(own.labels, [(n.labels, flows[k]) for k, n in labels.items() if n is not None and k in flows])


def choose_ego(clip: MaskClip, name: EgoName) -> EgoModel:
    """The source of ego flow. Raises InputError when geometry is asked for and the clip has none."""
    if name == "geometry" and clip.geometry is None:
        raise InputError(f"{clip.name} has no depth and cameras: reconstruct it first, or use --ego picture")
    if name == "picture" or clip.geometry is None:
        return ParametricEgo()
    exact = name == "geometry" or not clip.geometry.estimated
    return GeometricEgo(clip.geometry) if exact else BestEgo(GeometricEgo(clip.geometry))


def describe(judge: Judge) -> dict[str, object]:
    """The settings as the report keeps them."""
    geometry = None if isinstance(judge.ego, ParametricEgo) else judge.clip.geometry
    source = "fitted to the picture" if geometry is None else geometry.source
    return {
        **asdict(judge.options), "flow": judge.flow.name, "segments": judge.segmenter.name, "ego_source": source,
    }  # fmt: skip
