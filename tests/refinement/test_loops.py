"""Loop closure: the graph on known drift, and whole maps of a ring whose two ends see the same points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from openmore.refinement.adjustment.bundle import State, exp_so3
from openmore.refinement.adjustment.coupling import STEP, Coupling
from openmore.refinement.adjustment.solver import solve
from openmore.refinement.adjustment.triangulate import triangulate
from openmore.refinement.cameras.shot import ShotInput, ShotSolution, judge, world_from_cam
from openmore.refinement.loops import adjust as loop_adjust
from openmore.refinement.loops import close as loops
from openmore.refinement.loops import pose_graph, sim3
from openmore.refinement.loops.edges import Ties, find_ties, verify_loop
from openmore.refinement.loops.pose_graph import Edges
from openmore.refinement.matching.features import Keypoints
from openmore.refinement.matching.tracks import cut, renumber, table
from openmore.refinement.matching.twoview import Pair
from openmore.refinement.options import RefineOptions
from openmore.refinement.refine import refine
from openmore.refinement.report import LoopReport, RefinementReport
from openmore.refinement.warnings import describe_loops

from .world import ROOM, K, film, position_error, walk

FRAMES, SPAN = 90, 12
REPEATED = 14  # frames that walk over the beginning again
AGAIN = range(0, REPEATED, 3)  # frames found again
COPY = 750


# -- the graph ------------------------------------------------------------------------------------------------------


def ring_of_nodes(count: int = 30) -> np.ndarray:
    """world_from_node [count, 4, 4] on a circle, the first one 1."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    out = np.tile(np.eye(4), (count, 1, 1))
    out[:, :3, :3] = exp_so3(np.stack((0 * angle, angle, 0 * angle), 1))
    out[:, :3, 3] = 5 * np.stack((1 - np.cos(angle), 0.1 * np.sin(3 * angle), np.sin(angle)), 1)
    return out


def drifted(nodes: np.ndarray, drift: np.ndarray) -> np.ndarray:
    """Nodes whose steps are off by `drift` [N - 1, 7]."""
    steps = sim3.inverse(nodes[:-1]) @ nodes[1:] @ sim3.exp(drift)
    out = [nodes[0]]
    for step in steps:
        out.append(out[-1] @ step)
    return np.stack(out)


def edges(nodes: np.ndarray, i: np.ndarray, j: np.ndarray, sigma: float) -> Edges:
    """What these nodes say of each other."""
    measured = sim3.inverse(nodes[i]) @ nodes[j]
    return Edges(i, j, measured, np.tile(np.eye(7) / sigma**2, (len(i), 1, 1)))


def chain(nodes: np.ndarray, sigma: float = 0.05) -> Edges:
    return edges(nodes, np.arange(len(nodes) - 1), np.arange(1, len(nodes)), sigma)


DRIFT = np.array([0.01, 0, 0.01, 0, 0.005, 0, 0.01])


def test_an_even_drift_in_place_direction_and_scale_is_undone() -> None:
    truth = ring_of_nodes()
    drift = np.tile([0.02, -0.01, 0.01, 0.004, 0.006, -0.004, 0.02], (len(truth) - 1, 1))
    before = drifted(truth, drift)
    every = np.arange(1, len(truth))
    after = pose_graph.optimise(before, chain(before), edges(truth, np.zeros(len(every), int), every, 1e-6))
    assert sim3.scale_of(before)[-1] > 1.7
    np.testing.assert_allclose(after, truth, atol=1e-5)


def test_one_loop_brings_a_drifted_ring_near_the_truth() -> None:
    truth = ring_of_nodes()
    before = drifted(truth, np.tile(DRIFT, (len(truth) - 1, 1)))
    after = pose_graph.optimise(before, chain(before), edges(truth, np.array([29]), np.array([0]), 1e-3))
    assert position_error(after, truth) < 0.2 * position_error(before, truth)


