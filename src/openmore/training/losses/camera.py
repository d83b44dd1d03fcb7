"""Camera losses on pose codes [B, S, 9] (docs/conventions.md): absolute, relative over all pairs, gauge.

Choices
- `absolute`: L1 per group of numbers, as in VGGT; the truth's quaternion has w >= 0, the prediction's is as it comes.
- `relative_release`: T_ij = inverse(T_i) T_j over ordered pairs i != j, T straight from the code (cam_from_world); L1
  of rotation matrices and translations, as in the authors' release.
- `relative_paper`: T_ij = T_j inverse(T_i), geodesic angle and Huber translation, as in the paper.
- `detach_earlier`: gradient reaches a pair through its later frame only, the one that has seen more (reading G1 of
  "gradient truncated for early streaming tokens"). `detach_first_frames` is reading G3.
- Stages add up by `stage_mean`. The caller takes out clips whose first frame is unusable (`CameraConfig.min_valid`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from openmore.geometry.rigid import invert, rigid
from openmore.geometry.rotation import quaternion_to_matrix, rotation_angle
from openmore.training.losses.reduce import HARD_MAX, mean_or_zero, stage_mean

CameraForm = Literal["absolute", "relative_release", "relative_paper"]


@dataclass(frozen=True)
class CameraConfig:
    """How pose codes are supervised."""

    form: CameraForm = "absolute"
    translation: float = 1.0
    rotation: float = 1.0
    fov: float = 0.0  # the release computes it and leaves it out of the sum
    gauge: float = 0.0  # first camera to the identity; pair losses leave the world free
    decay: float = 0.6  # weight of stage k of n is decay^(n - 1 - k)
    huber: float = 0.1  # relative_paper: where the translation error turns linear
    detach_earlier: bool = False  # relative forms
    detach_first_frames: int = 0  # relative forms: no gradient through these frames
    min_valid: int = 100  # a clip counts when its first frame has more valid pixels than this


class CameraTerms(NamedTuple):
    """Scalars, averaged over stages."""

    translation: Tensor
    rotation: Tensor
    fov: Tensor
    gauge: Tensor

    def total(self, config: CameraConfig) -> Tensor:
        """The weighted sum."""
        weights = (config.translation, config.rotation, config.fov, config.gauge)
        return torch.stack([w * term for w, term in zip(weights, self)]).sum()


def camera_terms(codes: Sequence[Tensor], truth: Tensor, config: CameraConfig) -> CameraTerms:
    """One code [B, S, 9] per refinement stage against the truth [B, S, 9]; B may be 0, then all terms are 0."""
    forms = {"absolute": absolute, "relative_release": relative_release, "relative_paper": relative_paper}
    stages = [(*forms[config.form](code, truth, config), fov_error(code, truth), gauge_error(code)) for code in codes]
    return CameraTerms(*(stage_mean(term, config.decay) for term in zip(*stages)))


def absolute(code: Tensor, truth: Tensor, config: CameraConfig) -> tuple[Tensor, Tensor]:
    """L1 of the translation and of the quaternion."""
    error = (code - truth).abs()
    return mean_or_zero(error[..., :3].clamp(max=HARD_MAX)), mean_or_zero(error[..., 3:7])


def relative_release(code: Tensor, truth: Tensor, config: CameraConfig) -> tuple[Tensor, Tensor]:
    """Over ordered pairs: mean L1 norm of the translation error, mean entry of the rotation matrices' difference."""
    (ours_i, ours_j), (true_i, true_j) = pair_poses(code, config), pair_poses(truth, config)
    difference = (invert(ours_i) @ ours_j - invert(true_i) @ true_j).abs()
    return mean_or_zero(difference[..., :3, 3].sum(-1)), mean_or_zero(difference[..., :3, :3])


def relative_paper(code: Tensor, truth: Tensor, config: CameraConfig) -> tuple[Tensor, Tensor]:
    """Over ordered pairs: Huber norm of the translation error, geodesic angle of the rotation error in radians."""
    (ours_i, ours_j), (true_i, true_j) = pair_poses(code, config), pair_poses(truth, config)
    ours, true = ours_j @ invert(ours_i), true_j @ invert(true_i)
    distance = (ours[..., :3, 3] - true[..., :3, 3]).norm(dim=-1)
    huber = F.smooth_l1_loss(distance, torch.zeros_like(distance), reduction="none", beta=config.huber)
    angle = rotation_angle(ours[..., :3, :3].transpose(-1, -2) @ true[..., :3, :3])
    return mean_or_zero(huber), mean_or_zero(angle)


def pair_poses(code: Tensor, config: CameraConfig) -> tuple[Tensor, Tensor]:
    """cam_from_world of both frames of every ordered pair i != j, each [B, S * (S - 1), 4, 4].

    `config` says which of them let gradients through.
    """
    pose = rigid(quaternion_to_matrix(code[..., 3:7]), code[..., :3])
    frames = pose.shape[1]
    i, j = torch.meshgrid(*2 * (torch.arange(frames, device=code.device),), indexing="ij")
    different = i != j
    i, j = i[different], j[different]
    stop_i = (i < j) & config.detach_earlier | (i < config.detach_first_frames)
    stop_j = (j < i) & config.detach_earlier | (j < config.detach_first_frames)
    still = pose.detach()
    first = torch.where(stop_i[:, None, None], still[:, i], pose[:, i])
    second = torch.where(stop_j[:, None, None], still[:, j], pose[:, j])
    return first, second


def fov_error(code: Tensor, truth: Tensor) -> Tensor:
    """L1 of the fields of view, radians."""
    return mean_or_zero((code - truth)[..., 7:].abs())


def gauge_error(code: Tensor) -> Tensor:
    """L1 distance of the first camera from the identity pose."""
    identity = code.new_tensor([0, 0, 0, 0, 0, 0, 1])
    return mean_or_zero((code[:, :1, :7] - identity).abs())
