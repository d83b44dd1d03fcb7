"""Where the maps of a short shot begin, and which of them is taken.

Choices
- Planes allow two motions and few frames several lenses, and a solve stays in the valley it began in: a short shot is
  mapped from several focal lengths and pairs of frames, unless the first two, which have little in common, end at the
  same. A long shot sorts itself out.
- Of maps that explain as much, the one with the least error is taken: support does not see a tenth of a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmore.refinement.cameras.focal import intrinsics
from openmore.refinement.report import Fit

SHORT = 24  # frames
SPREAD = 1.6  # focal lengths tried beside the guess: that factor shorter and longer
AS_MUCH = 0.98  # of the best support
SAME_ERROR, SAME_FOCAL = 0.9, 0.05  # ratio of errors and difference of log focal lengths of two maps that are the same

Start = tuple[np.ndarray, int]


def starts(K: np.ndarray, guess: np.ndarray, frames: int, known: bool) -> list[Start]:
    """Intrinsics [3, 3] to begin a map with, and the rank of the pair of frames: 0 holds most structure.

    `K` is what the pairs of frames vote for, `guess` the network's, or both are what is `known`.
    """
    if frames > SHORT:
        return [(K, 0)]
    if known:
        return [(K, rank) for rank in range(4)]
    focal, aspect, center = guess[0, 0], guess[1, 1] / guess[0, 0], guess[:2, 2]
    shorter, longer = (intrinsics(focal * factor, aspect, center) for factor in (1 / SPREAD, SPREAD))
    return [(K, 0), (shorter, 1), (guess, 0), (longer, 0), (K, 1), (shorter, 0), (guess, 1), (longer, 1)]


def same(a: Fit, b: Fit, focals: tuple[float, float]) -> bool:
    """Whether two maps explain as much, with the same error and focal length."""
    support, error = sorted((a.support, b.support)), sorted((a.median_px, b.median_px))
    apart = abs(float(np.log(focals[0] / focals[1])))
    return support[0] >= AS_MUCH * support[1] and error[0] >= SAME_ERROR * error[1] and apart < SAME_FOCAL


def best(fits: Sequence[Fit]) -> int:
    """The map to take: the least error among those that explain as much as any. Frames left out support nothing."""
    most = max(fit.support for fit in fits)
    return min((i for i, fit in enumerate(fits) if fit.support >= AS_MUCH * most), key=lambda i: fits[i].median_px)
