"""Relative poses of image pairs: RRA, RTA and AUC as in the Co3Dv2 tables (PoseDiffusion, VGGT, Pi3 lineage).

Choices
- All unordered pairs of a set of images; the relative pose is cam_j_from_cam_i of each.
- The published translation error is sign-ambiguous: it comes from the squared cosine, so a reversed direction is
  perfect and 90 degrees is the worst. The signed variant (0..180) is reported beside it, never instead of it.
- A pair whose camera does not move has no direction; as published it gets 90 degrees in both variants.
- AUC@t is the mean over 1-degree bins of the cumulative share of max(rotation, translation): perfect is exactly 1, an
  error of exactly t still counts (the last bin is closed), and there is no interpolation.
- Two published aggregations: "pooled" (Pi3: one AUC over all pairs of all categories) and "by category" (VGGT: the
  mean of the categories' AUCs). They differ by whole points and are never mixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openmore.errors import DataError
from openmore.evaluation.poses import invert, rotation_angles

_STILL = 1e-12  # a shorter baseline has no direction
_UNKNOWN = 1e6  # degrees; what a NaN error counts as


@dataclass(frozen=True)
class PairErrors:
    """Errors of P image pairs, degrees."""

    rotation: np.ndarray  # [P] in 0..180
    translation: np.ndarray  # [P] in 0..90, sign-ambiguous, as published
    translation_signed: np.ndarray  # [P] in 0..180

    def __len__(self) -> int:
        return len(self.rotation)

    @staticmethod
    def concatenate(parts: Sequence[PairErrors]) -> PairErrors:
        """The pairs of several image sets together."""
        fields = ("rotation", "translation", "translation_signed")
        return PairErrors(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def pair_errors(estimate: np.ndarray, truth: np.ndarray) -> PairErrors:
    """Errors of all N(N-1)/2 pairs; both world_from_cam [N, 4, 4]. Raises DataError on different lengths or N < 2."""
    if estimate.shape != truth.shape or len(truth) < 2:
        raise DataError(f"relative poses need the same 2 or more images: {len(estimate)} estimated, {len(truth)} true")
    i, j = np.triu_indices(len(truth), k=1)
    relative_est = invert(estimate[j]) @ estimate[i]
    relative_gt = invert(truth[j]) @ truth[i]
    R_error = np.swapaxes(relative_gt[:, :3, :3], -1, -2) @ relative_est[:, :3, :3]
    signed = direction_angles(relative_est[:, :3, 3], relative_gt[:, :3, 3])
    rotation = np.degrees(rotation_angles(R_error))
    return PairErrors(known(rotation), known(np.minimum(signed, 180 - signed)), known(signed))


def direction_angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles [P] in degrees between vectors [P, 3]; 90 where one of them has no direction."""
    length_a, length_b = np.linalg.norm(a, axis=-1), np.linalg.norm(b, axis=-1)
    sine, cosine = np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)
    angle = np.degrees(np.arctan2(sine, cosine))
    return np.where((length_a < _STILL) | (length_b < _STILL), 90.0, angle)


def known(degrees: np.ndarray) -> np.ndarray:
    """NaN counts as a very large error."""
    return np.where(np.isfinite(degrees), degrees, _UNKNOWN)


def share_below(degrees: np.ndarray, threshold: float) -> float:
    """Share of errors [P] strictly below the threshold: RRA@t, RTA@t."""
    return float(np.mean(degrees < threshold))


def auc(rotation: np.ndarray, translation: np.ndarray, threshold: int = 30) -> float:
    """AUC@threshold of max(rotation, translation) [P], in 0..1, with the published 1-degree histogram."""
    worst = np.maximum(rotation, translation)
    histogram, _ = np.histogram(worst, bins=np.arange(threshold + 1))
    return float(np.mean(np.cumsum(histogram) / len(worst)))


def summary(errors: PairErrors, threshold: int = 30) -> dict[str, float]:
    """RRA, RTA and AUC at one threshold, with the signed variants, all in 0..1."""
    return {
        f"rra@{threshold}": share_below(errors.rotation, threshold),
        f"rta@{threshold}": share_below(errors.translation, threshold),
        f"auc@{threshold}": auc(errors.rotation, errors.translation, threshold),
        f"rta_signed@{threshold}": share_below(errors.translation_signed, threshold),
        f"auc_signed@{threshold}": auc(errors.rotation, errors.translation_signed, threshold),
    }


def pooled(categories: Mapping[str, Sequence[PairErrors]], threshold: int = 30) -> dict[str, float]:
    """All pairs of all sequences of all categories as one set (Pi3, MoRe)."""
    return summary(PairErrors.concatenate([part for parts in categories.values() for part in parts]), threshold)


def by_category(categories: Mapping[str, Sequence[PairErrors]], threshold: int = 30) -> dict[str, float]:
    """The mean over categories of each category's own numbers (VGGT)."""
    each = [summary(PairErrors.concatenate(parts), threshold) for parts in categories.values()]
    return {key: float(np.mean([values[key] for values in each])) for key in each[0]}
