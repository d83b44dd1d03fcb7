"""What can be wrong with a video for geometry, named in one line each.

Every text says what was seen and what was done about it; none stops the run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmore.refinement.cameras.camera_motion import is_planar
from openmore.refinement.cameras.shot import ShotInput, ShotSolution, readout_of
from openmore.refinement.matching.survey import Survey
from openmore.refinement.report import Fit, LoopReport, RefinementReport

FEW_POINTS = 60  # key points below which a frame is called blank
FEW_OBSERVATIONS = 30  # observations below which a frame's pose is weakly held
OPEN_PX = 10.0  # gap of a loop above which the drift is worth a word
EXPOSURE_STEP = 0.2  # log brightness from one frame to the next


def describe_survey(report: RefinementReport, seen: Survey) -> None:
    """Warnings that need no cameras: blank frames, everything moving, exposure, cuts."""
    blank = [s for s, points in enumerate(seen.keypoints) if len(points) < FEW_POINTS]
    if len(blank) == len(seen):
        report.warn("no texture: no frame has enough points to match; the network's cameras are kept")
    elif blank:
        report.warn(
            f"{len(blank)} blank frame(s) without texture ({listed(blank)}): poses are interpolated or the network's"
        )
    if seen.all_moving:
        report.warn(
            f"too few static points: the motion probability covers nearly all of {len(seen.all_moving)} frame(s) "
            f"({listed(seen.all_moving)}); it is ignored there"
        )
    bright = np.log(np.maximum(seen.brightness, 1.0))
    jumps = np.flatnonzero(np.abs(np.diff(bright)) > EXPOSURE_STEP) + 1
    if len(jumps):
        report.warn(f"exposure changes abruptly at {len(jumps)} frame(s) ({listed(jumps)}): matches are fewer there")


def describe_cuts(report: RefinementReport, shots: Sequence[np.ndarray], frames: int) -> None:
    """Warnings about what hangs together: cuts, and a clip of which nothing does."""
    if frames < 2:
        return
    if not shots:
        report.warn(
            "no frames show the same static structure (no texture, all pixels moving, or a clip too short); the "
            "network's cameras are kept"
        )
    elif len(shots) > 1:
        parts = ", ".join(f"{s[0]}..{s[-1]}" for s in shots)
        report.warn(
            f"the video is cut into {len(shots)} shots ({parts}): each is solved apart and placed by the network"
        )


def describe_shot(report: RefinementReport, shot: ShotInput, solution: ShotSolution | None, before: Fit) -> None:
    """Warnings about one shot's solution."""
    where = f"frames {shot.frames[0]}..{shot.frames[-1]}"
    if solution is None:
        report.warn(f"{where}: no pair of frames shows enough static structure; the network's cameras are kept")
    elif solution.kind == "still":
        report.warn(f"{where}: the camera does not move (static camera); all its poses are set equal")
    elif solution.kind == "turning":
        report.warn(f"{where}: pure rotation, no parallax; the camera's centre is kept fixed, depth is the network's")
    else:
        _describe_moving(report, shot, solution, where)
    _describe_shutter(report, solution, where)


def _describe_shutter(report: RefinementReport, solution: ShotSolution | None, where: str) -> None:
    for readout, (a, b) in zip(readout_of(solution), (("left", "right"), ("top", "bottom"))):
        if readout:
            begin, end = (a, b) if readout > 0 else (b, a)
            report.warn(
                f"{where}: rolling shutter; a picture is read from {begin} to {end} in {abs(readout):.2f} of the time "
                "between frames, and each pose is that of the picture's middle"
            )


def describe_loops(report: RefinementReport, shot: ShotInput, loops: LoopReport) -> None:
    """Keep what was found, and say where a map that has drifted stays open."""
    report.loops.append(loops)
    if loops.used and not loops.taken and loops.gap_px_before > OPEN_PX:
        report.warn(
            f"frames {shot.frames[0]}..{shot.frames[-1]}: places seen again lie {loops.gap_px_before:.0f} px apart (at "
            "the working size), and closing that gap would contradict the tracks; the path has drifted"
        )


def _describe_moving(report: RefinementReport, shot: ShotInput, solution: ShotSolution, where: str) -> None:
    if is_planar(shot.pairs):
        report.warn(f"{where}: near-planar scene or little parallax; distances along the view are weakly determined")
    count = np.bincount(solution.obs.frame, minlength=len(solution.placed))[shot.frames]
    placed = solution.placed[shot.frames]
    weak = shot.frames[placed & (count < FEW_OBSERVATIONS)]
    if len(weak):
        report.warn(
            f"{where}: too few static points in {len(weak)} frame(s) ({listed(weak)}); their poses are uncertain"
        )
    lost = shot.frames[~placed]
    if len(lost):
        report.warn(
            f"{where}: {len(lost)} frame(s) could not be placed ({listed(lost)}); interpolated or the network's"
        )


def listed(frames: np.ndarray | list[int], most: int = 4) -> str:
    """'3, 5, 8, ...'"""
    text = ", ".join(str(int(s)) for s in frames[:most])
    return text + (", ..." if len(frames) > most else "")
