"""What moves, from where pixels went against where the solved cameras and the depth say they should have.

Choices
- A residual is judged against what is not known: the noise of flow and cameras in all directions, and the uncertainty
  of the depth along the epipolar line only. A pixel of unknown depth can still be caught moving across its line.
- The judge of colours is that of `openmore.masks.evidence`: flow that explains the picture no better than standing
  still does proves nothing, and a pixel neither explains is lost (a fast mover). Per pixel a majority decides.
- Votes are log odds, smoothed within the picture's edges: a blank part of a mover goes with its outline.
- A mover that goes along its epipolar line (a car straight ahead) looks like another depth; it is not found here.
- Under a moving camera, specks are errors of flow more often than movers: the smallest ones are dropped. Small holes
  within movers are filled: what is plain or dark in the middle of a mover shows no motion of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openmore.flow.base import FlowResult
from openmore.masks.decision import Rule, floor_of
from openmore.masks.ego import Ego
from openmore.masks.evidence import Evidence, ask_the_picture, combine
from openmore.refinement.dense.flow_window import inside
from openmore.refinement.dense.smoothing import Edges, smooth

NOISE_FACTOR = 2.5
LOST_WITHIN = 2.0  # pixels that the depth leaves open, at most, for a lost pixel to count
LOOKS_STILL = 2.0  # colour error of standing still, in units of noise, below which a residual proves nothing
STILL_SCORE = 0.5
STRENGTH = 5.0
LEAST_ODDS, MOST_ODDS = -2.0, 4.0
STATIC_ODDS, STATIC_WEIGHT = -1.0, 0.5  # where nobody can tell
MOVING = 0.5  # probability from which a pixel counts as moving
SPECK = 0.004  # share of the picture; at half of it most synthetic clips without movers showed some
TINY, SMALL = 0.0005, 0.003  # shares of the picture, of movers that fusion found: it makes fewer specks
SURE, SURER = 0.9, 0.99  # probabilities that a mover and a small one must reach somewhere
HOLE = 0.02  # share of the picture; at a quarter of it half of the gain is left


@dataclass(frozen=True)
class Found:
    """What the residuals of one frame say, [H, W] float32 each."""

    probability: np.ndarray  # of moving, 0..1
    odds: np.ndarray  # log odds before smoothing; NaN = undecided
    off: np.ndarray  # the residual most neighbours agree on, 1 = the limit of standing still; NaN = undecided
    wide: np.ndarray  # the same of frames farther away, without asking for colours: slow movers show there


def departure(expected: np.ndarray, along: np.ndarray, seen: np.ndarray, floor: float) -> np.ndarray:
    """Residual [H, W] of one frame against another in pixels, less what an unknown depth allows; NaN = undecided.

    `expected` [2, H, W]: where a static pixel would be; `along` [2, H, W]: how far its depth's uncertainty moves that;
    `seen` [3, H, W]: where flow found it, and the confidence. All in pixels of a grid [H, W].
    """
    off = seen[:2] - expected
    length2 = np.square(along).sum(0)
    forward = np.square((off * along).sum(0)) / np.maximum(length2, 1e-12)  # squared part along the epipolar line
    score = np.sqrt(np.maximum(np.square(off).sum(0) - forward * length2 / (length2 + floor**2), 0))
    return np.where(inside(expected, seen.shape[1:]) & (seen[2] > 0.5), score, np.nan).astype(np.float32)


def limit(noise: float, width: int, rule: Rule) -> float:
    """Pixels below which a residual is noise."""
    return max(floor_of(rule, width, 0.0), NOISE_FACTOR * noise)


def evidence(
    other: int, expected: np.ndarray, along: np.ndarray, seen: np.ndarray, floor: float, image: np.ndarray,
    other_image: np.ndarray, rule: Rule,
) -> np.ndarray:  # fmt: skip
    """Residual [H, W] of one frame against another, 1 = the limit of what standing still can show; NaN = undecided.

    Where, how far and what was seen as in `departure`, whose `floor` is the limit; pictures [H, W, 3].
    """
    height, width = seen.shape[1:]
    v, u = np.mgrid[:height, :width].astype(np.float32)
    valid = inside(expected, (height, width))
    residual = departure(expected, along, seen, floor)
    here = np.stack((u, v))
    static = Ego(np.where(valid, expected - here, 0).astype(np.float32), valid, "geometry")
    flow = FlowResult(seen[:2] - here, seen[2])
    told = Evidence(other, residual, flow, floor / rule.noise_factor, "geometry")
    told = ask_the_picture(told, static, image, other_image, rule)
    score = told.residual / np.float32(floor)
    if told.mismatch is not None:
        # The ground beside a mover takes its flow, but not its colours.
        score = np.where(told.mismatch < LOOKS_STILL, np.minimum(score, STILL_SCORE), score)
    # Without a place to look at, not finding the pixel there says nothing.
    return np.where(np.isinf(score) & (np.square(along).sum(0) > LOST_WITHIN**2), np.nan, score)


def log_odds(scores: Sequence[np.ndarray]) -> np.ndarray:
    """[H, W] float32 of moving, from scores against several frames; NaN where fewer than half could tell."""
    told = (~np.isnan(np.stack(scores))).sum(0)
    odds = np.clip(2 * (combine(list(scores)) - 1), LEAST_ODDS, MOST_ODDS)
    return np.where(2 * told >= len(scores), odds, np.nan).astype(np.float32)


def probability(odds: np.ndarray, edges: Edges) -> np.ndarray:
    """[H, W] float32, 0..1: the odds smoothed within edges."""
    known = np.isfinite(odds)
    weighted, total = smooth(np.stack((np.where(known, odds, 0), known)).astype(np.float32), edges, STRENGTH)
    settled = (weighted + STATIC_ODDS * STATIC_WEIGHT) / (total + STATIC_WEIGHT)
    return (1 / (1 + np.exp(-2 * settled))).astype(np.float32)


def tidied(probability: np.ndarray) -> np.ndarray:
    """`probability` [H, W] without specks of movement and without holes in what moves."""
    return _without_holes(_without_specks(probability))


def without_doubtful(probability: np.ndarray) -> np.ndarray:
    """Fused `probability` [H, W] without movers that are nowhere surely one; the smaller, the surer they must be."""
    pieces, area = _pieces(probability > MOVING)
    surest = np.zeros(len(area), np.float32)
    np.maximum.at(surest, pieces, probability)
    share = area / probability.size
    least = np.where(share < TINY, np.inf, np.where(share < SMALL, SURER, SURE))
    return _turned(probability, pieces, surest < least)


def _without_specks(probability: np.ndarray) -> np.ndarray:
    pieces, area = _pieces(probability > MOVING)
    return _turned(probability, pieces, area < SPECK * probability.size)


def _without_holes(probability: np.ndarray) -> np.ndarray:
    pieces, area = _pieces(probability <= MOVING)
    rim = np.concatenate((pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]))
    hole = area < HOLE * probability.size
    hole[rim] = False  # a mover that is cut by the picture's edge need not be closed
    return _turned(probability, pieces, hole)


def _pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected pieces of a mask [H, W], numbered from 1, and the pixels of each number."""
    import cv2

    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return np.asarray(pieces, np.intp), stats[:, cv2.CC_STAT_AREA]


def _turned(probability: np.ndarray, pieces: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """The pieces that are `wrong` [numbers] with the opposite probability; 0 is no piece."""
    wrong[0] = False
    return np.where(wrong[pieces], 1 - probability, probability).astype(np.float32)
