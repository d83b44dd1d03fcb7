"""The truth of the synthetic world is exact: geometry, flow, masks and bytes agree with each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from openmore.data.sample import Sample
from openmore.data.synthetic import Recipe, describe, make_batch, make_clip, render_sample, visibility
from openmore.data.synthetic.casting import first_hit, in_shadow, rays
from openmore.data.synthetic.motion import CAMERA_KINDS
from openmore.data.synthetic.render import Packed, pack, render
from openmore.data.synthetic.scene import Scene
from openmore.data.synthetic.tables import NEAR
from openmore.data.synthetic.textures import procedural_bank
from openmore.geometry.camera import pixel_grid, project, unproject
from openmore.geometry.ego_flow import ego_flow
from openmore.geometry.rigid import invert, transform_points

SHAPE = (42, 56)


def tensors(sample: Sample) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth, K and world_from_cam in float64."""
    return torch.from_numpy(sample.depth).double(), torch.from_numpy(sample.K), torch.from_numpy(sample.world_from_cam)


@pytest.mark.parametrize("seed", range(6))
def test_flow_from_depth_and_cameras_is_the_rendered_flow_on_static_pixels(seed: int) -> None:
    sample = make_clip(seed, frames=4, shape=SHAPE).check()
    depth, K, pose = tensors(sample)
    for forward, here, there in ((True, slice(0, -1), slice(1, None)), (False, slice(1, None), slice(0, -1))):
        flow, valid = ego_flow(depth[here], K[here], pose[here], K[there], pose[there])
        rendered = torch.from_numpy((sample.flow_forward if forward else sample.flow_backward)[here])
        at_rest = valid & (torch.from_numpy(sample.motion[here]) == 0)
        assert at_rest.any()
        assert (flow - rendered).abs().amax(1)[at_rest].max() < 1e-3


def test_points_of_frame_0_project_within_a_thousandth_of_a_pixel_in_frame_20() -> None:
    scene = describe(3, Recipe(frames=21, shape=SHAPE, movers=(0, 0), camera="slide", intervals=(1, 1)))
    depth, K, pose = tensors(render_sample(scene))
    points = transform_points(pose[0], unproject(depth[0], K[0]))
    uv, z = project(transform_points(invert(pose[20]), points), K[20])
    inside = (depth[0] > 0) & (z > 0.1) & (uv >= 0).all(-1) & (uv[..., 0] < SHAPE[1]) & (uv[..., 1] < SHAPE[0])
    seen = cast(scene, 20, uv[inside])
    visible = (seen - z[inside]).abs() < 1e-4 * z[inside]
    assert visible.float().mean() > 0.5
    # What the exact ray at that place meets in frame 20 is the point that frame 0 saw.
    rays = torch.cat(((uv[inside] - K[20][:2, 2]) / K[20].diagonal()[:2], torch.ones(len(seen), 1)), -1)
    back, _ = project(transform_points(invert(pose[0]) @ pose[20], rays * seen[:, None]), K[0])
    assert (back - pixel_grid(SHAPE).double()[inside]).norm(dim=-1)[visible].max() < 1e-3


def cast(scene: Scene, frame: int, uv: torch.Tensor) -> torch.Tensor:
    """Depth where rays at pixels [N, 2] of one frame meet the scene."""
    packed = replace(pack([scene]).pick(slice(frame, frame + 1)), shape=(1, len(uv)))
    K = torch.from_numpy(scene.K)
    xy = ((uv - K[:2, 2]) / K.diagonal()[:2]).float()
    depth, _ = every_ray_at_everything(packed, xy[None, None, :, 0], xy[None, None, :, 1])
    return depth[0, 0].double()


def test_flow_there_and_back_returns_to_the_pixel_on_moving_surfaces_too() -> None:
    checked = 0
    for seed in range(8):
        sample = make_clip(seed, frames=2, shape=SHAPE, recipe=Recipe(movers=(2, 4)))
        forward, backward = sample.flow_forward[0], sample.flow_backward[1]
        v, u = np.mgrid[: SHAPE[0], : SHAPE[1]]
        with np.errstate(invalid="ignore"):
            to_u, to_v = np.rint(u + forward[0]), np.rint(v + forward[1])
        ok = (to_u >= 0) & (to_u < SHAPE[1]) & (to_v >= 0) & (to_v < SHAPE[0])
        iu, iv = to_u[ok].astype(int), to_v[ok].astype(int)
        same = sample.instances[1][iv, iu] == sample.instances[0][ok]
        # The target is rounded to a pixel, so the way back starts up to 0.71 px away.
        error = np.hypot(*(backward[:, iv, iu] + forward[:, ok]))
        moving = (sample.motion[0][ok] == 1) & same
        checked += int(moving.sum())
        assert np.median(error[same]) < 0.1
        if moving.sum() > 20:
            assert np.median(error[moving]) < 0.5
    assert checked > 100


def test_a_world_at_rest_has_empty_masks_and_a_world_in_motion_has_not() -> None:
    still = Recipe(frames=4, shape=SHAPE, camera="still", camera_speed=0.0, mover_speed=0.0)
    alive = replace(still, mover_speed=1.0, movers=(6, 6))
    assert not any(make_clip(seed, 4, SHAPE, recipe=still).motion.any() for seed in range(4))
    assert sum(make_clip(seed, 4, SHAPE, recipe=alive).motion.any() for seed in range(6)) >= 4


