"""What one frame shows against another: how far each pixel is from where the camera's motion would have put it.

Choices
- Plain evidence is the paper's |F_pred - F_ego|, where the flow is consistent and the ego flow valid.
- Stabilised evidence first undoes the ego flow: the other picture is warped into this one and flow is estimated between
  the two. Static surfaces then need next to no flow, so fast cameras cost no accuracy; the residual is that flow.
- The picture itself is a second witness: static surfaces look alike where the ego flow leads. `weighed` evidence is the
  geometric mean of the residual and this colour error, each in units of what noise does: flow that went astray on a
  blank surface has no colour error, and an edge that depth or cameras leave a little off has no residual. Where flow is
  lost and the colours differ (fast movers end there), the residual counts as large.
- `ask_the_picture` is the stricter form that openmore.refinement uses, whose depth is uncertain itself: contradicted
  residuals are undecided (NaN), lost ones infinite.
- The other picture's brightness is scaled to this one's, because cameras change their exposure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from openmore.flow.base import FlowEstimator, FlowResult
from openmore.flow.consistency import forward_backward, sample_at
from openmore.masks.decision import Rule, floor_of
from openmore.masks.ego import Ego

_WINDOW = 5  # pixels that a colour difference is averaged over
_BETTER = 0.5  # by how much of the picture's noise the flow must explain better than the ego flow
_LOST = 4.0  # colour difference, in units of the noise, that no static surface shows
_LEAST_NOISE = 0.3  # grey levels; below it rounding decides
_SHARES = 0.03, 4.0  # of the floor: residuals below and above count as these; a lost pixel counts as the larger
_MISMATCHES = 0.25, 8.0  # colour errors in units of the noise, likewise
_TYPICAL = 4.5  # colour error that leaves a residual as it is; one at the level of the noise never shows a mover


@dataclass(frozen=True)
class Evidence:
    """One frame against another."""

    other: int  # frame number of the other picture
    residual: np.ndarray  # [H, W] float32, pixels; NaN = undecided, infinite = lost
    flow: FlowResult  # from this frame to the other
    noise: float  # pixels, median error of the forward-backward check
    ego: str  # model of the ego flow
    mismatch: np.ndarray | None = None  # [H, W] float32, colour error of the ego flow in units of noise; NaN = none


def plain(other: int, static: Ego, flow: FlowResult, noise: float) -> Evidence:
    """The paper's residual of `flow` to the other frame, whose own error is `noise` pixels."""
    valid = static.valid & (flow.confidence > 0.5)
    residual = np.where(valid, np.linalg.norm(flow.flow - static.flow, axis=0), np.nan).astype(np.float32)
    return Evidence(other, residual, flow, noise, static.model)


def stabilised(
    other: int, static: Ego, image: np.ndarray, other_image: np.ndarray, estimator: FlowEstimator
) -> Evidence:
    """The residual as flow between `image` and the other picture after undoing the ego flow.

    Where the ego flow is invalid the warped picture repeats this one, so nothing seems to move; it stays undecided.
    """
    warped = warp(other_image, static.flow)
    usable = static.valid & np.isfinite(warped[..., 0])
    filled = np.where(usable[..., None], _same_exposure(image, warped, usable), image).astype(np.uint8)
    there, back = estimator.both(image, filled)
    valid = usable & (there.confidence > 0.5)
    residual = np.where(valid, np.linalg.norm(there.flow, axis=0), np.nan).astype(np.float32)
    beyond = sample_at(static.flow, there.flow)  # the ego flow of the place the residual flow leads to
    total = there.flow + np.where(np.isnan(beyond), static.flow, beyond)
    total = FlowResult(total, np.where(usable, there.confidence, 0).astype(np.float32))
    return Evidence(other, residual, total, noise_of(there, back, valid), static.model)


