"""How good a batch of predictions is, in units a person can judge; logged beside the losses.

The first sign that a network has learned to match is `rotation_deg` leaving `rotation_deg_if_still`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openmore.geometry.alignment import align_points
from openmore.geometry.pose_code import decode_pose
from openmore.geometry.rigid import invert
from openmore.geometry.rotation import rotation_angle
from openmore.model.more import RawOutput
from openmore.training.batch import Batch
from openmore.types import UNKNOWN


@torch.no_grad()
def batch_metrics(output: RawOutput, batch: Batch) -> dict[str, Tensor]:
    """Scalars; absent outputs have none.

    rotation_deg: median angle between predicted and true rotation over pairs of frames; rotation_deg_if_still: the
    same for a camera that never turns. ate_share: position error after Sim(3), as a share of the error of a camera
    that stays in one place (clips of 3 frames or more). depth_absrel: mean |d - d*| / d* after one scale per clip.
    motion_iou: intersection over union of moving pixels at probability 0.5, over the whole batch.
    """
    found: dict[str, Tensor] = {}
    codes = output.refined_pose_codes or output.pose_codes
    if codes and batch.frames > 1:
        found |= _camera_metrics(invert(decode_pose(codes[-1].float(), batch.shape)[0]), batch.world_from_cam)
    if output.depth is not None and bool(batch.valid.any()):
        found["depth_absrel"] = _absrel(output.depth.float(), batch.depth, batch.valid)
    if output.motion_logits is not None:
        found["motion_iou"] = _iou(output.motion_logits > 0, batch.motion)
    return found


def _camera_metrics(ours: Tensor, truth: Tensor) -> dict[str, Tensor]:
    S = truth.shape[1]
    first, second = torch.triu_indices(S, S, 1, device=truth.device)
    relative, true = (invert(c[:, first]) @ c[:, second] for c in (ours, truth))
    error = rotation_angle(relative[..., :3, :3].transpose(-1, -2) @ true[..., :3, :3])
    found = {
        "rotation_deg": error.median().rad2deg(),
        "rotation_deg_if_still": rotation_angle(true[..., :3, :3]).median().rad2deg(),
    }
    if S >= 3:
        found["ate_share"] = _ate_share(ours[..., :3, 3].double(), truth[..., :3, 3].double()).float()
    return found


def _ate_share(ours: Tensor, truth: Tensor) -> Tensor:
    """Root mean square over all clips of both errors, so that a still camera's clip does not divide by zero."""
    aligned = align_points(ours, truth).apply(ours)
    still = truth - truth.mean(-2, keepdim=True)
    return ((aligned - truth).square().sum() / still.square().sum().clamp_min(1e-12)).sqrt()


def _absrel(ours: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    errors = []
    for o, t, v in zip(ours, truth, valid):
        if bool(v.any()):
            scale = t[v].median() / o[v].median().clamp_min(1e-9)
            errors.append(((scale * o[v] - t[v]).abs() / t[v]).mean())
    return torch.stack(errors).mean()


def _iou(moving: Tensor, labels: Tensor) -> Tensor:
    known, true = labels != UNKNOWN, labels == 1
    both, either = (moving & true & known).sum(), ((moving | true) & known).sum()
    return both / either.clamp_min(1)
