"""Trajectory figures: the path from above, each axis over time, and the error against truth.

Choices
- With truth, the estimate is associated and aligned exactly as the ATE is (evaluation.trajectory), and the figure
  prints the numbers it shows.
- Estimate blue, truth black and dashed, error vermilion: told apart by every kind of sight and in print.
- Figures are made without a display (Agg canvas), so that they work over ssh and in CI.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from openmore.errors import MissingExtra
from openmore.evaluation.trajectory import align_trajectory, associate, trajectory_errors
from openmore.io.atomic import atomic_file
from openmore.io.trajectories import Trajectory

_MARKS = 12  # places along the path that get an arrow or an error bar
ESTIMATE, TRUTH, ERROR = "#0072b2", "#000000", "#d55e00"


def plot_trajectory(path: Path, estimate: Trajectory, truth: Trajectory | None = None, title: str = "") -> Path:
    """Write a PNG of the camera path; with `truth` also the error over time after a Sim(3) alignment.

    Raises MissingExtra without matplotlib and DataError when the two trajectories share no times.
    """
    figure = trajectory_figure(estimate, truth, title)
    with atomic_file(path) as handle:
        figure.savefig(handle, format="png", dpi=120)
    return path


def trajectory_figure(estimate: Trajectory, truth: Trajectory | None = None, title: str = "") -> Any:
    """The matplotlib Figure behind `plot_trajectory`."""
    figure = _new_figure(11, 5.5 if truth is None else 7)
    times, poses, true_poses = estimate.times_s, estimate.world_from_cam, None
    if truth is not None:
        pairs = associate(estimate.times_s, truth.times_s)
        times, true_poses = estimate.times_s[pairs[:, 0]], truth.world_from_cam[pairs[:, 1]]
        errors = trajectory_errors(poses[pairs[:, 0]], true_poses)
        poses, _ = align_trajectory(poses[pairs[:, 0]], true_poses, "sim3")
        title = f"{title}  ATE {errors.ate:.4g}, RPE {errors.rpe_translation:.4g}, {errors.rpe_rotation_deg:.3g} deg"
    rows = 3 if true_poses is None else 4
    grid = figure.add_gridspec(rows, 2)
    _top_view(figure.add_subplot(grid[:, 0]), poses, true_poses)
    seconds = times - times[0]
    for axis, name in enumerate("xyz"):
        _axis_over_time(figure.add_subplot(grid[axis, 1]), seconds, poses, true_poses, axis, name)
    if true_poses is not None:
        _error_over_time(figure.add_subplot(grid[3, 1]), seconds, poses, true_poses)
    figure.axes[-1].set_xlabel("time, s")
    figure.suptitle(title.strip())
    return figure


def _new_figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "eval", "trajectory plots") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _top_view(plot: Any, poses: np.ndarray, truth: np.ndarray | None) -> None:
    """x to the right, z (the first camera's view) upwards, equal scales.

    With truth, bars join what was estimated to what was true at the same times. Without, arrows show where the camera
    looked: an alignment of a nearly straight path leaves the turn about it free, and aligned arrows would mean nothing.
    """
    if truth is not None:
        plot.plot(truth[:, 0, 3], truth[:, 2, 3], color=TRUTH, linestyle="--", label="truth")
        marked = np.unique(np.linspace(0, len(poses) - 1, _MARKS).round().astype(int))
        both = np.stack((poses[marked][:, [0, 2], 3], truth[marked][:, [0, 2], 3]))  # [2, M, (x, z)]
        plot.plot(both[..., 0], both[..., 1], color=ERROR, linewidth=1)
    plot.plot(poses[:, 0, 3], poses[:, 2, 3], color=ESTIMATE, label="estimate")
    plot.plot(poses[0, 0, 3], poses[0, 2, 3], "o", color=ESTIMATE, label="start")
    if truth is None:
        shown = poses[np.unique(np.linspace(0, len(poses) - 1, _MARKS).round().astype(int))]
        place, look = (shown[:, 0, 3], shown[:, 2, 3]), (shown[:, 0, 2], shown[:, 2, 2])
        plot.quiver(*place, *look, color=ESTIMATE, alpha=0.5, width=0.004)
    plot.set_aspect("equal", adjustable="datalim")
    plot.set(xlabel="x", ylabel="z", title="from above")
    plot.legend()


def _axis_over_time(
    plot: Any, seconds: np.ndarray, poses: np.ndarray, truth: np.ndarray | None, axis: int, name: str
) -> None:
    if truth is not None:
        plot.plot(seconds, truth[:, axis, 3], color=TRUTH, linestyle="--")
    plot.plot(seconds, poses[:, axis, 3], color=ESTIMATE)
    plot.set_ylabel(name)
    plot.grid(alpha=0.3)


def _error_over_time(plot: Any, seconds: np.ndarray, poses: np.ndarray, truth: np.ndarray) -> None:
    error = np.linalg.norm(poses[:, :3, 3] - truth[:, :3, 3], axis=-1)
    plot.fill_between(seconds, 0, error, color=ERROR, alpha=0.3)
    plot.plot(seconds, error, color=ERROR)
    plot.axhline(float(np.sqrt(np.mean(error**2))), color=ERROR, linestyle=":")
    plot.set_ylabel("error")
    plot.set_ylim(bottom=0)
    plot.grid(alpha=0.3)
