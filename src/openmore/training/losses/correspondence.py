"""Correspondence loss: teach global attention to look at the same surface in another frame.

Camera motion can only be read off matches between frames, and from scratch those emerge late (depth and masks come
first). With exact depth and cameras the match of a static patch is known, so a patch query's attention over the
patches of another frame gets a cross-entropy target. Not part of the paper; off unless a recipe asks for it.

Choices
- Per source frame one target frame and a few patches, drawn anew each step: the cost stays far below the block's own.
- The probability is the mean over heads, so one head that matches is enough and the others stay free.
- The softmax runs over the target frame's patches only: how much a token attends to which frame is not touched.
- The target is spread bilinearly over the four nearest patches; moving, unknown, occluded and outside points drop out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from openmore.geometry.camera import project, unproject
from openmore.geometry.rigid import invert, transform_points

DEPTH_TOLERANCE = 0.05  # relative; a point is visible when the target's depth there agrees


@dataclass(frozen=True)
class Matches:
    """Where n patches of each frame of a clip are seen in another frame."""

    patch: Tensor  # [B, S, n] int64, row-major index of the source patch
    target: Tensor  # [S] int64, the target frame of each source frame
    uv: Tensor  # [B, S, n, 2] position in the target frame in patches: (column, row), patch centres at integers
    valid: Tensor  # [B, S, n] bool
    grid: tuple[int, int]  # patches (h, w) per frame


def find_matches(
    depth: Tensor,
    K: Tensor,
    world_from_cam: Tensor,
    static: Tensor,
    patch: int,
    count: int,
    causal: bool = False,
    generator: torch.Generator | None = None,
) -> Matches:
    """Draw `count` patches per frame and follow their centres into another frame of the clip.

    depth [B, S, H, W] (0 = no value), K [B, S, 3, 3], world_from_cam [B, S, 4, 4], static [B, S, H, W] bool (known not
    to move). `causal`: the target is an earlier frame (the first frame then has no valid match). `generator` on CPU.
    """
    B, S, H, W = depth.shape
    grid = (H // patch, W // patch)
    index = torch.randint(grid[0] * grid[1], (B, S, count), generator=generator).to(depth.device)
    target = _target_frames(S, causal, generator).to(depth.device)
    uv, valid = follow(depth, K, world_from_cam, static, patch, index, target)
    return Matches(index, target, uv, valid, grid)


def follow(
    depth: Tensor, K: Tensor, world_from_cam: Tensor, static: Tensor, patch: int, index: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Centres of the patches `index` [B, S, n] of each frame, seen in the frames `target` [S].

    Returns their positions uv [B, S, n, 2] in patches and which are valid [B, S, n]: static, in view, not occluded,
    and in another frame than their own. Other arguments as in `find_matches`.
    """
    S, W = depth.shape[1], depth.shape[3]
    columns = W // patch
    points = transform_points(world_from_cam, unproject(depth, K))
    pixel = (index // columns * patch + patch // 2) * W + index % columns * patch + patch // 2
    seen = _at(points.flatten(2, 3), pixel)
    known = _at(depth.flatten(2)[..., None], pixel)[..., 0] > 0
    usable = known & _at(static.flatten(2)[..., None], pixel)[..., 0]
    uv, z = project(transform_points(invert(world_from_cam)[:, target], seen), K[:, target])
    inside, depth_there = _look_up(depth[:, target], uv)
    visible = inside & (depth_there > 0) & ((z - depth_there).abs() < DEPTH_TOLERANCE * depth_there)
    valid = usable & visible & (target != torch.arange(S, device=depth.device))[None, :, None]
    return (uv + 0.5) / patch - 0.5, valid


def _target_frames(frames: int, causal: bool, generator: torch.Generator | None) -> Tensor:
    """For every frame another one, or an earlier one; a frame without any gets itself, which is no match."""
    own = torch.arange(frames)
    draw = torch.rand(frames, generator=generator)
    if causal:
        return (draw * own).long()
    return (own + 1 + (draw * (frames - 1)).long()) % frames if frames > 1 else own


def _at(x: Tensor, pixel: Tensor) -> Tensor:
    """x [B, S, H * W, C] at pixel [B, S, n] -> [B, S, n, C]."""
    return x.gather(2, pixel[..., None].expand(*pixel.shape, x.shape[-1]))


def _look_up(depth: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
    """Whether uv [B, S, n, 2] lies in the image, and the nearest pixel of depth [B, S, H, W] there."""
    H, W = depth.shape[-2:]
    u, v = uv.round().unbind(-1)
    inside = (u >= 0) & (u < W) & (v >= 0) & (v < H)
    pixel = (v.clamp(0, H - 1) * W + u.clamp(0, W - 1)).nan_to_num(0).long()
    return inside, _at(depth.flatten(2)[..., None], pixel).squeeze(-1)


def correspondence_loss(q: Tensor, k: Tensor, matches: Matches, first_patch: int) -> Tensor:
    """Cross-entropy of attention against the matches.

    q, k: queries and keys of a global block [B, heads, S * P, head_dim] whose frames hold `first_patch` special
    tokens and then the patches. Returns a scalar in nats; uniform attention gives about log(h * w).
    """
    probability = _attention_to_target(q, k, matches, first_patch)
    corners, weights = _corners(matches.uv, matches.grid)
    loss = -(weights * probability.gather(-1, corners).clamp_min(1e-9).log()).sum(-1)
    return torch.where(matches.valid, loss, 0).sum() / matches.valid.sum().clamp_min(1)


def _attention_to_target(q: Tensor, k: Tensor, matches: Matches, first_patch: int) -> Tensor:
    """Softmax over the target frame's patches, mean over heads, float32: [B, S, n, h * w]."""
    S = matches.patch.shape[1]
    queries, keys = (x.unflatten(2, (S, -1))[:, :, :, first_patch:].float() for x in (q, k))
    index = matches.patch[:, None, :, :, None].expand(-1, q.shape[1], -1, -1, q.shape[-1])
    scores = queries.gather(3, index) @ keys[:, :, matches.target].transpose(-1, -2) * q.shape[-1] ** -0.5
    return scores.softmax(-1).mean(1)


def _corners(uv: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The four patches around uv [..., 2] and their bilinear weights, each [..., 4]; clamped at the border."""
    h, w = grid
    base = uv.detach().nan_to_num(0).clamp(-1, max(h, w)).floor()
    fraction = (uv - base).nan_to_num(0).clamp(0, 1)
    corners, weights = [], []
    for dv in (0, 1):
        for du in (0, 1):
            column, row = (base[..., 0] + du).clamp(0, w - 1), (base[..., 1] + dv).clamp(0, h - 1)
            corners.append((row * w + column).long())
            weights.append(_share(fraction[..., 0], du) * _share(fraction[..., 1], dv))
    return torch.stack(corners, -1), torch.stack(weights, -1)


def _share(fraction: Tensor, side: int) -> Tensor:
    return fraction if side else 1 - fraction


def matching_readout(matches: Matches, first_patch: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss as a read-out of a global block (`MoRe.forward(readouts={("global", layer): ...})`)."""
    return lambda q, k: correspondence_loss(q, k, matches, first_patch)
