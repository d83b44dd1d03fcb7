"""Snap masks to the picture's edges: without weights (guided filter, GrabCut) or with SAM2 prompts (supplement 2.2).

Choices
- Input and output are labels 0/1/255, or a probability map that is cut at 0.5 first; unknown pixels stay unknown.
- `trim` first cuts a piece back to where colours witness the motion: flow spreads over the blank ground around a mover.
- The guided filter (He et al. 2013) only moves the border by its radius; GrabCut redraws each piece inside a band
  around its border from colour models and keeps the old piece when the colours do not tell the two sides apart. With
  witnesses the models are learned from those alone and may take away the whole rest of a piece.
- SAM2 is prompted per connected piece with its box, its innermost point and the piece itself; the answer must overlap
  the piece, or the piece stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from openmore.errors import ConfigError
from openmore.masks.decision import MOVING, STATIC, UNKNOWN

# (labels [H, W] uint8, image [H, W, 3] uint8, witnesses [H, W] bool or None) -> labels
Refiner = Callable[[np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]
NAMES = ("none", "guided", "grabcut", "sam2-tiny", "sam2-small", "sam2-base-plus", "sam2-large")
_SMALLEST = 16  # pixels; smaller pieces are dropped rather than refined
_WITNESSED = 0.45  # share of witnesses from which a piece is cut back to them: a blank slow mover has few
_SEEDED = 0.1  # share of witnesses from which colour models are learned from them alone


def get_refiner(name: str) -> Refiner | None:
    """The refinement called `name`; None for "none". Raises ConfigError listing the names."""
    kind, _, weights = name.partition(":")
    if kind == "none":
        return None
    if kind in ("guided", "grabcut"):
        return guided if kind == "guided" else grabcut
    if kind in NAMES:
        from openmore.masks.sam2 import SAM2Predictor

        return SAM2Predictor.from_pretrained(kind.removeprefix("sam2-"), weights or None).refine
    raise ConfigError(f"refinement {name!r} is unknown: choose one of {', '.join(NAMES)}")


def from_probability(probability: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """The motion head's probability [H, W] as labels."""
    return np.where(probability > threshold, MOVING, STATIC).astype(np.uint8)


def trim(labels: np.ndarray, seen: np.ndarray, reach: float = 6.0) -> np.ndarray:
    """Cut moving pieces back to their witnesses `seen` [H, W] bool, gaps and holes of `reach` pixels (at 518 px width)
    closed. Pieces with few witnesses stay: colours cannot tell how far a blank surface moves."""
    import cv2

    r = max(round(reach * labels.shape[1] / 518), 2)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
    out = np.zeros(labels.shape, bool)
    for piece, _ in pieces(labels == MOVING):
        witnesses = piece & seen
        if witnesses.sum() < _WITNESSED * piece.sum():
            out |= piece
            continue
        padded = cv2.morphologyEx(np.pad(witnesses.astype(np.uint8), r), cv2.MORPH_CLOSE, kernel)
        out |= piece & without_holes(padded[r:-r, r:-r] > 0)
    return keep_unknown(labels, out)


def without_holes(mask: np.ndarray) -> np.ndarray:
    """A mask [H, W] bool whose enclosed holes are filled."""
    import cv2

    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    cv2.floodFill(outside, None, (0, 0), (2,))
    return outside[1:-1, 1:-1] != 2


def guided(
    labels: np.ndarray, image: np.ndarray, seen: np.ndarray | None = None, radius: float = 6.0, softness: float = 0.02
) -> np.ndarray:
    """Guided filter of the mask by the picture; `radius` in pixels at 518 px width, `softness` in grey levels 0..1."""
    import cv2

    r = max(round(radius * labels.shape[1] / 518), 2)
    guide = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    soft = guided_filter(guide, (labels == MOVING).astype(np.float32), r, softness**2)
    return keep_unknown(labels, soft > 0.5)


def guided_filter(guide: np.ndarray, values: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """He, Sun and Tang (2013), grey guide: the local linear function of `guide` nearest to `values`, both [H, W]."""
    import cv2

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, (2 * radius + 1, 2 * radius + 1))

    mean_g, mean_v = mean(guide), mean(values)
    a = (mean(guide * values) - mean_g * mean_v) / (mean(guide * guide) - mean_g * mean_g + eps)
    b = mean_v - a * mean_g
    return mean(a) * guide + mean(b)


