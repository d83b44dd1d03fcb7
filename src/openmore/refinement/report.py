"""What refinement did, in numbers and in words: goes to `scene.json` and to the reader of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from openmore.refinement.cameras.camera_motion import CameraMotion

Source = Literal["geometry", "network", "interpolated", "still"]
# tracks: essential matrix and PnP; network: the network's cameras, where those explained the tracks better in the end;
# turn: rotations from pairs; none: the network's cameras (or a still one) were kept.
Start = Literal["tracks", "network", "turn", "none"]


@dataclass(frozen=True)
class Fit:
    """How well cameras explain the tracks: every track triangulated with them as well as it can be."""

    median_px: float  # reprojection error at the working size; NaN when nothing could be measured
    inlier_share: float  # observations in front of the camera and within 3 pixels
    observations: int
    support: float = 0.0  # sum over observations of 1 / (1 + error^2 / pixel^2): what solutions are compared by


@dataclass(frozen=True)
class SecondSolve:
    """The solver's second run without the movers that residuals showed."""

    taken: bool  # its cameras are the answer
    dropped_share: float  # of the matches, on movers
    turn_deg: float  # largest change of a camera
    shift_share: float  # the same for centres, as a share of the path
    median_px_before: float  # reprojection error of the static tracks
    median_px_after: float


@dataclass(frozen=True)
class LoopReport:
    """Places of a long clip seen again. Gaps: pixels from where a place lands to where it was seen the other time."""

    tied: int = 0  # far pairs of frames whose matches are points of the map at both ends
    verified: int = 0  # of these, pairs that one similarity explains
    used: int = 0  # of these, pairs that agree with the others
    gap_px_before: float = float("nan")  # median over the places of all loops used
    gap_px_after: float = float("nan")
    taken: bool = False  # the closed solution is the answer


@dataclass(frozen=True)
class DenseReport:
    """Where depth and motion come from."""

    flow: str  # what estimated it
    fused: bool  # settled by the fusion network
    depth_sources: list[str]  # per frame: triangulated (and filled in between) or network
    motion_sources: list[str]  # per frame: residuals or network
    triangulated_share: float  # of the pixels of frames with triangulated depth, measured to within 30 percent
    moving_share: float  # of the pixels; NaN when no frame's motion was measured
    screen_share: float = 0.0  # of the picture, no part of the scene: the same in all frames while the camera moves


@dataclass
class RefinementReport:
    """The result of one refinement. Pixels are those of the working size (`shape`)."""

    shape: tuple[int, int]  # height, width the pictures were matched at
    camera_motion: CameraMotion = "unknown"  # of several shots that with most frames solved, as for depth_error
    shots: list[tuple[int, int]] = field(default_factory=list)  # first and last frame of each
    starts: list[Start] = field(default_factory=list)  # what the cameras of each shot were solved from
    sources: list[Source] = field(default_factory=list)  # where each frame's pose comes from
    before: Fit | None = None  # the network's cameras
    after: Fit | None = None  # the cameras returned
    focal_before: float = float("nan")  # pixels
    focal_after: float = float("nan")
    focal_free: bool = True  # False when K was given
    # of each shot: frame intervals from the left column to the right one and from the top row to the bottom; 0: global
    readouts: list[tuple[float, float]] = field(default_factory=list)
    depth_error: float = float("nan")  # median relative error of the predicted depth after scale and shift
    motion_change: float = float("nan")  # share of pixels whose moving/static label the residuals changed
    second_solve: SecondSolve | None = None  # None: movers held next to no matches
    loops: list[LoopReport] = field(default_factory=list)  # one per moving shot of a long clip
    dense: DenseReport | None = None  # None: not asked for
    rotation_sigma_deg: np.ndarray = field(
        default_factory=lambda: np.zeros(0)
    )  # [S] relative to the shot's first camera
    center_sigma: np.ndarray = field(default_factory=lambda: np.zeros(0))  # [S] scene units; NaN = not solved
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def warn(self, text: str) -> None:
        """Add a warning once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def count(self, source: Source) -> int:
        """Frames whose pose came from `source`."""
        return self.sources.count(source)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; numbers that could not be measured are None."""
        plain = asdict(self)
        plain["rotation_sigma_deg"] = [round(float(x), 5) for x in self.rotation_sigma_deg]
        plain["center_sigma"] = [round(float(x), 6) for x in self.center_sigma]
        return _no_nan(plain)


def _no_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _no_nan(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_no_nan(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
