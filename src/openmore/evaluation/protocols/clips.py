"""Our own: every clip with some truth in a folder of posed clips, all metrics that its truth allows.

Choices
- Cameras that move: ATE after Sim(3), RPE, and rotation errors without any alignment (median over consecutive frames
  and over all pairs), each beside what "no rotation" would score.
- Cameras that stand still: drift in units of the median predicted depth, and degrees turned; ATE would mean nothing.
- Sampson error of SIFT matches under predicted cameras AND predicted intrinsics, beside that under the true ones.
- Depth AbsRel after the published L1 scale, beside a constant depth's; masks J and F; consistency and flow residual
  on pixels predicted static. Pseudo truth is marked by the clip's `truth`.
- Point maps: predicted pixels lifted by predicted depth, lens and camera, moved by the Sim(3) of corresponding points;
  accuracy and completeness are medians in units of the median true depth.
- No summary decides anything: numbers of different clips have different units. Medians over clips are given for
  those without a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmore.data.datasets.base import Dataset
from openmore.data.datasets.registry import open_dataset
from openmore.errors import DataError
from openmore.evaluation.consistency import consistency, flow_residual, move
from openmore.evaluation.depth import depth_errors, resize_depth
from openmore.evaluation.epipolar import median_sampson
from openmore.evaluation.intrinsics import intrinsics_errors
from openmore.evaluation.motion import mask_errors
from openmore.evaluation.points import align_to, cloud_errors
from openmore.evaluation.poses import invert, rms, rotation_angles
from openmore.evaluation.prediction import Prediction
from openmore.evaluation.protocols.base import Case, Column, Plan, Row, plan_jobs
from openmore.evaluation.protocols.davis import resize
from openmore.evaluation.trajectory import SMALLEST_MOTION, trajectory_errors
from openmore.types import UNKNOWN

MAX_POINTS = 20_000  # of a clip, for comparing clouds
COLUMNS = (
    Column("rotation_step_deg", "turn/frame (deg)"),
    Column("no_rotation_step_deg", "if none"),
    Column("rotation_deg", "turn/any pair"),
    Column("no_rotation_deg", "if none"),
    Column("ate", "ATE", detail=True),
    Column("rpe_translation", "RPE-t", detail=True),
    Column("rpe_rotation_deg", "RPE-r", detail=True),
    Column("ate_share", "ATE/motion"),
    Column("drift", "drift/depth"),
    Column("sampson_px", "Sampson (px)"),
    Column("sampson_true_px", "of truth", detail=True),
    Column("flow_residual_px", "flow (px)"),
    Column("focal_relative", "focal"),
    Column("abs_rel", "AbsRel"),
    Column("constant_abs_rel", "constant", detail=True),
    Column("point_accuracy", "points acc.", detail=True),
    Column("point_completeness", "comp.", detail=True),
    Column("jf", "J&F", higher_is_better=True),
    Column("seconds_per_frame", "s/frame", detail=True),
)


@dataclass(frozen=True)
class Clips:
    """Every posed clip folder under a directory."""

    name: str = "clips"
    title: str = "Posed clips"
    columns: tuple[Column, ...] = COLUMNS
    note: str = "Medians over clips of what has no unit; the table per clip is the result."
    max_frames: int | None = None

    def dataset(self, root: Path) -> Dataset:
        return open_dataset("posed_folder", root, fill_missing=True)

    def plan(self, dataset: Dataset) -> Plan:
        return plan_jobs(dataset, dataset.names(), select=lambda ids: ids[: self.max_frames], fewest=2)

    def measure(self, prediction: Prediction, case: Case) -> Row:
        row: Row = {"frames": len(case.sample), "truth": ", ".join(f"{k} {v}" for k, v in case.truth.items())}
        row["seconds_per_frame"] = prediction.seconds / len(case.sample)
        if prediction.world_from_cam is not None:
            row |= camera_metrics(prediction.world_from_cam, prediction, case)
        if prediction.depth is not None and "depth" in case.truth:
            row |= depth_metrics(prediction.depth, case)
            row |= point_metrics(prediction, case)
        if prediction.motion is not None and case.sample.motion is not None:
            row |= mask_metrics(prediction.motion, case.sample.motion)
        if prediction.depth is not None and prediction.world_from_cam is not None:
            row |= consistency_metrics(prediction.depth, prediction.world_from_cam, prediction, case)
        return row

    def summarise(self, rows: Mapping[str, Row]) -> dict[str, float]:
        unitless = (
            "rotation_step_deg no_rotation_step_deg rotation_deg no_rotation_deg ate_share sampson_px sampson_true_px "
            "focal_relative fov_deg abs_rel constant_abs_rel delta_1 j_mean f_mean jf drift drift_deg "
            "point_accuracy point_completeness point_f_score "
            "consistency_depth consistency_px flow_residual_px"
        ).split()
        out = {}
        for key in unitless:
            values = [row[key] for row in rows.values() if isinstance(row.get(key), float) and np.isfinite(row[key])]
            if values:
                out[key] = float(np.median(values))
        return out


def camera_metrics(cameras: np.ndarray, prediction: Prediction, case: Case) -> Row:
    """Everything about predicted cameras [S, 4, 4] and the intrinsics that came with them."""
    row: Row = {}
    K = prediction.K if prediction.K is not None else case.clip.K
    if K is not None:
        row["sampson_px"] = median_sampson(case.matches, K, cameras)
    if prediction.K is not None and case.clip.K is not None:
        errors = intrinsics_errors(prediction.K, case.clip.K, case.sample.shape)
        row |= {"focal_relative": errors.focal_relative, "fov_deg": errors.fov_deg}
    if "cameras" not in case.truth:
        return row
    truth = case.sample.world_from_cam
    if "intrinsics" in case.truth:
        row["sampson_true_px"] = median_sampson(case.matches, case.sample.K, truth)
    row |= rotation_metrics(cameras, truth)
    motion = rms(np.linalg.norm(truth[:, :3, 3] - truth[:, :3, 3].mean(0), axis=-1))
    if motion < SMALLEST_MOTION:
        return row | drift_metrics(cameras, prediction.depth)
    errors = trajectory_errors(cameras, truth, static_estimate=True).as_dict()
    return row | errors | {"ate_share": errors["ate"] / errors["truth_rms"]}


def rotation_metrics(estimate: np.ndarray, truth: np.ndarray) -> Row:
    """Median rotation errors of consecutive frames and of all pairs in degrees; and those of "no rotation"."""
    row: Row = {}
    count = len(truth)
    for suffix, (i, j) in (("step_", (np.arange(count - 1), np.arange(1, count))), ("", np.triu_indices(count, 1))):
        R_true = np.swapaxes(truth[i, :3, :3], -1, -2) @ truth[j, :3, :3]
        R_est = np.swapaxes(estimate[i, :3, :3], -1, -2) @ estimate[j, :3, :3]
        error = rotation_angles(np.swapaxes(R_true, -1, -2) @ R_est)
        row[f"rotation_{suffix}deg"] = float(np.degrees(np.median(error)))
        row[f"no_rotation_{suffix}deg"] = float(np.degrees(np.median(rotation_angles(R_true))))
    return row


def drift_metrics(cameras: np.ndarray, depth: np.ndarray | None) -> Row:
    """How far a camera that stands still is said to have gone: share of the median depth, and degrees."""
    away = invert(cameras[:1]) @ cameras
    row: Row = {"drift_deg": float(np.degrees(rotation_angles(away[:, :3, :3]).max()))}
    if depth is not None:
        row["drift"] = float(np.linalg.norm(away[:, :3, 3], axis=-1).max() / np.median(depth))
    return row


def depth_metrics(depth: np.ndarray, case: Case) -> Row:
    """AbsRel and delta after one scale per clip, and AbsRel of a constant depth."""
    truth = case.sample.depth
    errors = depth_errors(resize_depth(depth, case.sample.shape), truth)
    constant = case.constant_depth_abs_rel
    return {"abs_rel": errors.abs_rel, "delta_1": errors.delta_1, "constant_abs_rel": constant}


def point_metrics(prediction: Prediction, case: Case) -> Row:
    """Accuracy and completeness of the predicted point maps; nothing where a lens or a camera is lacking."""
    sample, known = case.sample, {"cameras", "intrinsics"} <= case.truth.keys()
    if prediction.depth is None or prediction.K is None or prediction.world_from_cam is None or not known:
        return {}
    stride = max(1, int(np.sqrt(sample.depth.size / MAX_POINTS)))
    v, u = np.mgrid[0 : sample.shape[0] : stride, 0 : sample.shape[1] : stride].reshape(2, -1)
    predicted = resize_depth(prediction.depth, sample.shape)
    clouds: tuple[list[np.ndarray], list[np.ndarray]] = [], []
    for s in range(len(sample)):
        keep = sample.depth[s, v, u] > 0
        uv = np.column_stack((u, v))[keep].astype(np.float64)
        for cloud, depth, K, pose in (
            (clouds[0], predicted, prediction.K, prediction.world_from_cam),
            (clouds[1], sample.depth, sample.K, sample.world_from_cam),
        ):
            cloud.append(move(uv, depth[s, v, u][keep].astype(np.float64), K[s], pose[s]))
    points, truth = np.concatenate(clouds[0]), np.concatenate(clouds[1])
    unit = float(np.median(sample.depth[sample.depth > 0]))
    errors = cloud_errors(align_to(points, truth), truth, radius=0.05 * unit, max_points=MAX_POINTS)
    return {
        "point_accuracy": errors.accuracy_median / unit,
        "point_completeness": errors.completeness_median / unit,
        "point_f_score": errors.f_score,
    }


def mask_metrics(motion: np.ndarray, truth: np.ndarray) -> Row:
    """J and F at the truth's resolution [S, H, W], threshold 0.5; unknown pixels and frames count for nobody."""
    if (truth == UNKNOWN).all():
        return {}
    shape = (truth.shape[1], truth.shape[2])
    probability = np.stack([resize(p.astype(np.float32), shape) for p in motion])
    errors = mask_errors(probability > 0.5, truth == 1, truth == UNKNOWN).as_dict()
    return {key: errors[key] for key in ("j_mean", "f_mean", "jf")}


