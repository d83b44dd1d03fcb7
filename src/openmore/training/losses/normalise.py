"""Scale and frame in which truth and prediction are compared.

Choices
- Truth: the first camera is the world, and the mean distance of all valid points of the clip to it is 1.
- Predictions are compared as they are (VGGT, MoRe): the network must learn that scale. STream3R's form, which divides
  the prediction by its own mean distance, is `unit_distance` on points and, separately, on depth.
- sum / (count + 1e-3) and the clamps are the references': values depend on them in the sixth digit.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from openmore.geometry.camera import unproject
from openmore.geometry.rigid import relative_to_first, rigid, transform_points

TRUTH_CLAMP = (1e-6, 1e6)  # VGGT
UNIT_CLAMP = (1e-3, 1e3)  # STream3R


class NormalisedTruth(NamedTuple):
    """Geometry of a clip with the first camera as the world and mean point distance 1."""

    world_from_cam: Tensor  # [B, S, 4, 4]
    depth: Tensor  # [B, S, H, W]
    points: Tensor  # [B, S, H, W, 3], first camera's axes
    scale: Tensor  # [B], what one normalised unit was in the source's units


def mean_distance(x: Tensor, valid: Tensor, clamp: tuple[float, float]) -> Tensor:
    """Mean length of the valid vectors of each clip: x [B, S, H, W, C], valid [B, S, H, W] bool -> [B]."""
    length = torch.where(valid, x.norm(dim=-1), 0).flatten(1).sum(1)
    return (length / (valid.flatten(1).sum(1) + 1e-3)).clamp(*clamp)


def unit_distance(x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """x [B, S, H, W, C] divided by its own mean distance, and that distance [B] (STream3R)."""
    scale = mean_distance(x, valid, UNIT_CLAMP)
    return x / scale[:, None, None, None, None], scale


def normalise_truth(world_from_cam: Tensor, depth: Tensor, K: Tensor, valid: Tensor) -> NormalisedTruth:
    """First camera as the world, mean point distance 1.

    world_from_cam [B, S, 4, 4], depth [B, S, H, W] (z, 0 = no value), K [B, S, 3, 3] pixels, valid [B, S, H, W] bool.
    A clip without valid pixels keeps its scale up to the clamp; its losses are zero anyway.
    """
    cameras = relative_to_first(world_from_cam)
    points = transform_points(cameras, unproject(depth, K))
    scale = mean_distance(points, valid, TRUTH_CLAMP)
    by = scale[:, None, None, None]
    cameras = rigid(cameras[..., :3, :3], cameras[..., :3, 3] / by[..., 0])
    return NormalisedTruth(cameras, depth / by, points / by[..., None], scale)
