"""Snap masks to the picture's edges: without weights (guided filter, GrabCut) or with SAM2 prompts (supplement 2.2).

Choices
- Input and output are labels 0/1/255, or a probability map that is cut at 0.5 first; unknown pixels stay unknown.
- The guided filter (He et al. 2013) only moves the border by its radius; GrabCut redraws each piece inside a band
  around its border from colour models and keeps the old piece when the colours do not tell the two sides apart.
- SAM2 is prompted per connected piece with its box, its innermost point and the piece itself; the answer must overlap
  the piece, or the piece stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from openmore.errors import ConfigError
from openmore.types import MOVING, STATIC, UNKNOWN

Refiner = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (labels [H, W] uint8, image [H, W, 3] uint8) -> labels
NAMES = ("none", "guided", "grabcut", "sam2-tiny", "sam2-small", "sam2-base-plus", "sam2-large")
_SMALLEST = 16  # pixels; smaller pieces are dropped rather than refined


def require_name(name: str) -> None:
    """Raise ConfigError listing the names unless `name` is one of them, with or without a folder of weights."""
    kind, _, weights = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind not in NAMES or (weights and not kind.startswith("sam2")):
        raise ConfigError(f"refinement {name!r} is unknown: choose one of {', '.join(NAMES)} (sam2-tiny:FOLDER)")


def get_refiner(name: str) -> Refiner | None:
    """The refinement called `name`; None for "none". Raises ConfigError listing the names."""
    require_name(name)
    kind, _, weights = name.partition(":")
    if kind == "none":
        return None
    if kind in ("guided", "grabcut"):
        return guided if kind == "guided" else grabcut
    from openmore.masks.sam2 import SAM2Predictor

    return SAM2Predictor.from_pretrained(kind.removeprefix("sam2-"), weights or None).refine


def from_probability(probability: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """The motion head's probability [H, W] as labels."""
    return np.where(probability > threshold, MOVING, STATIC).astype(np.uint8)


def guided(labels: np.ndarray, image: np.ndarray, radius: float = 6.0, softness: float = 0.02) -> np.ndarray:
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


def grabcut(labels: np.ndarray, image: np.ndarray, band: float = 5.0) -> np.ndarray:
    """GrabCut per piece: pixels within `band` (at 518 px width) of the piece's border may join or leave it."""
    width = max(round(band * labels.shape[1] / 518), 2)
    out = np.zeros(labels.shape, bool)
    for piece, window in pieces(labels == MOVING, margin=3 * width):
        part, bgr = piece[window], np.ascontiguousarray(image[window][..., ::-1])
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
