"""Predictions with measured depth and motion: the door between the walk over pictures and the pipeline.

Choices
- Depth, confidence and motion are replaced frame by frame where they could be measured; where not, the network's stay
  and the report says so. The network's own motion is kept beside (`network_motion`).
- In a clip that has both, the network's confidence is squeezed into 1..2: a guess never looks surer than a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from openmore.flow import FlowEstimator
from openmore.progress import ProgressCallback, silent
from openmore.refinement.adjustment.shutter import Shutter
from openmore.refinement.dense.cues import Cues
from openmore.refinement.dense.fusion import Settled
from openmore.refinement.dense.on_screen import painted_over
from openmore.refinement.dense.residual_motion import MOVING, without_doubtful
from openmore.refinement.dense.walk import FLOW_SIDE, DenseFrame, DenseWalk
from openmore.refinement.matching.survey import working_size
from openmore.refinement.report import DenseReport, RefinementReport
from openmore.types import FramePrediction

Fuse = Callable[[int, Cues], Settled | None]  # the frame's number and all that was measured of it; None = keep that


def keep(s: int, cues: Cues) -> None:
    """The measurements as they are."""


SMALLEST = 32  # pixels along the shorter side below which there is no flow worth having


def measure(
    pictures: Sequence[np.ndarray],
    K: np.ndarray,
    world_from_cam: np.ndarray,
    report: RefinementReport,
    depth: Callable[[int], np.ndarray],
    flow: FlowEstimator,
    shutter: Shutter | None = None,
    fuse: Fuse = keep,
    screen: np.ndarray | None = None,
    progress: ProgressCallback = silent,
) -> list[DenseFrame]:
    """Dense depth and motion of all frames; K [S, 3, 3] in pixels of the pictures, `depth(s)` in the cameras' units.

    `screen` [H, W] bool: what of the pictures is no part of the scene.
    """
    height, width = pictures[0].shape[:2]
    side = working_size(pictures[0], FLOW_SIDE).shape[:2]
    if min(side) < max(SMALLEST, flow.smallest):
        return [DenseFrame(None, None, None, 0.0)] * len(pictures)
    scaled = np.diag([side[1] / width, side[0] / height, 1.0]) @ K
    hidden = None if screen is None else resized(screen, side)

    def picture(s: int) -> np.ndarray:
        small = working_size(pictures[s], FLOW_SIDE)
        return small if hidden is None else painted_over(small, hidden)

    walk = DenseWalk(
        picture, scaled, world_from_cam, shots_of(report), depth, flow, shutter,
        cues=fuse is not keep, screen=hidden,
    )  # fmt: skip
    frames = []
    for s, (frame, cues) in enumerate(walk):
        frame = frame if cues is None else settled(frame, fuse(s, cues))
        frames.append(frame if screen is None else without_screen(frame, screen))
        progress("depth", len(frames), len(pictures))
    return frames


def settled(frame: DenseFrame, answer: Settled | None) -> DenseFrame:
    """A measured frame with what fusion made of it; motion stays unknown where no neighbour showed any."""
    if answer is None:
        return frame
    new = replace(frame, depth=answer.depth, confidence=1 + 1 / answer.relative_sigma)
    if frame.motion is None:
        return new
    return replace(new, motion=without_doubtful(answer.motion), residuals=frame.motion.astype(np.float16))


def without_screen(frame: DenseFrame, screen: np.ndarray) -> DenseFrame:
    """A frame that says of the screen [H, W]: it goes with the camera, and its depth is a guess."""
    if frame.motion is None:
        return frame
    hidden = resized(screen, frame.motion.shape)
    new = replace(frame, motion=np.where(hidden, np.float32(1), frame.motion))
    if frame.residuals is not None:
        new = replace(new, residuals=np.where(hidden, np.float16(1), frame.residuals))
    return new if frame.confidence is None else replace(new, confidence=np.where(hidden, 1, frame.confidence))


def resized(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask [H, W] bool at another size [h, w]: true where any of it falls."""
    import cv2

    return cv2.resize(mask.astype(np.float32), shape[1::-1], interpolation=cv2.INTER_AREA) > 0


def shots_of(report: RefinementReport) -> np.ndarray:
    """[S] the number of each frame's shot; -1 where the camera is the network's."""
    shot = np.full(len(report.sources), -1)
    for number, (first, last) in enumerate(report.shots):
        shot[first : last + 1] = number
    return np.where([source == "network" for source in report.sources], -1, shot)


def replaced(predictions: Sequence[FramePrediction], frames: Sequence[DenseFrame]) -> list[FramePrediction]:
    """Predictions that carry what was measured."""
    any_depth = any(frame.depth is not None for frame in frames)
    any_motion = any(frame.motion is not None for frame in frames)
    out = []
    for p, frame in zip(predictions, frames):
        new = p
        if frame.depth is not None and frame.confidence is not None:
            new = replace(new, depth=frame.depth, confidence=frame.confidence)
        elif any_depth:
            new = replace(new, confidence=(2 - 1 / np.maximum(p.confidence, 1)).astype(np.float32))
        if any_motion:
            own = np.zeros(p.shape, np.float32) if p.motion is None else p.motion
            new = replace(new, motion=own if frame.motion is None else frame.motion, network_motion=p.motion)
        out.append(new)
    return out


def describe(
    report: RefinementReport,
    predictions: Sequence[FramePrediction],
    frames: Sequence[DenseFrame],
    flow: str,
    fused: bool = False,
    screen: np.ndarray | None = None,
) -> None:
    """Say in the report where depth and motion come from, and warn of what could not be measured."""
    depth = [frame.triangulated > 0 for frame in frames]
    motion = [frame.motion is not None for frame in frames]
    found = [float(frame.triangulated) for frame in frames if frame.triangulated > 0]
    report.dense = DenseReport(
        flow=flow,
        fused=fused,
        depth_sources=["triangulated" if known else "network" for known in depth],
        motion_sources=["residuals" if known else "network" for known in motion],
        triangulated_share=float(np.mean(found)) if found else 0.0,
        screen_share=0.0 if screen is None else round(float(screen.mean()), 4),
        moving_share=float(np.mean([(f.motion > MOVING).mean() for f in frames if f.motion is not None] or [np.nan])),
    )
    if screen is not None:
        report.warn(
            f"{max(screen.mean(), 0.001):.1%} of the picture never changes while the camera moves (writing, a logo, "
            "black borders, a bonnet): its depth is filled in from around, and masks say that it moves"
        )
    changed = [
        ((f.motion > MOVING) != (p.motion > MOVING)).mean()
        for f, p in zip(frames, predictions)
        if f.motion is not None and p.motion is not None
    ]
    report.motion_change = float(np.mean(changed)) if changed else float("nan")
    for known, what in ((depth, "depth"), (motion, "motion")):
        missing = known.count(False)
        if missing == len(known):
            report.warn(f"no {what} could be measured in this video: {what} is the network's guess in every frame")
        elif missing:
            report.warn(f"{what} could not be measured in {missing} of {len(known)} frames: it is the network's there")