def grabcut(labels: np.ndarray, image: np.ndarray, seen: np.ndarray | None = None, band: float = 5.0) -> np.ndarray:
    """GrabCut per piece: pixels within `band` (at 518 px width) outside the piece's border may join it; those inside
    the band may leave it, or, where witnesses `seen` [H, W] bool are many, all that are none."""
    width = max(round(band * labels.shape[1] / 518), 2)
    out = np.zeros(labels.shape, bool)
    for piece, window in pieces(labels == MOVING, margin=3 * width):
        part, bgr = piece[window], np.ascontiguousarray(image[window][..., ::-1])
        # Colours are compared over a small window, so witnesses reach over the mover's edge and would teach ground.
        witnesses = None if seen is None else _grown(part & seen[window], -round(labels.shape[1] / 518))
        if witnesses is not None and witnesses.sum() >= max(_SEEDED * part.sum(), _SMALLEST):
            out[window] |= _cut_by_witnesses(bgr, part, witnesses, width)
        else:
            out[window] |= _cut(bgr, part, width)
    return keep_unknown(labels, out)


def _cut(bgr: np.ndarray, piece: np.ndarray, band: int) -> np.ndarray:
    import cv2

    core, reach = _grown(piece, -band), _grown(piece, band)
    if not core.any() or reach.all():  # too thin or too large: GrabCut has nothing to learn one side from
        return piece
    state = np.where(piece, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    state[core], state[~reach] = cv2.GC_FGD, cv2.GC_BGD
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(bgr, state, (0, 0, 0, 0), *models, 2, cv2.GC_INIT_WITH_MASK)  # the box is ignored with a mask
    cut = (state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)
    agrees = (cut & piece).sum() > 0.6 * (cut | piece).sum()
    return cut if agrees else piece


def _cut_by_witnesses(bgr: np.ndarray, piece: np.ndarray, witnesses: np.ndarray, band: int) -> np.ndarray:
    import cv2

    reach = _grown(piece, band)
    if (~reach).sum() < _SMALLEST:
        return piece
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    # No rounds: only learn the models, from a picture that consists of the sure pixels.
    sure = np.ascontiguousarray(np.concatenate((bgr[witnesses], bgr[~reach]))[:, None])
    sides = np.repeat(np.array([cv2.GC_FGD, cv2.GC_BGD], np.uint8), [witnesses.sum(), (~reach).sum()])[:, None].copy()
    cv2.grabCut(sure, sides, (0, 0, 0, 0), *models, 0, cv2.GC_INIT_WITH_MASK)
    state = np.where(piece, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    state[_grown(witnesses, -1)], state[~reach] = cv2.GC_FGD, cv2.GC_BGD
    cv2.grabCut(bgr, state, (0, 0, 0, 0), *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    cut = (state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)
    return cut if (cut & witnesses).sum() > 0.5 * witnesses.sum() else piece


def _grown(mask: np.ndarray, radius: int) -> np.ndarray:
    """A mask [H, W] bool dilated by a disk, or eroded for a negative radius."""
    import cv2

    size = 2 * abs(radius) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE if size > 3 else cv2.MORPH_RECT, (size, size))
    return (cv2.dilate if radius > 0 else cv2.erode)(mask.astype(np.uint8), kernel) > 0


def pieces(mask: np.ndarray, margin: int = 0) -> Iterator[tuple[np.ndarray, tuple[slice, slice]]]:
    """Connected pieces of a mask [H, W] bool that are not specks, each with its bounding window grown by `margin`."""
    import cv2

    count, ids, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for piece in range(1, count):
        x, y, w, h, area = stats[piece]
        if area >= _SMALLEST:
            rows, columns = slice(max(y - margin, 0), y + h + margin), slice(max(x - margin, 0), x + w + margin)
            yield ids == piece, (rows, columns)


def keep_unknown(labels: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """`moving` [H, W] bool as labels, unknown where `labels` are."""
    return np.where(labels == UNKNOWN, UNKNOWN, np.where(moving, MOVING, STATIC)).astype(np.uint8)
