"""The public doors of the synthetic world: one clip as a Sample, many clips as tensors.

Choices
- `describe` (numpy, milliseconds) and `render` (torch, any device) are separate: a loader's workers describe, the
  trainer's device renders.
- The first camera becomes the world in float64, then numbers are rounded.
- A seed fixes every byte, whatever other clips share the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from openmore.data.sample import Sample
from openmore.data.synthetic.layout import Recipe, describe
from openmore.data.synthetic.render import render
from openmore.data.synthetic.scene import Scene
from openmore.data.synthetic.textures import TextureBank, photo_bank, procedural_bank


@dataclass
class SyntheticBatch:
    """B clips of S frames of H x W pixels with exact truth, on one device."""

    images: Tensor  # [B, S, 3, H, W] float32, RGB 0..1
    depth: Tensor  # [B, S, H, W] float32, z in metres, 0 = sky
    valid: Tensor  # [B, S, H, W] bool
    K: Tensor  # [B, S, 3, 3] float32, pixels
    world_from_cam: Tensor  # [B, S, 4, 4] float32; the first camera is the world
    motion: Tensor  # [B, S, H, W] uint8, 1 = the surface moves in the world
    instances: Tensor  # [B, S, H, W] int32; 0 = room or ground, -1 = sky
    sky: Tensor  # [B, S, H, W] bool
    flow_forward: Tensor | None  # [B, S, 2, H, W] float32 pixels, frame s -> s + 1; NaN = none
    flow_backward: Tensor | None  # [B, S, 2, H, W] float32 pixels, frame s -> s - 1
    names: tuple[str, ...]


def texture_bank(textures: str | None = None, device: torch.device | str = "cpu") -> TextureBank:
    """Procedural textures, or the photographs of a folder. Raises InputError for a folder without pictures."""
    return procedural_bank(device=str(device)) if textures is None else photo_bank(str(textures), device=str(device))


def make_clip(
    seed: int,
    frames: int = 8,
    shape: tuple[int, int] = (168, 224),
    device: torch.device | str = "cpu",
    recipe: Recipe | None = None,
    textures: str | None = None,
) -> Sample:
    """The clip of one seed with its truth.

    Args:
        frames, shape: number of frames and (H, W) in pixels; they override the recipe's.
        recipe: what kind of clip to draw; the default is the whole breadth.
        textures: folder of photographs to use instead of procedural textures.
    """
    recipe = replace(recipe or Recipe(), frames=frames, shape=shape)
    return render_sample(describe(seed, recipe), device, textures)


def render_sample(scene: Scene, device: torch.device | str = "cpu", textures: str | None = None) -> Sample:
    """Render one described scene."""
    out = {k: v.cpu().numpy() for k, v in render([scene], texture_bank(textures, device), device).items()}
    s = len(scene.times_s)
    return Sample(
        images=np.ascontiguousarray(out["images"].transpose(0, 2, 3, 1)),
        depth=out["depth"],
        K=np.tile(scene.K, (s, 1, 1)),
        world_from_cam=first_camera_world(scene),
        times_s=scene.times_s,
        name=scene.name,
        motion=out["motion"],
        flow_forward=out["flow_forward"],
        flow_backward=out["flow_backward"],
        instances=out["instances"],
        valid=~out["sky"],
        sky=out["sky"],
        is_metric=True,
    )


def first_camera_world(scene: Scene) -> np.ndarray:
    """[S, 4, 4] float64 cameras in the first camera's axes; the first is the identity exactly."""
    world_from_cam = np.linalg.inv(scene.world_from_cam[0]) @ scene.world_from_cam
    world_from_cam[0] = np.eye(4)
    return world_from_cam


def make_batch(
    seeds: Sequence[int],
    frames: int = 8,
    shape: tuple[int, int] = (168, 224),
    device: torch.device | str = "cpu",
    recipe: Recipe | None = None,
    textures: str | None = None,
    flow: bool = False,
) -> SyntheticBatch:
    """Clips of many seeds as tensors, for training. Arguments as in `make_clip`; `flow` also renders optical flow."""
    recipe = replace(recipe or Recipe(), frames=frames, shape=shape)
    return render_batch([describe(int(seed), recipe) for seed in seeds], device, textures, flow)


def render_batch(
    scenes: Sequence[Scene], device: torch.device | str = "cpu", textures: str | None = None, flow: bool = False
) -> SyntheticBatch:
    """Render scenes of one length and shape."""
    s = len(scenes[0].times_s)
    out = render(list(scenes), texture_bank(textures, device), device, flow=flow)
    clips = {key: value.unflatten(0, (len(scenes), s)) for key, value in out.items()}
    cameras = np.stack([first_camera_world(scene) for scene in scenes]).astype(np.float32)
    K = np.stack([np.tile(scene.K, (s, 1, 1)) for scene in scenes]).astype(np.float32)
    return SyntheticBatch(
        images=clips["images"].float() / 255,
        depth=clips["depth"],
        valid=~clips["sky"],
        K=torch.from_numpy(K).to(device),
        world_from_cam=torch.from_numpy(cameras).to(device),
        motion=clips["motion"],
        instances=clips["instances"],
        sky=clips["sky"],
        flow_forward=clips.get("flow_forward"),
        flow_backward=clips.get("flow_backward"),
        names=tuple(scene.name for scene in scenes),
    )
