"""The network over a clip: all at once, or frame by frame with bounded memory, as `openmore stream` computes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from openmore.errors import ConfigError, InputError
from openmore.io.frames import Frame
from openmore.io.sizing import Sizing
from openmore.model.more import MoRe
from openmore.model.output import to_images, to_predictions
from openmore.pipeline.options import Options
from openmore.pipeline.pictures import Sized
from openmore.pipeline.report import Clock
from openmore.progress import ProgressCallback
from openmore.refinement.stream.window import SlidingWindow
from openmore.streaming.session import StreamingSession
from openmore.types import FramePrediction


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