def weighed(evidence: Evidence, static: Ego, image: np.ndarray, other_image: np.ndarray, rule: Rule) -> Evidence:
    """The evidence with its residual weighed by the colours: still in pixels, at most about 8 times the floor."""
    by_ego = warp(other_image, static.flow)
    usable = static.valid & np.isfinite(by_ego[..., 0])
    if not usable.any():
        return evidence
    error = difference(image, _same_exposure(image, by_ego, usable))
    mismatch = error / (float(np.median(error[usable])) + _LEAST_NOISE)
    floor = np.float32(max(floor_of(rule, image.shape[1], evidence.noise), 1e-3))
    lost = usable & (evidence.flow.confidence <= 0.5) & (mismatch > _LOST)
    share = np.where(lost, _SHARES[1], np.clip(evidence.residual / floor, *_SHARES))
    weight = np.sqrt(share * np.clip(mismatch, *_MISMATCHES) / _TYPICAL)
    return replace(evidence, residual=np.where(usable, floor * weight, np.nan).astype(np.float32))


def ask_the_picture(
    evidence: Evidence, static: Ego, image: np.ndarray, other_image: np.ndarray, rule: Rule
) -> Evidence:
    """The evidence with residuals removed that colours contradict, and lost pixels marked."""
    by_ego, by_flow = warp(other_image, static.flow), warp(other_image, evidence.flow.flow)
    usable = static.valid & np.isfinite(by_ego[..., 0])
    if not usable.any():
        return evidence
    ego_error = difference(image, _same_exposure(image, by_ego, usable))
    flow_error = difference(image, _same_exposure(image, by_flow, usable))
    noise = float(np.median(ego_error[usable])) + _LEAST_NOISE
    large = evidence.residual > floor_of(rule, image.shape[1], evidence.noise)
    contradicted = large & ~(ego_error > flow_error + _BETTER * noise)  # NaN compares false: undecided
    lost = usable & (evidence.flow.confidence <= 0.5) & (ego_error > _LOST * noise)
    residual = np.where(contradicted, np.nan, evidence.residual)
    mismatch = np.where(usable, ego_error / noise, np.nan).astype(np.float32)
    return replace(evidence, residual=np.where(lost, np.inf, residual).astype(np.float32), mismatch=mismatch)


def combine(residuals: list[np.ndarray]) -> np.ndarray:
    """Per pixel the lower median over pairs of frames: motion needs a majority of those that can tell."""
    ordered = np.sort(np.stack(residuals), axis=0)  # NaN sorts last
    told = (~np.isnan(ordered)).sum(0)
    middle = np.take_along_axis(ordered, (np.maximum(told - 1, 0) // 2)[None], 0)[0]
    return np.where(told > 0, middle, np.nan).astype(np.float32)


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """`image` [H, W, 3] read where `flow` points: float32 [H, W, 3], NaN outside."""
    return sample_at(image.transpose(2, 0, 1).astype(np.float32), flow).transpose(1, 2, 0)


def difference(image: np.ndarray, warped: np.ndarray) -> np.ndarray:
    """Mean colour difference [H, W] in grey levels over a small window; NaN where `warped` has no value."""
    import cv2

    outside = np.isnan(warped[..., 0])
    a = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.7)
    b = cv2.GaussianBlur(np.where(outside[..., None], image, warped).astype(np.float32), (0, 0), 0.7)
    error = cv2.blur(np.abs(a - b).mean(-1), (_WINDOW, _WINDOW))
    return np.where(outside, np.nan, error)


def _same_exposure(image: np.ndarray, warped: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """`warped` with its brightness scaled to `image`'s, from the usable pixels."""
    few = (slice(None, None, 4), slice(None, None, 4))  # a sixteenth of the pixels is plenty for one number
    here, there = image[few][usable[few]].mean(-1), warped[few][usable[few]].mean(-1)
    if len(here) < 16:
        return warped
    gain = np.nanmedian((here + 4) / (there + 4))  # four grey levels keep black pixels from deciding
    return np.clip(warped * gain, 0, 255)


def noise_of(there: FlowResult, back: FlowResult, valid: np.ndarray | None = None) -> float:
    """Median error of the forward-backward check in pixels, over the `valid` [H, W] or the consistent pixels."""
    error = forward_backward(there.flow, back.flow).error[there.confidence > 0.5 if valid is None else valid]
    return float(np.median(error)) if len(error) else 0.0
