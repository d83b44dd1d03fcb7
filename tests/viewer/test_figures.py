from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmore.errors import DataError, InputError
from openmore.io.colours import LEGEND_HEIGHT, MOVING, ramp
from openmore.io.frames import frames
from openmore.io.trajectories import Trajectory
from openmore.types import Reconstruction
from openmore.viewer.preview_video import TopView, depth_range, preview_frames, write_preview_video
from tests.scenes import sphere_center


def vermilion(image: np.ndarray) -> np.ndarray:
    """[M, 2] (row, column) of pixels in the movers' colour."""
    return np.argwhere(np.abs(image.astype(int) - MOVING).sum(-1) < 40)


def test_panels_stand_in_the_order_the_name_says(scene: Reconstruction) -> None:
    frame = scene.frames[0]
    strip = next(preview_frames(scene, height=48))
    assert strip.shape == (48, 3 * 64 + 48, 3) and frame.rgb is not None
    np.testing.assert_array_equal(strip[:, :64], frame.rgb)
    v, u = np.nonzero(frame.motion == 1)
    middle = round(v.mean()), round(u.mean())
    assert np.abs(strip[middle[0], 64 + middle[1]].astype(int) - ramp(np.array(1.0))).sum() < 90  # near is bright
    tinted = strip[middle[0], 128 + middle[1]].astype(int)
    assert tinted[0] > tinted[2] + 60  # the mover is vermilion


def test_a_square_has_two_rows_and_missing_panels_leave_no_hole(scene: Reconstruction) -> None:
    assert next(preview_frames(scene, height=48, columns=2)).shape[0] == 96
    bare = Reconstruction([replace(f, rgb=None, motion=None) for f in scene.frames], scene.info)
    assert next(preview_frames(bare, height=48)).shape == (48, 64 + 48, 3)


def test_legends_stand_under_their_panels(scene: Reconstruction) -> None:
    plain, explained = (next(preview_frames(scene, height=96, legends=legends)) for legends in (False, True))
    assert explained.shape == (96 + LEGEND_HEIGHT, *plain.shape[1:])
    np.testing.assert_array_equal(explained[:96], plain)
    assert (explained[96 + 5, 128] == ramp(np.array(0.0))).all()  # the depth bar begins where the depth panel does


def test_one_depth_range_serves_the_whole_clip(scene: Reconstruction) -> None:
    low, high = depth_range(scene)
    assert 1 / 4.4 < low < 1 / 3.5 and 1 / 2.6 < high < 1 / 1.8


def test_the_map_from_above_shows_the_mover_where_it_is(scene: Reconstruction) -> None:
    top = TopView(scene, 200)
    for i in (0, 3):
        rows, columns = vermilion(top.draw(i)).mean(0)
        # Only the ball's near side is seen, a little in front of its centre.
        front = top.pixels(sphere_center(i)[None, [0, 2]] - [0, 0.25])[0] / 2
        assert np.hypot(columns - front[0], rows - front[1]) < 4


def test_the_video_has_every_frame_at_the_scenes_rate(scene: Reconstruction, tmp_path: Path) -> None:
    path = write_preview_video(scene, tmp_path / "preview.mp4", height=48)
    played = list(frames(path))
    assert len(played) == 4
    np.testing.assert_allclose([f.time_s for f in played], [0, 0.1, 0.2, 0.3], atol=1e-3)
    with pytest.raises(InputError, match="exists already"):
        write_preview_video(scene, path)


def test_the_video_does_without_damaged_frames(
    scene: Reconstruction, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = scene.save(tmp_path / "scene")
    (folder / "depth" / "000000.npy").unlink()
    strips = list(preview_frames(Reconstruction.load(folder), height=48))
    assert len(strips) == 3 and "000000.npy is missing" in caplog.text
    for path in (folder / "depth").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no frame of the scene can be read"):
        write_preview_video(Reconstruction.load(folder), tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_animated_picture_loops_over_every_frame(scene: Reconstruction, tmp_path: Path, suffix: str) -> None:
    with Image.open(write_preview_video(scene, tmp_path / f"a.{suffix}", height=48)) as image:
        image.seek(3)  # webp tells durations of frames that were decoded only
        image.load()
        assert image.n_frames == 4  # type: ignore[attr-defined]
        assert image.info["duration"] == 100 and image.info["loop"] == 0


@pytest.fixture(scope="module")
def wobbly(scene: Reconstruction) -> tuple[Trajectory, Trajectory]:
    """(estimate, truth): 20 poses on an arc, the estimate twice as large and a little off."""
    angle = np.linspace(0, 2, 20)
    truth = np.tile(np.eye(4), (20, 1, 1))
    truth[:, 0, 3], truth[:, 2, 3] = np.sin(angle), np.cos(angle)
    estimate = truth.copy()
    estimate[:, :3, 3] = 2 * truth[:, :3, 3] + np.random.default_rng(0).normal(size=(20, 3)) * 0.02
    return Trajectory(angle, estimate), Trajectory(angle, truth)


def test_the_plot_shows_axes_and_error(wobbly, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from openmore.viewer.plots import plot_trajectory, trajectory_figure

    estimate, truth = wobbly
    figure = trajectory_figure(estimate, truth, "arc")
    assert [axes.get_ylabel() for axes in figure.axes] == ["z", "x", "y", "z", "error"]
    drawn = figure.axes[-1].lines[0].get_ydata()
    assert 0 < np.max(drawn) < 0.05  # the scale was aligned away
    assert "ATE" in figure.get_suptitle()
    assert len(trajectory_figure(estimate).axes) == 4
    image = Image.open(plot_trajectory(tmp_path / "path.png", estimate, truth))
    assert image.size[0] > 1000


def test_trajectories_without_common_times_are_refused(wobbly) -> None:
    pytest.importorskip("matplotlib")
    from openmore.viewer.plots import trajectory_figure

    estimate, truth = wobbly
    with pytest.raises(DataError, match="time stamp"):
        trajectory_figure(estimate, Trajectory(truth.times_s + 100, truth.world_from_cam))
