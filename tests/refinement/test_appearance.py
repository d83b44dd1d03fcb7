"""What neighbours show where a standing pixel must be: nothing new at rest, all of what moves."""

from __future__ import annotations

import numpy as np

from openmore.refinement.dense.appearance import CHANNELS, OFFSETS, appearance
from tests.refinement.world import ROOM, SHAPE, Card, K, depth_of, film, walk

FRAME = 3


def differences(pictures: list[np.ndarray], cameras: np.ndarray, depth: np.ndarray) -> dict[int, np.ndarray]:
    """[4, H, W] by offset, of frame FRAME."""

    def other(offset: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        s = FRAME + offset
        if not 0 <= s < len(pictures):
            return None
        return pictures[s], K, np.linalg.inv(cameras[s]) @ cameras[FRAME]

    found = appearance(pictures[FRAME], other, K, (1 / depth).astype(np.float32))
    assert found.shape == (len(CHANNELS), *SHAPE) and found.dtype == np.float32 and np.isfinite(found).all()
    return {offset: found[4 * i : 4 * i + 4] for i, offset in enumerate(OFFSETS)}


def test_a_world_at_rest_shows_nothing_new_and_missing_frames_are_said_so() -> None:
    cameras = walk(5)
    found = differences(film(ROOM, cameras), cameras, depth_of(ROOM, cameras[FRAME]))
    for offset in (1, -1, -3):
        shown = found[offset][3] > 0
        assert shown.mean() > 0.7
        assert np.median(np.abs(found[offset][:3][:, shown])) < 0.03
        assert not found[offset][:3][:, ~shown].any()
    assert not found[3].any()


def test_a_mover_differs_without_any_flow() -> None:
    cameras = walk(5, step=0.05)
    mover = Card((-0.3, 0.0, 2.5), (0.5, 0.5), seed=77, velocity=(0.25, 0.0, 0.0))
    moving = film((*ROOM, mover), cameras)
    where = np.abs(moving[FRAME].astype(int) - film(ROOM, cameras)[FRAME]).max(-1) > 30
    depth = depth_of(ROOM, cameras[FRAME])
    depth[where] = 2.5
    there = np.abs(differences(moving, cameras, depth)[1][:3]).max(0)
    assert np.median(there[where]) > 5 * np.median(there[~where])


def test_what_would_lie_behind_the_other_camera_is_not_shown() -> None:
    image = np.full((*SHAPE, 3), 200, np.uint8)
    behind = np.eye(4)
    behind[2, 3] = -2.0  # surfaces at 1 lie behind a camera that went forward by 2
    found = appearance(image, lambda offset: (image, K, behind), K, np.ones(SHAPE, np.float32))
    assert not found.any()
