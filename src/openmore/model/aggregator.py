"""Alternating attention over a clip: frame blocks look inside a frame, global blocks across frames.

Choices
- Tokens of a frame: [camera, registers..., patches...]. The clip's first frame has its own camera and register tokens.
- Only the layers somebody reads are kept, each as [frame-block output, global-block output] side by side (2C).
- Duplicate camera tokens (duplicates.py) run beside the frame tokens, or later from cached keys and values.
- `Grid` holds what depends on the image size only; a stream makes it once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openmore.model.attend import attend
from openmore.model.attention import AttentionPattern, Block, BlockList
from openmore.model.config import ModelConfig
from openmore.model.duplicates import DuplicateMemory, duplicate_across_frames, duplicate_in_frame
from openmore.model.rope import Rope, rope_tables
from openmore.model.stem import ConvStem
from openmore.model.vit import VisionTransformer

# Looks at the queries and keys of one block, e.g. to read the camera token's attention row.
Readout = Callable[[Tensor, Tensor], Tensor]
Where = tuple[str, int]  # ("frame" or "global", layer)
StepResult = tuple[Tensor, Tensor | None, Tensor | None]  # frame tokens, duplicates, read-out


@dataclass(frozen=True)
class Grid:
    """Everything about one image size that does not change from frame to frame."""

    shape: tuple[int, int]  # (H, W) in pixels
    patches: tuple[int, int]  # (h, w)
    rope: Rope
    position: Tensor  # [1, 1 + h * w, C], the patch embedder's position embedding


@dataclass
class Tokens:
    """What the heads read. Layers are absolute indices."""

    frames: dict[int, Tensor] = field(default_factory=dict)  # layer -> [B, S, P, 2C]
    duplicates: dict[int, Tensor] = field(default_factory=dict)  # layer -> [B, S, 2C]
    readouts: dict[Where, Tensor] = field(default_factory=dict)
    details: tuple[Tensor, ...] = ()  # of a convolutional stem, each [B * S, channels, h, w]


class Aggregator(nn.Module):
    """Patch embedder plus `depth` pairs of frame and global attention blocks."""

    _resnet_mean: Tensor
    _resnet_std: Tensor

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        C = config.embed_dim
        self.patch_embed = VisionTransformer(
            config.image_size,
            config.patch_size,
            C,
            config.vit_depth,
            config.vit_heads,
            config.mlp_ratio,
            config.vit_registers,
            ConvStem(config.stem_channels, config.stem_blocks, C) if config.stem_channels else None,
        )
        # Index 0 of dimension 1 is for the first frame of a clip, index 1 for every other frame.
        self.camera_token = nn.Parameter(torch.randn(1, 2, 1, C) * 0.02)
        self.register_token = nn.Parameter(torch.randn(1, 2, config.num_registers, C) * 0.02)
        if config.duplicate_camera:
            self.additional_camera_token = nn.Parameter(torch.randn(1, 2, 1, C) * 0.02)
        self.frame_blocks = BlockList(self._block() for _ in range(config.depth))
        self.global_blocks = BlockList(self._block() for _ in range(config.depth))
        self.reset_constants()
        self.checkpointing = False  # recompute blocks in the backward pass (training memory)

    def reset_constants(self) -> None:
        """(Re)make the image normalisation, which no checkpoint carries."""
        for name, values in (("_resnet_mean", (0.485, 0.456, 0.406)), ("_resnet_std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values).view(1, 1, 3, 1, 1), persistent=False)

    def _block(self) -> Block:
        c = self.config
        return Block(c.embed_dim, c.num_heads, c.mlp_ratio, qk_norm=True, scale_init=c.layer_scale)

    def grid(self, shape: tuple[int, int]) -> Grid:
        """Precompute what depends on the image size (H, W)."""
        c = self.config
        patches = c.grid(shape)
        rope = rope_tables(
            patches, c.first_patch, c.embed_dim // c.num_heads, c.rope_base, device=self.camera_token.device
        )
        return Grid(shape, patches, rope, self.patch_embed.position_embedding(patches))

    def forward(
        self,
        images: Tensor,
        grid: Grid,
        pattern: AttentionPattern,
        *,
        keep: Collection[int],
        first: bool = True,
        duplicates: bool = False,
        readouts: Mapping[Where, Readout] | None = None,
    ) -> Tokens:
        """Run the clip [B, S, 3, H, W] (RGB, 0..1).

        `keep`: layers whose tokens are returned. `first`: whether frame 0 here is the first of its clip (a stream
        says False later on). `duplicates`: also carry the duplicate camera tokens. `readouts`: per block, a function
        of its queries and keys whose result is returned (duplicates add a row at the frame blocks).
        """
        B, S = images.shape[:2]
        readouts = readouts or {}
        x, details = self._frame_tokens(images, grid, first)  # [B * S, P, C]
        d = self._special(self.additional_camera_token, B, S, first) if duplicates else None  # [B * S, 1, C]
        result = Tokens(details=details)
        for layer in range(self.config.depth):
            x, d, rows = self._run(self._frame_step, layer, x, d, grid, pattern, readouts.get(("frame", layer)))
            if rows is not None:
                result.readouts["frame", layer] = rows.unflatten(0, (B, S))
            inside, inside_d = x, d
            x, d, rows = self._run(self._global_step, layer, x, d, grid, pattern, readouts.get(("global", layer)), S)
            if rows is not None:
                result.readouts["global", layer] = rows
            if layer in keep:
                result.frames[layer] = torch.cat((inside, x), -1).unflatten(0, (B, S))
                if d is not None and inside_d is not None:
                    result.duplicates[layer] = torch.cat((inside_d, d), -1).view(B, S, -1)
        return result

    def refine(self, memory: DuplicateMemory) -> Tensor:
        """Duplicate camera tokens over everything `memory` holds -> [B, S, 2C] of the last layer.

        Equals the duplicates of one pass over the same frames: no frame token ever sees a D, so they can be computed
        at the end from the cached keys and values (supplement: BA-like aggregation).
        """
        B, S = memory.batch, memory.frames
        d = inside = self._special(self.additional_camera_token, B, S, memory.starts_at_first_frame)
        for layer in range(self.config.depth):
            inside, _, _ = duplicate_in_frame(self.frame_blocks[layer], d, *memory.frame_keys_values(layer))
            d = duplicate_across_frames(self.global_blocks[layer], inside, *memory.global_keys_values(layer))
        return torch.cat((inside, d), -1).view(B, S, -1)

    def _frame_tokens(self, images: Tensor, grid: Grid, first: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        B, S = images.shape[:2]
        normalised = ((images - self._resnet_mean) / self._resnet_std).flatten(0, 1)
        patches, details = self.patch_embed(normalised, grid.position)
        camera = self._special(self.camera_token, B, S, first)
        registers = self._special(self.register_token, B, S, first)
        return torch.cat((camera, registers, patches), 1), details

    @staticmethod
    def _special(token: Tensor, B: int, S: int, first: bool) -> Tensor:
        """[1, 2, n, C] -> [B * S, n, C]: variant 0 for the first frame of a clip, variant 1 for the others."""
        variants = torch.cat((token[:, : int(first)], token[:, 1:].expand(-1, S - int(first), -1, -1)), 1)
        return variants.expand(B, -1, -1, -1).flatten(0, 1)

    def _run(self, step: Callable[..., StepResult], *args: Any) -> StepResult:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(step, *args, use_reentrant=False)  # type: ignore[return-value]
        return step(*args)

    def _frame_step(
        self, layer: int, x: Tensor, d: Tensor | None, grid: Grid, pattern: AttentionPattern, readout: Readout | None
    ) -> StepResult:
        """x [B * S, P, C] and d [B * S, 1, C] through frame block `layer`."""
        block = self.frame_blocks[layer]
        q, k, v = block.open(x, grid.rope)
        pattern.keep_frame(layer, k, v)
        out = block.close(x, attend(q, k, v))
        rows = None if readout is None else readout(q, k)
        if d is not None:
            if torch.is_grad_enabled():  # the duplicate reads its frame without pulling on it
                _, k, v = block.open(x.detach(), grid.rope)
            d, q, k = duplicate_in_frame(block, d, k, v)
            if readout is not None and rows is not None:
                rows = torch.cat((rows, readout(q, k)), -2)
        return out, d, rows

    def _global_step(
        self,
        layer: int,
        x: Tensor,
        d: Tensor | None,
        grid: Grid,
        pattern: AttentionPattern,
        readout: Readout | None,
        S: int,
    ) -> StepResult:
        """The same through global block `layer`, where the S frames of a clip meet."""
        block = self.global_blocks[layer]
        clip = x.unflatten(0, (-1, S)).flatten(1, 2)  # [B, S * P, C]
        q, k, v = block.open(clip, grid.rope)
        out = block.close(clip, pattern.over_tokens(layer, S, q, k, v)).view_as(x)
        rows = None if readout is None else readout(q, k)
        return out, None if d is None else duplicate_across_frames(block, d, k, v), rows