def test_of_loops_those_are_kept_that_agree() -> None:
    truth = ring_of_nodes()
    before = drifted(truth, np.tile(DRIFT, (len(truth) - 1, 1)))
    said = edges(truth, np.array([27, 28, 29, 14, 29]), np.array([0, 1, 2, 3, 1]), 1e-2)
    wrong = said.measured.copy()
    wrong[3] = np.eye(4)  # node 14 is opposite and said to be node 3
    wrong[4] = wrong[4] @ sim3.exp(np.array([[0, 0, -1.5, 0, 0, 0, 0]]))[0]
    variance = 0.08**2 * np.arange(30)
    kept = pose_graph.agreeing(before, replace(said, measured=wrong), variance, 1e-4)
    assert kept.tolist() == [True, True, True, False, False]
    alone = replace(said, measured=wrong).select(np.arange(5) == 3)
    assert not pose_graph.agreeing(before, alone, variance, 1e-4).any()


# -- maps -----------------------------------------------------------------------------------------------------------


def ring_walk() -> np.ndarray:
    """world_from_cam [FRAMES, 4, 4]: round a circle looking outwards, the last REPEATED frames over the first ones."""
    angle = 2 * np.pi * np.arange(FRAMES) / (FRAMES - REPEATED) + 0.01 * np.sin(np.arange(FRAMES))
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, :3, :3] = exp_so3(np.stack((0 * angle, angle, 0 * angle), 1))
    poses[:, :3, 3] = 4 * poses[:, :3, 2] + np.array([0, 0.1, 0]) * np.sin(7 * angle)[:, None]
    return np.linalg.inv(poses[0]) @ poses


