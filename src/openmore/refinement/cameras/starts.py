"""Where the maps of a short shot begin, and which of them is taken.

Choices
- Planes allow two motions and few frames several lenses, and a solve stays in the valley it began in: a short shot is
  mapped from several focal lengths and pairs of frames until some maps are as good as any. The first two have little in
  common. A long shot sorts itself out.
- Where even the best map leaves much unexplained, more are tried, in shots that are not too long: the pair with most
  parallax may hold a large mover, and what grows from it swallows both. A shorter lens and a later pair escape it.
- Where a plane fills the shot, two maps may well agree on its other motion: three have to be as good.
- Support, a pixel wide, does not see a tenth of a pixel: maps that explain as much are told apart by their error.
- Where neither tells, the first is taken: it began with the focal length that pairs of frames vote for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmore.refinement.cameras.focal import intrinsics
from openmore.refinement.report import Fit

SHORT, LONG = 24, 100  # frames: below, several starts; above, one and no other
MORE_OF_LONG = 3  # starts of what lies between, where the first explains little
SPREAD = 1.6  # between the guess and a focal length that is tried beside it
ENOUGH, ENOUGH_OF_PLANES = 2, 3  # maps that are as good as any
POOR = 0.7  # of all observations, as support: of 83 maps of synthetic shots three had less, two of them wrong
AS_MUCH = 0.98  # of the best support, and of the observations in the frames that have a place
AS_LITTLE = 0.9  # of an error is no less

Start = tuple[np.ndarray, int]


def starts(K: np.ndarray, guess: np.ndarray, frames: int, known: bool) -> tuple[list[Start], list[Start]]:
    """Intrinsics [3, 3] to begin a map with, and the rank of the pair of frames: 0 holds most structure.

    `K` is what the pairs of frames vote for, `guess` the network's, or both are what is `known`. The second list is for
    shots that the first leaves unexplained (`poor`).
    """
    if known:
        usual, more = [(K, rank) for rank in range(4)], [(K, rank) for rank in range(4, 8)]
    else:
        focal, aspect, center = guess[0, 0], guess[1, 1] / guess[0, 0], guess[:2, 2]
        shorter, longer = (intrinsics(f, aspect, center) for f in (focal / SPREAD, focal * SPREAD))
        other = max(shorter, longer, key=lambda L: abs(np.log(L[0, 0] / K[0, 0])))  # what the vote is farther from
        usual = [(K, 0), (other, 1), (K, 2), (guess, 0), (K, 1), (K, 3)]
        more = [(shorter, 3), (guess, 2), (longer, 3), (guess, 4), (shorter, 4), (guess, 1), (longer, 2), (shorter, 2)]
    if frames <= SHORT:
        return usual, more
    return usual[:1], more[:MORE_OF_LONG] if frames <= LONG else []


def poor(fits: Sequence[Fit], observations: int) -> bool:
    """Whether the best map leaves so much of so many `observations` that it may well be in a wrong valley."""
    return max((fit.support for fit in fits), default=0.0) < POOR * observations


def as_good(fits: Sequence[Fit]) -> list[int]:
    """The maps that explain as much as any, of as many frames, with as little error."""
    most, seen = (max((getattr(fit, key) for fit in fits), default=0) for key in ("support", "observations"))
    found = [i for i, fit in enumerate(fits) if fit.support >= AS_MUCH * most]
    found = [i for i in found if fits[i].observations >= AS_MUCH * seen] or found  # frames left out are not seen
    least = min((fits[i].median_px for i in found), default=0.0)
    return [i for i in found if AS_LITTLE * fits[i].median_px <= least]
