"""Depth errors after the alignments that the video-depth tables use.

Choices
- One alignment for the whole sequence, as published; per-frame alignment is the caller's loop.
- "scale": 10 Weiszfeld steps for min_s sum |s p - g| from s = mean(g)/mean(p), s >= 1e-3 (CUT3R lineage). "scale_lsq"
  and "median" are the alternatives other tables use; "metric" leaves the prediction alone.
- Ten steps end before the optimum, where the last digits decide: a pixel hit by chance weighs 1e8. A constant depth
  scored 0.80 and 0.88 on one clip by two kernels of one BLAS; numpy's own sums agree with and without AVX-512.
- "scale_shift": the published Adam descent on sum |s p + t - g| from the median ratio. Its step of 1e-4 for at most
  1,000 steps hardly moves, so published numbers depend on these constants. "scale_shift_lsq" is the honest optimum.
- delta clamps the prediction at 1e-5; negative aligned depth is therefore a miss, not an error.
- A data set's value is the mean over sequences weighted by valid pixels (as published); the plain mean is kept too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from openmore.errors import ConfigError, DataError

SMALLEST_SCALE = 1e-3
WEISZFELD_STEPS, WEISZFELD_FLOOR = 10, 1e-8
ADAM_STEPS, ADAM_RATE, ADAM_BETAS = 1000, 1e-4, (0.9, 0.999)
SMALLEST_PREDICTION = 1e-5  # for the ratio in delta


@dataclass(frozen=True)
class DepthErrors:
    """Errors over the valid pixels of one sequence."""

    abs_rel: float  # mean |p - g| / g
    rmse: float  # unit of the truth
    delta_1: float  # share with max(p/g, g/p) < 1.25
    delta_2: float  # ... < 1.25^2
    delta_3: float  # ... < 1.25^3
    scale: float
    shift: float
    pixels: int

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def depth_errors(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    align: str = "scale",
    cap: float | None = None,
    clip: float | None = None,
    mask: np.ndarray | None = None,
) -> DepthErrors:
    """Errors of `prediction` against `truth`, both [..., H, W] at the truth's resolution.

    Args:
        align: a key of `ALIGNMENTS`.
        cap: truth at or beyond this depth is ignored (70 for Sintel and Bonn, None for KITTI).
        clip: the aligned prediction is limited to this depth (70 for Sintel).
        mask: [..., H, W] bool, further pixels to keep.

    Raises:
        DataError: shapes differ, no valid pixel, or the prediction is not finite at a valid pixel.
        ConfigError: unknown alignment.
    """
    p, g = valid_pixels(prediction, truth, cap, mask)
    if align not in ALIGNMENTS:
        raise ConfigError(f"depth alignment {align!r} is unknown: choose one of {', '.join(ALIGNMENTS)}")
    scale, shift = ALIGNMENTS[align](p, g)
    aligned = scale * p + shift
    if clip is not None:
        aligned = np.minimum(aligned, clip)
    return measure(aligned, g, scale, shift)


def valid_pixels(
    prediction: np.ndarray, truth: np.ndarray, cap: float | None, mask: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth [P] float64 where the truth counts."""
    if prediction.shape != truth.shape:
        raise DataError(f"predicted depth is {list(prediction.shape)}, truth {list(truth.shape)}: resize it first")
    valid = np.isfinite(truth) & (truth > 0)
    if cap is not None:
        valid &= truth < cap
    if mask is not None:
        valid &= mask
    if not valid.any():
        raise DataError(f"no pixel has true depth (cap {cap}): check the depth files and their scale")
    p, g = prediction[valid].astype(np.float64), truth[valid].astype(np.float64)
    if not np.isfinite(p).all():
        raise DataError(f"predicted depth is not finite at {int((~np.isfinite(p)).sum())} valid pixels: not comparable")
    return p, g


def measure(aligned: np.ndarray, truth: np.ndarray, scale: float = 1.0, shift: float = 0.0) -> DepthErrors:
    """Errors of aligned depth [P] against truth [P]; no masks, no alignment."""
    error = np.abs(aligned - truth)
    safe = np.maximum(aligned, SMALLEST_PREDICTION)
    ratio = np.maximum(safe / truth, truth / safe)
    return DepthErrors(
        abs_rel=float(np.mean(error / truth)),
        rmse=float(np.sqrt(np.mean(error**2))),
        delta_1=float(np.mean(ratio < 1.25)),
        delta_2=float(np.mean(ratio < 1.25**2)),
        delta_3=float(np.mean(ratio < 1.25**3)),
        scale=scale,
        shift=shift,
        pixels=len(truth),
    )


