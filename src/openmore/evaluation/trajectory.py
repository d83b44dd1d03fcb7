"""Camera trajectories against truth: ATE, RPE-t, RPE-r (Sturm et al. 2012) as the video-pose tables compute them.

Choices
- Both trajectories are world_from_cam. ATE is the RMSE of the centres after a Umeyama Sim(3) on all of them; both RPEs
  are RMSEs over consecutive frames of the same aligned trajectory, so RPE-t knows the scale and RPE-r needs nothing.
- Association as evo does it: every time of the shorter list takes its nearest in the longer one if within 0.02 s. Two
  times of a dense short list may take the same pose.
- A straight-line trajectory leaves the rotation about the line free, but no metric here depends on it: it is measured,
  where some tools skip the sequence and average over fewer.
- A truth that hardly moves (RMS below 1e-3 of its unit: a millimetre) aligns with anything and scores well: DataError.
  A static estimate (the "no motion" baseline) is measured only on request.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch

from openmore.errors import DataError
from openmore.evaluation.poses import invert, relative_steps, rms, rotation_angles
from openmore.geometry.alignment import align_points

Alignment = Literal["sim3", "se3", "none"]
ASSOCIATION_S = 0.02  # seconds; the TUM tools' default
SMALLEST_MOTION = 1e-3  # RMS of the true centres around their mean, in their unit, below which an ATE means nothing
_ROUNDING = 1e-9  # spread of centres, relative to their distance from the origin, that is only rounding


@dataclass(frozen=True)
class TrajectoryErrors:
    """Errors of one trajectory. Translations in the unit of the truth."""

    ate: float  # RMSE of the centres after alignment
    rpe_translation: float  # RMSE of the relative translation, consecutive frames
    rpe_rotation_deg: float  # RMSE of the relative rotation angle, consecutive frames
    scale: float  # truth unit per estimate unit, from the alignment (1 unless sim3)
    frames: int  # associated poses
    truth_rms: float  # RMS distance of the true centres from their mean: what ATE is to be compared with

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def trajectory_errors(
    estimate: np.ndarray,
    truth: np.ndarray,
    *,
    align: Alignment = "sim3",
    smallest_motion: float = SMALLEST_MOTION,
    static_estimate: bool = False,
) -> TrajectoryErrors:
    """ATE and RPE of `estimate` against `truth`, both world_from_cam [N, 4, 4] of the same N >= 2 frames.

    Args:
        align: how the estimate is moved onto the truth.
        smallest_motion: RMS motion of the truth below which an alignment is refused; 0 as in the published tables.
        static_estimate: allow an estimate that never moves.

    Raises:
        DataError: the lengths differ, a pose is not finite, or an alignment is asked for and a camera stands still.
    """
    check_poses(estimate, truth)
    if align != "none":
        check_moves(truth[:, :3, 3], "ground truth", smallest_motion)
        if not static_estimate:
            check_moves(estimate[:, :3, 3], "estimate", 0.0)
    aligned, scale = align_trajectory(estimate, truth, align)
    residual = aligned[:, :3, 3] - truth[:, :3, 3]
    step_error = invert(relative_steps(truth)) @ relative_steps(aligned)
    from_mean = truth[:, :3, 3] - truth[:, :3, 3].mean(0)
    return TrajectoryErrors(
        ate=rms(np.linalg.norm(residual, axis=-1)),
        rpe_translation=rms(np.linalg.norm(step_error[:, :3, 3], axis=-1)),
        rpe_rotation_deg=rms(np.degrees(rotation_angles(step_error[:, :3, :3]))),
        scale=scale,
        frames=len(truth),
        truth_rms=rms(np.linalg.norm(from_mean, axis=-1)),
    )


def align_trajectory(estimate: np.ndarray, truth: np.ndarray, align: Alignment) -> tuple[np.ndarray, float]:
    """`estimate` [N, 4, 4] moved onto `truth` by the least-squares fit of the centres, and the scale used."""
    if align == "none":
        return estimate, 1.0
    source, target = torch.from_numpy(estimate[:, :3, 3].copy()), torch.from_numpy(truth[:, :3, 3].copy())
    fit = align_points(source.double(), target.double(), with_scale=align == "sim3")
    R, t, scale = fit.R.numpy(), fit.t.numpy(), float(fit.scale)
    aligned = np.tile(np.eye(4), (len(estimate), 1, 1))
    aligned[:, :3, :3] = R @ estimate[:, :3, :3]
    aligned[:, :3, 3] = scale * estimate[:, :3, 3] @ R.T + t
    return aligned, scale


def associate(times_a: np.ndarray, times_b: np.ndarray, tolerance_s: float = ASSOCIATION_S) -> np.ndarray:
    """Index pairs [M, 2] (into a, into b), in the order of the shorter list's times; of equal lists that of a.

    Times of either list need not be sorted. Raises DataError when fewer than two agree within `tolerance_s`.
    """
    if len(times_b) < len(times_a):
        return associate(times_b, times_a, tolerance_s)[:, ::-1]
    if len(times_a) < 2:
        raise DataError(f"a trajectory has {len(times_a)} time stamp(s), expected at least 2: check the file")
    order = np.argsort(times_b, kind="stable")
    sorted_b = times_b[order]
    right = np.searchsorted(sorted_b, times_a, side="right").clip(1, len(sorted_b) - 1)
    left_is_nearer = times_a - sorted_b[right - 1] <= sorted_b[right] - times_a
    nearest = np.where(left_is_nearer, right - 1, right)
    close = np.abs(sorted_b[nearest] - times_a) <= tolerance_s
    if close.sum() < 2:
        raise DataError(no_overlap(times_a, times_b, int(close.sum()), tolerance_s))
    pairs = np.column_stack((np.arange(len(times_a)), order[nearest]))[close]
    return pairs[np.argsort(times_a[pairs[:, 0]], kind="stable")]


def no_overlap(times_a: np.ndarray, times_b: np.ndarray, found: int, tolerance_s: float) -> str:
    """The line that says why two trajectories could not be associated."""
    spans = " and ".join(f"{t.min():.3f}..{t.max():.3f} s" for t in (times_a, times_b))
    return (
        f"{found} time stamp(s) agree within {tolerance_s} s, expected at least 2: the trajectories cover {spans}; "
        "check the clocks or give frame numbers as times in both"
    )


def check_poses(estimate: np.ndarray, truth: np.ndarray) -> None:
    """Same number of finite poses, at least two; raises DataError."""
    if len(estimate) != len(truth):
        raise DataError(
            f"estimate has {len(estimate)} poses and ground truth {len(truth)}: associate them by time first"
        )
    if len(truth) < 2:
        raise DataError(f"{len(truth)} common pose(s), expected at least 2: give a longer trajectory")
    for poses, name in ((estimate, "estimate"), (truth, "ground truth")):
        bad = np.flatnonzero(~np.isfinite(poses).all((-1, -2)))
        if len(bad):
            raise DataError(f"{name} pose {bad[0]} is not finite ({len(bad)} such): remove those rows from both files")


def check_moves(centers: np.ndarray, name: str, smallest: float) -> None:
    """Raises DataError when the centres [N, 3] coincide or move less than `smallest` (RMS)."""
    motion = rms(np.linalg.norm(centers - centers.mean(0), axis=-1))
    if motion <= max(smallest, _ROUNDING * max(1.0, np.abs(centers).max())):
        raise DataError(
            f"the {name} camera hardly moves (RMS {motion:.1e} in its unit), so any alignment fits it: "
            "compare rotations or drift instead, or lower the smallest motion"
        )
