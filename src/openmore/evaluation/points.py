"""Point maps against a true cloud: accuracy, completeness, Chamfer, F-score.

Choices
- The prediction is aligned first by the Sim(3) of corresponding points (`align_to`): network scale is arbitrary.
- Accuracy is the distance prediction -> truth, completeness truth -> prediction; mean and median of each.
- Clouds above `max_points` are thinned by a seeded draw, so that a number can be reproduced.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from openmore.errors import DataError, MissingExtra
from openmore.geometry.alignment import align_points


@dataclass(frozen=True)
class CloudErrors:
    """Distances in the unit of the truth."""

    accuracy_mean: float
    accuracy_median: float
    completeness_mean: float
    completeness_median: float
    chamfer: float  # mean of both means
    f_score: float  # at the given radius, 0..1

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def cloud_errors(
    prediction: np.ndarray, truth: np.ndarray, radius: float, *, max_points: int = 200_000, seed: int = 0
) -> CloudErrors:
    """Compare clouds [N, 3] and [M, 3] in the same frame. Raises DataError when one is empty or not finite."""
    try:
        from scipy.spatial import KDTree
    except ImportError as error:
        raise MissingExtra("scipy", "eval", "comparing point clouds") from error
    for cloud, name in ((prediction, "predicted"), (truth, "true")):
        if not len(cloud) or not np.isfinite(cloud).all():
            raise DataError(f"the {name} cloud has {len(cloud)} points, some maybe not finite: expected finite points")
    generator = np.random.default_rng(seed)
    p, g = thin(prediction, max_points, generator), thin(truth, max_points, generator)
    to_truth, to_prediction = KDTree(g).query(p)[0], KDTree(p).query(g)[0]
    precision, recall = np.mean(to_truth < radius), np.mean(to_prediction < radius)
    f_score = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return CloudErrors(
        accuracy_mean=float(to_truth.mean()),
        accuracy_median=float(np.median(to_truth)),
        completeness_mean=float(to_prediction.mean()),
        completeness_median=float(np.median(to_prediction)),
        chamfer=float((to_truth.mean() + to_prediction.mean()) / 2),
        f_score=float(f_score),
    )


def thin(points: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """At most `count` of the points [N, 3], drawn without replacement."""
    return points if len(points) <= count else points[generator.choice(len(points), count, replace=False)]


def align_to(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`prediction` [N, 3] moved by the least-squares Sim(3) of corresponding points onto `truth` [N, 3]."""
    source = torch.from_numpy(np.ascontiguousarray(prediction, dtype=np.float64))
    target = torch.from_numpy(np.ascontiguousarray(truth, dtype=np.float64))
    return align_points(source, target).apply(source).numpy()
