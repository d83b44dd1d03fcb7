"""Intrinsics that were given, put to the test: is there a focal length that explains the video far better?

Choices
- Bundle adjustment from the given one does not find out: cameras bend to fit a wrong lens. The clip's own vote for a
  focal length does, and a second solve from there decides. It runs only where the vote, or a last adjustment with the
  focal length set free, disagrees by more than `RATIO`.
- Far better (half the median error): the solved one is used, because cameras that fit a wrong lens are wrong. Somewhat
  better: the given one is kept and the doubt is reported.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openmore.refinement.adjustment.solver import Settings, solve
from openmore.refinement.cameras.shot import ShotInput, ShotSolution, estimate_intrinsics, solve_shot

RATIO = 0.2  # log ratio of focal lengths that is called a disagreement
FAR_BETTER = 0.5  # of the median reprojection error
COST_GAIN = 0.8  # of the robust cost, when the focal length is set free


def check_given(shot: ShotInput, solution: ShotSolution) -> tuple[ShotSolution, str | None]:
    """The solution to go on with, and a warning when the given focal length is doubtful."""
    given = shot.K[0, 0]
    freed = _better_focal(solution) if solution.kind == "moving" else None
    voted = float(estimate_intrinsics(shot)[0, 0])
    if freed is None and not _differs(voted, given):
        return solution, None
    other = solve_shot(replace(shot, known_K=False, start=None))
    if other is not None and _differs(other.state.focal, given) and _far_better(other, solution):
        return other, (
            f"wrong K: a focal length of {given:.0f} px was given, {other.state.focal:.0f} px fit the video far better "
            f"(median error {other.fit.median_px:.2f} instead of {solution.fit.median_px:.2f} px at the working size) "
            "and are used; check K"
        )
    if freed is None:
        return solution, None
    return solution, (
        f"wrong K? a focal length of {given:.0f} px was given, the video suggests {freed:.0f} px (at the working "
        "size); K is kept, check it or leave it out"
    )


def _differs(focal: float, given: float) -> bool:
    return abs(float(np.log(focal / given))) > RATIO


def _far_better(other: ShotSolution, solution: ShotSolution) -> bool:
    return other.fit.support > solution.fit.support and other.fit.median_px < FAR_BETTER * solution.fit.median_px


def _better_focal(solution: ShotSolution) -> float | None:
    """A clearly better focal length close by, in pixels; None when the given one will do."""
    free = solution.placed.copy()
    free[np.flatnonzero(free)[0]] = False
    same = solve(solution.state, solution.obs, Settings(free, iterations=4))
    other = solve(solution.state, solution.obs, Settings(free, free_focal=True, iterations=12))
    better = _differs(other.state.focal, solution.state.focal) and other.cost < COST_GAIN * same.cost
    return other.state.focal if better else None
