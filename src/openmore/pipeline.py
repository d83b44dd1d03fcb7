"""`openmore.reconstruct`: frames -> network -> (geometric refinement) -> Reconstruction.

Choices
- `mode="full"` sees the whole clip at once (best quality; refuses what will not fit and says what would);
  `mode="stream"` goes frame by frame with bounded memory and is what `openmore stream` computes.
- Damaged frames are skipped, recorded and warned about; no good frame is lost.
- Everything here works on an iterator of frames; nothing but the model-resolution pictures is kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from openmore.errors import ConfigError, InputError
from openmore.io.frames import Frame, frames
from openmore.io.intrinsics import parse_intrinsics
from openmore.io.selection import Position, Selection
from openmore.io.sizing import Sizing
from openmore.model.estimate import available_bytes, estimate_full, most_frames
from openmore.model.more import MoRe
from openmore.model.output import to_images, to_predictions
from openmore.progress import ProgressCallback, silent
from openmore.refinement.apply import refine_predictions, working_picture
from openmore.refinement.window import SlidingWindow
from openmore.streaming.policy import Budget, Policy, choose_policy
from openmore.streaming.session import StreamingSession
from openmore.streaming.stream import backbone_dtype
from openmore.types import FramePrediction, Reconstruction, SceneInfo, SparseTracks

log = logging.getLogger(__name__)


@dataclass
class Options:
    """Everything that can be chosen about a reconstruction. Units: pixels, frames; positions as in io.selection."""

    mode: Literal["full", "stream"] = "full"
    fps: float | None = None  # sample the source at this rate
    stride: int = 1
    start: Position | None = None  # frame number (120, "120") or time (4.0, "4s", "1:30")
    end: Position | None = None  # exclusive
    max_frames: int | None = None
    long_side: int | None = None  # default: what the weights were trained at
    points: bool = False  # also run the point head
    policy: str = "window"  # stream: what is remembered, see openmore.streaming.policy.choose_policy
    window: int | None = None  # stream: past frames kept, 16 unless given
    anchors: int = 1
    budget_mb: float | None = None  # stream: cache budget instead of a window
    # attention: cameras from the duplicate camera tokens. geometry: solved from matches, with the network's depth as a
    # prior. auto: geometry for the embedded weights, whose own cameras are weak, over a whole clip; else none.
    refine: Literal["auto", "none", "attention", "geometry"] = "auto"
    global_pass: bool = False  # stream with geometry: also solve the whole clip at the end, as full does
    # Known intrinsics: "fx,fy,cx,cy", a file, numbers or K [3, 3], in pixels of the source. Taken as true by geometry.
    intrinsics: Any = None

    def __post_init__(self) -> None:
        for name, known in (("mode", ("full", "stream")), ("refine", ("auto", "none", "attention", "geometry"))):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} {getattr(self, name)!r} is not one of {', '.join(known)}")
        Selection(self.fps, self.stride, self.start, self.end, self.max_frames)
        if self.long_side is not None and self.long_side < 1:
            raise ConfigError(f"long_side {self.long_side} is no picture: give pixels, or leave it out")
        self._check_memory()
        if self.intrinsics is not None:
            self.intrinsics = parse_intrinsics(self.intrinsics)
            if self.refine in ("none", "attention"):
                raise ConfigError(f"intrinsics were given with refine {self.refine!r}: only geometry can use them")
        if self.global_pass and (self.mode, self.refine) != ("stream", "geometry"):
            raise ConfigError("global_pass ends a stream refined by geometry: give mode stream and refine geometry")

    def _check_memory(self) -> None:
        """A whole clip at once remembers everything: what limits a stream would silently do nothing."""
        self.memory()
        idle = {"policy": ("window", "all"), "window": (None,), "anchors": (1,), "budget_mb": (None,)}
        given = [name for name, values in idle.items() if getattr(self, name) not in values]
        if self.mode == "full" and given:
            raise ConfigError(
                f"{', '.join(given)} limits a stream's memory, mode is full: leave it out, or mode stream"
            )

    def memory(self) -> Policy | Budget:
        """The stream's memory. Raises ConfigError."""
        return choose_policy(self.policy, window=self.window, anchors=self.anchors, budget_mb=self.budget_mb)