def seen_points(truth: np.ndarray, noise_px: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(point, frame, pixel) of points around the ring, wherever they fall into a picture.

    Point COPY + i is point i on the opposite side: the same room twice.
    """
    rng = np.random.default_rng(3)
    angle, radius, height = rng.uniform(0, 2 * np.pi, COPY), rng.uniform(6.5, 10, COPY), rng.uniform(-1.5, 1.5, COPY)
    xyz = np.stack((radius * np.sin(angle), height, radius * np.cos(angle)), 1)
    xyz = np.concatenate((xyz, xyz * np.array([-1, 1, -1])))
    xyz[:, 2] -= 4  # the first camera stands at distance 4 from the middle
    R = truth[:, :3, :3].swapaxes(1, 2)
    X = np.einsum("sij,psj->psi", R, xyz[:, None] - truth[:, :3, 3])
    uv = X[..., :2] / np.maximum(X[..., 2:], 0.1) * K[0, 0] + K[:2, 2]
    inside = (X[..., 2] > 0.5) & (uv >= 0).all(-1) & (uv <= 2 * K[:2, 2]).all(-1)
    p, f = np.nonzero(inside)
    return p, f, (uv[p, f] + rng.normal(size=(len(p), 2)) * noise_px).astype(np.float32)


def matched(points_a: np.ndarray, points_b: np.ndarray, a: int, b: int) -> Pair:
    """A pair of frames that see these points."""
    _, at_a, at_b = np.intersect1d(points_a, points_b, return_indices=True)
    return Pair(a, b, np.stack((at_a, at_b), 1), np.eye(3), 0.0, 0.0)


def false_pair(truth: np.ndarray) -> Pair:
    """Frames on opposite sides, matched as if the room were the same."""
    p, f, _ = seen_points(truth, 0.3)
    a, b = 4, 4 + (FRAMES - REPEATED) // 2
    return matched(p[f == a], (p[f == b] + COPY) % (2 * COPY), a, b)


@pytest.fixture(scope="module")
def ring() -> tuple[ShotInput, np.ndarray]:
    """A shot whose tracks are cut, with the far pairs that a look back would find, and the true cameras."""
    truth = ring_walk()
    p, f, uv = seen_points(truth, 0.3)
    rows = [np.flatnonzero(f == s) for s in range(FRAMES)]
    keypoints = [Keypoints(uv[r], np.zeros((0, 128), np.uint8)) for r in rows]
    pairs = [matched(p[rows[a]], p[rows[b]], a, b) for a, b in ((a, a + FRAMES - REPEATED) for a in AGAIN)]
    obs = cut(table(p, f, uv.astype(np.float64), np.full(len(p), np.nan)), SPAN)
    return ShotInput(np.arange(FRAMES), pairs, keypoints, obs, truth, K, True, 240), truth


def solution_of(shot: ShotInput, cameras: np.ndarray) -> ShotSolution:
    """The map these cameras make."""
    R = cameras[:, :3, :3].swapaxes(1, 2)
    t, zero = -(R @ cameras[:, :3, 3:])[..., 0], np.zeros(FRAMES)
    state = State(R, t, np.zeros((0, 4)), K[0, 0], 1.0, K[:2, 2].copy(), zero, zero.copy())
    state = replace(state, points=triangulate(state, shot.obs))
    return ShotSolution("moving", state, np.ones(FRAMES, bool), shot.obs, judge(state, shot.obs))


def bent(truth: np.ndarray) -> np.ndarray:
    """The true cameras with a drift that no track of SPAN frames shows."""
    steps = np.tile([0.002, 0, 0.002, 1e-4, 4e-4, 0, 2e-3], (FRAMES - 1, 1))
    out = drifted(truth, steps)
    out[:, :3, :3] /= sim3.scale_of(out)[:, None, None]
    return out


def test_a_drifted_map_of_noisy_points_is_closed(ring: tuple[ShotInput, np.ndarray]) -> None:
    shot, truth = ring
    open_ = solution_of(shot, bent(truth))
    closed, report = loops.close_loops(shot, open_, SPAN)
    assert report.taken and report.used == report.verified == report.tied == len(shot.pairs)
    assert report.gap_px_before > 5 and report.gap_px_after < 1
    before, after = (position_error(world_from_cam(s.state), truth) for s in (open_, closed))
    assert after < 0.5 * before
    assert closed.fit.support >= 0.995 * open_.fit.support
    R = closed.state.R
    np.testing.assert_allclose(R @ R.swapaxes(1, 2), np.tile(np.eye(3), (FRAMES, 1, 1)), atol=1e-9)
    assert closed.obs.point.max() + 1 == len(closed.state.points)


def test_without_far_pairs_nothing_changes(ring: tuple[ShotInput, np.ndarray]) -> None:
    shot, truth = ring
    open_ = solution_of(shot, bent(truth))
    same, report = loops.close_loops(replace(shot, pairs=[]), open_, SPAN)
    assert same is open_ and report == LoopReport()


def test_a_closed_map_stays_as_it_is(ring: tuple[ShotInput, np.ndarray]) -> None:
    shot, truth = ring
    solution = solution_of(shot, truth)
    same, report = loops.close_loops(shot, solution, SPAN)
    assert same is solution and report.verified and not report.taken


def test_a_turning_camera_has_no_loops(ring: tuple[ShotInput, np.ndarray]) -> None:
    shot, truth = ring
    turning = replace(solution_of(shot, truth), kind="turning")
    assert loops.close_loops(shot, turning, SPAN) == (turning, LoopReport())


def test_places_that_only_look_alike_are_not_tied(ring: tuple[ShotInput, np.ndarray]) -> None:
    """Wrong matches between opposite sides: no similarity holds them together."""
    shot, truth = ring
    rng = np.random.default_rng(4)
    count = [len(shot.keypoints[s]) for s in (10, 50)]
    wrong = Pair(10, 50, np.stack([rng.permutation(min(count))[:60] for _ in count], 1), np.eye(3), 0.0, 0.0)
    solution = solution_of(shot, truth)
    same, report = loops.close_loops(replace(shot, pairs=[wrong]), solution, SPAN)
    assert same is solution and report.tied == 1 and report.verified == 0


def test_a_loop_that_fits_but_is_false_is_not_taken(ring: tuple[ShotInput, np.ndarray]) -> None:
    """The same room twice: matches agree on one similarity, but the tracks on the way do not bend so far."""
    shot, truth = ring
    solution = solution_of(shot, truth)
    same, report = loops.close_loops(replace(shot, pairs=[false_pair(truth)]), solution, SPAN)
    assert same is solution and report.verified == 1 and not report.taken


def test_a_false_loop_among_right_ones_has_no_say(ring: tuple[ShotInput, np.ndarray]) -> None:
    shot, truth = ring
    open_ = solution_of(shot, bent(truth))
    clean, _ = loops.close_loops(shot, open_, SPAN)
    closed, report = loops.close_loops(replace(shot, pairs=[*shot.pairs, false_pair(truth)]), open_, SPAN)
    assert report.taken and report.verified == len(shot.pairs) + 1 and report.used == len(shot.pairs)
    assert position_error(world_from_cam(closed.state), world_from_cam(clean.state)) < 1e-6


def test_ties_are_different_points_far_apart(ring: tuple[ShotInput, np.ndarray]) -> None:
    shot, truth = ring
    solution = solution_of(shot, truth)
    near = Pair(0, 2, np.stack([np.arange(20)] * 2, 1), np.eye(3), 0.0, 0.0)
    found = find_ties([*shot.pairs, near], shot.keypoints, solution.state, solution.obs, SPAN)
    assert [(t.a, t.b) for t in found] == [(p.a, p.b) for p in shot.pairs]
    for t in found:
        assert (t.points_a != t.points_b).all()
        assert np.isin(t.points_a, solution.obs.point[solution.obs.frame == t.a]).all()
    assert renumber(solution.obs).point.max() + 1 == len(solution.state.points)


def test_adjusting_with_loops_couples_no_far_cameras(ring: tuple[ShotInput, np.ndarray], monkeypatch) -> None:
    """Each solve sees the loops' points from both ends and moves one end only."""
    shot, truth = ring
    solution = solution_of(shot, truth)
    found = [verify_loop(t, solution.state, solution.obs, np.eye(4)) for t in ties_of(shot, solution)]
    spans, shared = [], []

    def watched(state, obs, settings):
        spans.append(Coupling(obs, settings.free_cameras).span)
        shared.append(len(obs) - len(solution.obs))
        return solve(state, obs, settings)

    monkeypatch.setattr(loop_adjust, "solve", watched)
    loop_adjust.adjust_with_loops(solution.state, solution.obs, solution.placed, [lo for lo in found if lo is not None])
    assert len(spans) == 2 and min(shared) > 100
    assert max(spans) <= SPAN + 2 * STEP


def ties_of(shot: ShotInput, solution: ShotSolution) -> list[Ties]:
    return find_ties(shot.pairs, shot.keypoints, solution.state, solution.obs, SPAN)


def test_a_gap_that_stays_open_is_a_warning(ring: tuple[ShotInput, np.ndarray]) -> None:
    shot, _ = ring
    report = RefinementReport(shape=(180, 240))
    describe_loops(report, shot, LoopReport(3, 3, 3, 50.0, 1.0, taken=True))
    describe_loops(report, shot, LoopReport(3, 3, 3, 0.6, 0.5))
    assert not report.warnings
    describe_loops(report, shot, LoopReport(3, 3, 3, 50.0, 40.0))
    assert "50 px apart" in report.warnings[0] and len(report.loops) == 3


def test_pictures_of_a_long_clip_are_asked_for_loops() -> None:
    there = walk(11)
    cameras = np.concatenate((there, there[::-1]))
    pictures = film(ROOM, cameras)
    for wanted in (True, False):
        options = RefineOptions(features=500, long_clip=16, span=6, close_loops=wanted)
        found = refine(pictures, np.tile(np.eye(4), (len(cameras), 1, 1)), K, K=K, options=options)
        assert len(found.report.loops) == int(wanted)
        assert found.report.count("geometry") == len(cameras)
        assert position_error(found.world_from_cam, cameras) < 0.02
        if wanted:
            assert found.report.loops[0].verified > 0
            assert found.report.as_dict()["loops"][0]["taken"] is found.report.loops[0].taken
