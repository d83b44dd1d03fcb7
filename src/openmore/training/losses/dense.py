"""Losses of depth maps and point maps: confidence-weighted error, plain error, and a term for detail.

Choices
- The confidence term is gamma * confidence * |error| - alpha * log(confidence) with the un-squared norm (VGGT, the
  authors' release); `squared` is the paper's formula to the letter.
- Detail: for depth the L1 difference of image gradients over 4 strides, for points the angle of normals over 3.
- `first_frame_apart` and `image_cap` are STream3R's form: outliers judged and gradients averaged separately for the
  first frame and the others (whose gradients count S - 1 times), each image's summed gradient capped at 100.
- Everything here is float32 and ignores whatever stands in invalid pixels, NaN included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from openmore.training.losses.reduce import HARD_MAX, drop_outliers, mean_or_zero

Detail = Literal["gradient", "normal", "none"]
GRADIENT_STRIDES = (1, 2, 4, 8)
NORMAL_STRIDES = (1, 2, 4)


@dataclass(frozen=True)
class DenseConfig:
    """How one dense map is supervised; the defaults are the authors' release for depth."""

    gamma: float = 1.0  # weight of confidence * error
    alpha: float = 0.2  # weight of the log that keeps confidence from falling to 1
    squared: bool = False
    quantile: float | None = 0.98  # drop the largest errors; None keeps all
    detail: Detail = "gradient"
    detail_confident: bool = False  # weigh the detail term by confidence too
    first_frame_apart: bool = False  # STream3R
    image_cap: float | None = None  # STream3R: 100
    min_valid: int = 100  # clips with fewer valid pixels in all give zero


class DenseTerms(NamedTuple):
    """Scalars."""

    confidence: Tensor
    regression: Tensor
    detail: Tensor


class _Map(NamedTuple):
    prediction: Tensor  # [N, H, W, C]
    truth: Tensor
    confidence: Tensor  # [N, H, W]
    valid: Tensor  # [N, H, W] bool


def dense_terms(
    prediction: Tensor, truth: Tensor, confidence: Tensor, valid: Tensor, config: DenseConfig
) -> DenseTerms:
    """prediction and truth [B, S, H, W, C], confidence [B, S, H, W] (>= 1), valid [B, S, H, W] bool."""
    if int(valid.sum()) < config.min_valid:
        zero = (prediction * 0).sum() + (confidence * 0).sum()
        return DenseTerms(zero, zero, zero)
    parts = [slice(0, 1), slice(1, None)] if config.first_frame_apart else [slice(None)]
    maps = [_Map(*(x[:, part].flatten(0, 1) for x in (prediction, truth, confidence, valid))) for part in parts]
    pixels = [_pixel_losses(m, config) for m in maps]
    weights = [1, prediction.shape[1] - 1] if config.first_frame_apart else [1]
    return DenseTerms(
        mean_or_zero(torch.cat([confident for confident, _ in pixels])),
        mean_or_zero(torch.cat([plain for _, plain in pixels])),
        torch.stack([w * detail_loss(m, config) for w, m in zip(weights, maps)]).sum(),
    )


def _pixel_losses(m: _Map, config: DenseConfig) -> tuple[Tensor, Tensor]:
    """Confidence-weighted and plain error of the valid pixels, each without its own outliers."""
    error = (m.prediction[m.valid] - m.truth[m.valid]).norm(dim=-1)
    if config.squared:
        error = error.square()
    weighted = _weigh(error, m.confidence[m.valid], config)
    return drop_outliers(weighted, config.quantile), drop_outliers(error, config.quantile)


def _weigh(loss: Tensor, confidence: Tensor, config: DenseConfig) -> Tensor:
    return config.gamma * loss * confidence - config.alpha * confidence.log()


def detail_loss(m: _Map, config: DenseConfig) -> Tensor:
    """The configured detail term, averaged over strides."""
    if config.detail == "none" or not len(m.prediction):
        return (m.prediction * 0).sum()
    one_stride, strides = {
        "gradient": (gradient_loss, GRADIENT_STRIDES),
        "normal": (normal_loss, NORMAL_STRIDES),
    }[config.detail]
    strided = [_Map(*(x[:, ::s, ::s] for x in m)) for s in strides]
    return torch.stack([one_stride(x, config) for x in strided]).mean()


def gradient_loss(m: _Map, config: DenseConfig) -> Tensor:
    """L1 of the error's differences between horizontal and vertical neighbours, per valid pixel and channel."""
    error = torch.where(m.valid[..., None], m.prediction - m.truth, 0)
    total = error.new_zeros(len(error))
    for axis in (1, 2):
        both = _pairs(m.valid, axis, torch.logical_and)[..., None]
        step = (_pairs(error, axis, torch.sub).abs() * both).clamp(max=HARD_MAX)
        if config.detail_confident:
            # The reference weighs by the second pixel's confidence and charges the log of every pair, valid or not.
            step = _weigh(step, m.confidence.narrow(axis, 1, step.shape[axis])[..., None], config)
        total = total + step.sum((1, 2, 3))
    if config.image_cap is not None:
        total = total.clamp(max=config.image_cap)
    return total.sum() / (m.valid.sum() * error.shape[-1]).clamp_min(1)


def _pairs(x: Tensor, axis: int, combine: object) -> Tensor:
    """combine(second, first) of neighbours along `axis`."""
    n = x.shape[axis] - 1
    return combine(x.narrow(axis, 1, n), x.narrow(axis, 0, n))  # type: ignore[operator]


def normal_loss(m: _Map, config: DenseConfig) -> Tensor:
    """Mean of 1 - cos between the normals of both maps; four normals per pixel, one per pair of neighbours."""
    ours, known = _normals(m.prediction, m.valid)
    theirs, _ = _normals(torch.where(m.valid[..., None], m.truth, 0), m.valid)
    loss = 1 - (ours * theirs).sum(-1)
    if config.detail_confident:
        loss = _weigh(loss, m.confidence.expand_as(loss), config)
    return torch.where(known, loss, 0).sum() / known.sum().clamp_min(1)


def _normals(points: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Points [N, H, W, 3] -> unit normals [4, N, H, W, 3] and whether their three pixels are valid [4, N, H, W]."""
    padded = F.pad(points, (0, 0, 1, 1, 1, 1))
    inside = F.pad(valid, (1, 1, 1, 1))
    shifts = ((0, 1), (1, 0), (2, 1), (1, 2))  # up, left, down, right: neighbours in turn span one normal each
    height, width = valid.shape[1:]
    arms = [padded[:, r : r + height, c : c + width] - points for r, c in shifts]
    there = [inside[:, r : r + height, c : c + width] & valid for r, c in shifts]
    normals = torch.stack([torch.cross(arms[i], arms[(i + 1) % 4], dim=-1) for i in range(4)])
    known = torch.stack([there[i] & there[(i + 1) % 4] for i in range(4)])
    return F.normalize(normals, dim=-1), known