def scale_l1(p: np.ndarray, g: np.ndarray) -> tuple[float, float]:
    """Published "scale": iteratively reweighted least squares for the L1 optimum."""
    scale = max(g.mean() / max(p.mean(), 1e-12), SMALLEST_SCALE)
    pg, pp, weight, term = p * g, p * p, np.empty_like(p), np.empty_like(p)
    for _ in range(WEISZFELD_STEPS):  # in place: these are tens of millions of pixels
        np.multiply(p, scale, out=weight)
        weight -= g
        np.abs(weight, out=weight)
        weight += WEISZFELD_FLOOR
        np.reciprocal(weight, out=weight)
        over = float(np.multiply(weight, pg, out=term).sum())
        scale = max(over / max(float(np.multiply(weight, pp, out=term).sum()), 1e-300), SMALLEST_SCALE)
    return float(scale), 0.0


def scale_lsq(p: np.ndarray, g: np.ndarray) -> tuple[float, float]:
    """Least-squares scale."""
    return max(float(p @ g / max(p @ p, 1e-300)), SMALLEST_SCALE), 0.0


def scale_median(p: np.ndarray, g: np.ndarray) -> tuple[float, float]:
    """Ratio of the medians."""
    return float(np.median(g) / max(np.median(p), 1e-12)), 0.0


def scale_shift_adam(p: np.ndarray, g: np.ndarray) -> tuple[float, float]:
    """Published "scale and shift": Adam on the sum of absolute residuals from (median ratio, 0)."""
    theta = np.array([np.median(g) / max(np.median(p), 1e-12), 0.0])
    first, second = np.zeros(2), np.zeros(2)
    for step in range(1, ADAM_STEPS + 1):
        sign = np.sign(theta[0] * p + theta[1] - g)
        gradient = np.array([sign @ p, sign.sum()])
        first = ADAM_BETAS[0] * first + (1 - ADAM_BETAS[0]) * gradient
        second = ADAM_BETAS[1] * second + (1 - ADAM_BETAS[1]) * gradient**2
        corrected = first / (1 - ADAM_BETAS[0] ** step), second / (1 - ADAM_BETAS[1] ** step)
        theta = theta - ADAM_RATE * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
    return float(theta[0]), float(theta[1])


def scale_shift_lsq(p: np.ndarray, g: np.ndarray) -> tuple[float, float]:
    """Least-squares scale and shift; a constant prediction gets scale 1."""
    variance = p.var()
    scale = 1.0 if variance < 1e-18 else float(((p - p.mean()) * (g - g.mean())).mean() / variance)
    return scale, float(g.mean() - scale * p.mean())


ALIGNMENTS: dict[str, Callable[[np.ndarray, np.ndarray], tuple[float, float]]] = {
    "scale": scale_l1,
    "scale_lsq": scale_lsq,
    "median": scale_median,
    "scale_shift": scale_shift_adam,
    "scale_shift_lsq": scale_shift_lsq,
    "metric": lambda p, g: (1.0, 0.0),
}


def resize_depth(depth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Depth [S, h, w] -> [S, H, W] float32 by bicubic interpolation, as the tables do before comparing."""
    import cv2

    size = (shape[1], shape[0])
    return np.stack([cv2.resize(d.astype(np.float32), size, interpolation=cv2.INTER_CUBIC) for d in depth])


def weighted_mean(errors: Sequence[DepthErrors]) -> dict[str, float]:
    """A data set's values: weighted by valid pixels as published, and the plain mean as `*_plain`."""
    weights = np.array([e.pixels for e in errors], dtype=np.float64)
    out: dict[str, float] = {}
    for key in ("abs_rel", "rmse", "delta_1", "delta_2", "delta_3"):
        values = np.array([getattr(e, key) for e in errors])
        out[key] = float(values @ weights / weights.sum())
        out[f"{key}_plain"] = float(values.mean())
    return out