def test_with_a_still_camera_pixels_flow_exactly_where_the_mask_says() -> None:
    """A pixel of a moving primitive may be momentarily slow, but nothing flows outside the masks."""
    recipe = Recipe(camera="still", camera_speed=0.0, movers=(6, 6))
    for seed in range(5):
        sample = make_clip(seed, 3, SHAPE, recipe=recipe)
        speed = np.hypot(*sample.flow_forward[:-1].transpose(1, 0, 2, 3))
        moving = sample.motion[:-1] == 1
        assert speed[~moving].max(initial=0) < 0.35  # what MOVING_METRES may amount to close to the camera
        if moving.sum() > 50:
            assert np.mean(speed[moving] > 1e-3) > 0.8


def test_a_panning_camera_alone_moves_nothing() -> None:
    sample = make_clip(1, 4, SHAPE, recipe=Recipe(camera="pan", mover_speed=0.0))
    assert not sample.motion.any()
    assert np.nanmax(np.abs(sample.flow_forward[0])) > 0.1


def test_the_sky_turns_with_the_camera_only() -> None:
    sample = make_clip(5, 2, SHAPE, recipe=Recipe(outdoor=True, camera="handheld"))
    K, pose = sample.K[0], sample.world_from_cam
    v, u = np.nonzero(sample.sky[0])
    assert len(u) > 50
    rays = np.linalg.inv(K) @ np.stack((u, v, np.ones_like(u)))
    there = K @ pose[1][:3, :3].T @ pose[0][:3, :3] @ rays
    np.testing.assert_allclose(sample.flow_forward[0][:, v, u], there[:2] / there[2] - (u, v), atol=1e-3)
    assert (sample.depth[0][v, u] == 0).all() and not sample.valid[0][v, u].any()


def test_the_same_seed_gives_the_same_bytes_alone_and_in_a_batch() -> None:
    batch = make_batch([7, 3, 11], 3, SHAPE, flow=True)
    alone = make_batch([3], 3, SHAPE, flow=True)
    sample = make_clip(3, 3, SHAPE)
    for key in (
        "images",
        "depth",
        "motion",
        "instances",
        "sky",
        "flow_forward",
        "flow_backward",
        "K",
        "world_from_cam",
    ):
        assert torch.equal(getattr(batch, key)[1].nan_to_num(), getattr(alone, key)[0].nan_to_num()), key
    assert (alone.images[0].permute(0, 2, 3, 1) * 255).round().byte().numpy().tobytes() == sample.images.tobytes()
    assert alone.depth[0].numpy().tobytes() == sample.depth.tobytes()
    assert make_clip(4, 3, SHAPE).images.tobytes() != sample.images.tobytes()


def test_bytes_do_not_depend_on_the_number_of_threads() -> None:
    threads = torch.get_num_threads()
    made = []
    for count in (1, 3):
        torch.set_num_threads(count)
        made.append(make_clip(6, 5, (168, 224)))
        assert torch.get_num_threads() == count
    torch.set_num_threads(threads)
    for key, value in made[0].arrays().items():
        assert value.tobytes() == getattr(made[1], key).tobytes(), key


def test_windows_tiles_and_chunks_never_change_what_is_seen() -> None:
    scenes = [describe(seed, Recipe(frames=2, shape=SHAPE)) for seed in range(5)]
    bank = procedural_bank()
    windows, tiles = render(scenes, bank), render(scenes, bank, tiled=True, chunk=3)
    for key in ("instances", "motion", "sky"):
        assert torch.equal(windows[key], tiles[key])
    torch.testing.assert_close(windows["depth"], tiles["depth"], rtol=1e-6, atol=0)
    assert (windows["images"].int() - tiles["images"].int()).abs().float().mean() < 0.01


@pytest.mark.parametrize("tiled", [False, True])
def test_skipping_work_finds_what_casting_every_ray_at_everything_finds(tiled: bool) -> None:
    for seed in range(8):
        packed = pack([describe(seed, Recipe(frames=2, shape=SHAPE))])
        x, y = rays(packed)
        depth, slot = first_hit(packed, x, y, tiled)
        plain, plain_slot = every_ray_at_everything(packed, x, y)
        assert torch.equal(slot, plain_slot)
        torch.testing.assert_close(depth, plain, rtol=1e-6, atol=0)
        z = depth.masked_fill(slot == packed.slots, 1.0)
        points = (x * z, y * z, z)
        dark = torch.zeros_like(slot, dtype=torch.bool)
        for k, kind in enumerate(packed.kind):
            dark |= visibility.shadowed(torch, kind, packed.shadow[:, k].T[..., None, None], *points)
        on_ground = slot != packed.slots  # what the sky is behind has no shadow to receive
        assert ((in_shadow(packed, points, tiled) != dark) & on_ground).float().mean() < 2e-3


def every_ray_at_everything(packed: Packed, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain twin of `first_hit`."""
    depth = torch.full((len(packed), *packed.shape), float("inf"))
    slot = torch.full_like(depth, packed.slots, dtype=torch.int32)
    for k, kind in enumerate(packed.kind):
        z, hit = visibility.depth_of(torch, kind, packed.hit[:, k].T[..., None, None], x, y)
        nearer = hit & (z > NEAR) & (z < depth)
        depth, slot = torch.where(nearer, z, depth), slot.masked_fill(nearer, k)
    return depth, slot


def test_the_first_camera_is_the_world_and_all_cameras_are_rigid() -> None:
    for seed, kind in enumerate(CAMERA_KINDS):
        sample = make_clip(seed, 5, SHAPE, recipe=Recipe(camera=kind, outdoor=kind == "drive")).check()
        assert (sample.world_from_cam[0] == np.eye(4)).all()
        half = np.degrees(np.arctan(SHAPE[1] / 2 / sample.K[0, 0, 0]))
        assert 17.4 < half < 45.1