def consistency_metrics(depth: np.ndarray, cameras: np.ndarray, prediction: Prediction, case: Case) -> Row:
    """Agreement of the prediction with itself and with the flow seen in the pictures, where it says nothing moves."""
    K = prediction.K if prediction.K is not None else case.sample.K
    shape, full = (depth.shape[1], depth.shape[2]), case.sample.shape
    ratio = np.array([shape[1] / full[1], shape[0] / full[0]])
    K_depth = np.diag([*ratio, 1.0]) @ K
    static = None if prediction.motion is None else prediction.motion <= 0.5
    if static is not None and static.shape != depth.shape:
        static = np.stack([resize(s.astype(np.uint8), shape, nearest=True) for s in static]) > 0
    flow = np.stack([np.stack([resize(c, shape, nearest=True) * r for c, r in zip(f, ratio)]) for f in case.flow])
    stride = max(1, shape[1] // 100)
    try:
        found = consistency(depth, K_depth, cameras, static, stride=stride)
        residual = flow_residual(depth, K_depth, cameras, flow, static, stride=stride)
    except DataError:
        return {}  # everything is said to move, or no two frames overlap: there is nothing to compare
    return {
        "consistency_depth": found.depth_relative,
        "consistency_px": found.round_trip_px / float(ratio[0]),  # in pixels of the clip
        "flow_residual_px": residual / float(ratio[0]),
    }