@dataclass
class Clock:
    """Seconds spent per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begun, 4)


def reconstruct(
    source: str | Path | np.ndarray | list[Any],
    weights: str | MoRe = "small",
    *,
    device: str | torch.device = "cpu",
    dtype: str = "auto",
    progress: ProgressCallback = silent,
    **options: Any,
) -> Reconstruction:
    """Reconstruct a video, folder, glob, image or array [S, H, W, 3] uint8.

    `weights`: a name, file, folder or a loaded MoRe. `options`: the fields of `openmore.pipeline.Options`. The result
    holds numpy arrays; cameras are in original pixels. Raises InputError, CheckpointError or ConfigError in one line.
    """
    chosen = Options(**options)
    model = weights if isinstance(weights, MoRe) else MoRe.from_pretrained(weights, device=device, dtype=dtype).pack()
    skipped: list[dict[str, Any]] = []
    geometry = wants_geometry(chosen, model)
    whole = geometry and (chosen.mode == "full" or chosen.global_pass)
    working: list[np.ndarray] = []
    pictures = sized_frames(source, model, chosen, skipped, working if whole else None)
    clock = Clock()
    report: dict[str, Any] = {}
    tracks: SparseTracks | None = None
    if chosen.mode == "full":
        predictions, sizing, warnings = run_full(model, pictures, chosen, clock, progress)
    else:
        polish = SlidingWindow(chosen.intrinsics) if geometry else None
        predictions, sizing, warnings = run_stream(model, pictures, chosen, clock, progress, polish)
        if polish is not None:
            warnings, report = [*warnings, *polish.warnings], {"refinement_window": polish.report()}
    if whole and len(predictions) > 1:
        with clock.stage("refine"):
            known = chosen.intrinsics and chosen.intrinsics.K_for(sizing.original_shape)
            predictions, found, tracks = refine_predictions(predictions, working, progress, known)
        warnings, report = [*warnings, *found.warnings], {**report, "refinement": found.as_dict()}
    if skipped:
        warnings.append(f"{len(skipped)} damaged frame(s) skipped")
    info = scene_info(source, model, chosen, sizing, clock, warnings, skipped)
    info.extra.update(report)
    return Reconstruction(predictions, info, tracks=tracks)


def wants_geometry(options: Options, model: MoRe) -> bool:
    """Whether cameras are to be solved from matches (docs/refinement.md)."""
    if options.refine == "auto":
        small = options.mode == "full" and model.provenance.get("name") == "small"
        return small or options.intrinsics is not None
    return options.refine == "geometry"


Sized = tuple[Frame, np.ndarray, Sizing]


def sized_frames(
    source: Any,
    model: MoRe,
    options: Options,
    skipped: list[dict[str, Any]],
    working: list[np.ndarray] | None = None,
) -> Iterator[Sized]:
    """Frames with their model-resolution pictures.

    Damaged frames go to `skipped`; larger pictures for refinement go to `working` when it is given.
    """

    def on_skip(index: int, reason: str) -> None:
        log.warning("frame %d skipped: %s", index, reason)
        skipped.append({"index": index, "reason": reason})

    long_side = options.long_side or model.config.image_size
    sizing: Sizing | None = None
    for frame in frames(
        source,
        fps=options.fps,
        stride=options.stride,
        start=options.start,
        end=options.end,
        max_frames=options.max_frames,
        on_skip=on_skip,
    ):
        if sizing is None and options.intrinsics is not None:
            options.intrinsics.K_for(frame.original_shape)  # nonsense is refused before the network runs
        if sizing is None:
            sizing = Sizing.fit(frame.original_shape, long_side, model.config.patch_size)
            require_fit(model, 1, sizing.model_shape)  # before the picture is made: a huge one alone fills the memory
        if working is not None:
            working.append(working_picture(frame.image))
        yield frame, sizing.apply(frame.image), sizing


def run_full(
    model: MoRe, pictures: Iterator[Sized], options: Options, clock: Clock, progress: ProgressCallback
) -> tuple[list[FramePrediction], Sizing, list[str]]:
    """The whole clip in one pass."""
    clip: list[tuple[Frame, Sizing]] = []
    with clock.stage("decode"):
        for frame, picture, sizing in pictures:
            # Only what the network sees stays: 1,000 frames at their own size would be gigabytes.
            clip.append((replace(frame, image=picture), sizing))
            progress("decode", len(clip), None)
    progress("decode", len(clip), len(clip))
    if not clip:
        raise InputError("no usable frame in the source: every frame was damaged or filtered out")
    frames_kept, sizing = [frame for frame, _ in clip], clip[0][1]
    require_fit(model, len(clip), sizing.model_shape)
    progress("network", 0, 1)
    with clock.stage("network"), torch.inference_mode():
        shown = [frame.image for frame in frames_kept]
        images = to_images(shown).to(model.device)
        refine = options.refine == "attention"
        raw = model(images, outputs=outputs_of(model, options), mode="causal" if refine else "full", duplicates=refine)
        if refine:  # the duplicates have seen the whole clip, the frames' own camera tokens only their past
            raw.pose_codes = raw.refined_pose_codes
        predictions = to_predictions(raw, frames_kept, shown, sizing)
    progress("network", 1, 1)
    return predictions, sizing, []


def run_stream(
    model: MoRe,
    pictures: Iterator[Sized],
    options: Options,
    clock: Clock,
    progress: ProgressCallback,
    polish: SlidingWindow | None = None,
) -> tuple[list[FramePrediction], Sizing, list[str]]:
    """Frame by frame, exactly as a live stream would; `polish` solves each camera as it comes."""
    predictions: list[FramePrediction] = []
    sizing: Sizing | None = None
    refine = options.refine == "attention"
    session = StreamingSession(
        model,
        policy=options.memory(),
        outputs=outputs_of(model, options),
        long_side=options.long_side,
        refinable=refine,
    )
    with session:
        while True:
            with clock.stage("decode"):
                item = next(pictures, None)
            if item is None:
                break
            frame, _, sizing = item
            with clock.stage("network"):
                prediction = session.push(frame)
            if polish is not None:
                with clock.stage("refine"):
                    prediction = polish.push(frame.image, prediction)
            predictions.append(prediction)
            progress("network", len(predictions), None)
        if refine and predictions:
            refined = session.refine()
            for position, camera in zip(refined.frames, refined.cameras):
                predictions[position] = replace(predictions[position], camera=camera)
            if refined.note:
                session.warnings.append(f"refined the frames still held: {refined.note}")
    if sizing is None:
        raise InputError("no usable frame in the source: every frame was damaged or filtered out")
    return predictions, sizing, session.warnings


def outputs_of(model: MoRe, options: Options) -> set[str]:
    """Heads to run: cameras, depth and motion always, points on request."""
    wanted = {"camera", "depth", "motion", *(("points",) if options.points else ())}
    if options.points and "points" not in model.config.heads:
        raise ConfigError("these weights have no point head: leave out --points")
    return wanted & set(model.config.heads)


def require_fit(model: MoRe, count: int, shape: tuple[int, int]) -> None:
    """Refuse a clip that full attention cannot hold, saying what would work."""
    available = available_bytes(model.device)
    dtype = backbone_dtype(model)
    # The weights are already in memory: only the pass itself must still fit.
    needed = estimate_full(model.config, count, shape, dtype).activation_bytes
    if needed <= available:
        return
    weights = estimate_full(model.config, 1, shape, dtype).weights_bytes
    fits = most_frames(model.config, shape, dtype, available + weights)
    advice = (
        f"use --mode stream, --max-frames {fits}, or a smaller --long-side" if fits else "use a smaller --long-side"
    )
    raise InputError(
        f"{count} frame(s) of {shape[1]}x{shape[0]} need about {needed / 1e9:.1f} GB with full attention and "
        f"{available / 1e9:.1f} GB are free: {advice}"
    )


def scene_info(
    source: Any,
    model: MoRe,
    options: Options,
    sizing: Sizing,
    clock: Clock,
    warnings: list[str],
    skipped: list[dict[str, Any]],
) -> SceneInfo:
    """What scene.json will say."""
    if str(model.provenance.get("name", "")).startswith("untrained"):
        warnings = ["untrained weights: every output is noise", *warnings]
    return SceneInfo(
        source=str(source) if isinstance(source, str | Path) else f"{type(source).__name__} in memory",
        weights=dict(model.provenance),
        mode=options.mode,
        model_shape=sizing.model_shape,
        original_shape=sizing.original_shape,
        timings_s=clock.seconds,
        warnings=warnings,
        skipped=skipped,
    )
