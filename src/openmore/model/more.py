"""MoRe: the network as a whole. `forward` is the maths: tensors in, tensors out, no manners, no state.

Read `config`, `rope`, `attention`, `vit`, `aggregator`, `camera_head`, `dense_head` first; streaming is next door.

Choices
- Only the heads that are asked for run, and only the layers they read are kept.
- Who attends to whom is an `AttentionPattern`; `mode` picks one for a pass over a whole clip.
- `half_precision` converts the backbone's matrices and wide dense heads; norms, tokens, residual stream and the camera
  head stay float32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from openmore.errors import CheckpointError, ConfigError, InputError
from openmore.model.aggregator import Aggregator, Grid, Readout, Tokens, Where
from openmore.model.attention import AttentionPattern, FullAttention, GroupedCausalAttention, attention_rows
from openmore.model.camera_head import CameraHead
from openmore.model.config import HEADS, ModelConfig
from openmore.model.dense_head import (
    DenseGrid,
    DenseHead,
    dense_grid,
    points_with_confidence,
    positive_with_confidence,
)
from openmore.model.duplicates import DuplicateMemory
from openmore.model.packing import pack
from openmore.model.stem import ConvStem

Mode = Literal["full", "causal"]
HALF_HEADS = 64  # features of a dense head from which half precision makes it faster


@dataclass
class RawOutput:
    """Tensors as the network emits them. Absent outputs are None (or empty)."""

    pose_codes: list[Tensor] = field(default_factory=list)  # per iteration [B, S, 9], see docs/conventions.md
    refined_pose_codes: list[Tensor] = field(default_factory=list)  # the same from the duplicate camera tokens
    depth: Tensor | None = None  # [B, S, H, W], > 0, scene units
    depth_conf: Tensor | None = None  # [B, S, H, W], >= 1
    points: Tensor | None = None  # [B, S, H, W, 3], first camera's axes
    points_conf: Tensor | None = None  # [B, S, H, W], >= 1
    motion_logits: Tensor | None = None  # [B, S, H, W]; sigmoid is the probability of motion
    camera_attention: Tensor | None = None  # [B, S, heads, rows, P], last frame block; row 0 camera, row 1 duplicate
    readouts: dict[Where, Tensor] = field(default_factory=dict)
    tokens: Tokens | None = None  # when keep_tokens names layers


@dataclass(frozen=True)
class Prepared:
    """What depends on the image size only; pass it back in to save the work (streams do)."""

    grid: Grid
    dense: DenseGrid


class MoRe(nn.Module):
    """Motion-aware feed-forward 4D reconstruction transformer."""

    camera_head: CameraHead
    depth_head: DenseHead
    point_head: DenseHead
    motion_head: DenseHead

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.aggregator = Aggregator(config)
        self.half_heads = False  # let the caller's autocast into the dense heads (training on processors with bf16)
        if "camera" in config.heads:
            self.camera_head = CameraHead(config)
        # Checkpoint key -> output name: the published files call the points head `point_head`.
        for name, attribute, out in (
            ("points", "point_head", 4),
            ("depth", "depth_head", 2),
            ("motion", "motion_head", 1),
        ):
            if name in config.heads:
                setattr(self, attribute, DenseHead(config, out))
        # Where these weights come from: name, sha256, licence, trained_on. Filled by from_pretrained.
        self.provenance: dict[str, object] = {"name": "untrained", "trained_on": None, "licence": None, "sha256": None}

    @classmethod
    def from_pretrained(cls, source: str, device: str | torch.device = "cpu", dtype: str = "auto") -> MoRe:
        """Weights by name, file, folder, "hf:owner/repo" or "untrained:PRESET", ready for inference.

        `dtype`: "auto" (bf16 on CUDA and on CPUs with AVX512-BF16, else float32), "fp32" or "bf16". Raises
        CheckpointError when the weights are missing, damaged, unsafe or of another architecture.
        """
        from openmore.model.weights.load import load_pretrained

        return load_pretrained(source, device=device, dtype=dtype)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.aggregator.camera_token.device

    def prepare(self, shape: tuple[int, int]) -> Prepared:
        """Precompute everything that depends on the image size (H, W) only."""
        return Prepared(self.aggregator.grid(shape), dense_grid(self.config, shape, self.device))

    def half_precision(self, dtype: torch.dtype = torch.bfloat16) -> MoRe:
        """Convert the backbone's matrices and the dense heads in place (norms, tokens, camera head stay float32)."""
        for module in self.aggregator.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.to(dtype)
        if self.config.dpt_features >= HALF_HEADS:
            for module in self.modules():
                if isinstance(module, DenseHead):
                    module.half_precision(dtype)
        return self

    def pack(self) -> MoRe:
        """Lay linear layers out for this processor's matrix products, in place; elsewhere nothing changes.

        Do it last: a packed network only infers, it can no longer be trained, saved or moved.
        """
        pack(self)
        return self

    def channels_last(self) -> MoRe:
        """Lay the convolutions of heads and stem out as tokens arrive, in place: up to twice as fast on CPUs."""
        for module in self.modules():
            if isinstance(module, DenseHead | ConvStem):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def forward(
        self,
        images: Tensor,
        *,
        outputs: Collection[str] | None = None,
        mode: Mode | None = None,
        past: int | None = None,
        anchors: int = 1,
        camera_trunk: Literal["bidirectional", "causal"] | None = None,
        duplicates: bool | None = None,
        camera_attention: bool = False,
        readouts: Mapping[Where, Readout] | None = None,
        iterations: int | None = None,
        prepared: Prepared | None = None,
        keep_tokens: Collection[int] = (),
    ) -> RawOutput:
        """One pass over a clip.

        images: [B, S, 3, H, W], RGB 0..1, H and W multiples of the patch size. outputs: any of "camera", "depth",
        "points", "motion" (default: all heads there are). mode: "full" or "causal" (default: what the weights were
        trained for); `past` and `anchors` limit causal attention to a window. camera_trunk: whether the camera head
        sees the whole clip. duplicates: also compute refined cameras (causal mode; default: if the weights can).
        camera_attention: read out the last frame block's camera rows. iterations: 1..4 camera refinements.
        keep_tokens: layers whose tokens are returned too (`RawOutput.tokens`).
        """
        mode = mode or self.config.attention
        if mode == "full":
            pattern: AttentionPattern = FullAttention()
        else:
            bidirectional = (camera_trunk or self.config.camera_trunk) == "bidirectional"
            pattern = GroupedCausalAttention(past, anchors, bidirectional)
        if duplicates is None:
            duplicates = self.config.duplicate_camera and mode == "causal"
        if duplicates and not self.config.duplicate_camera:
            raise ConfigError("these weights have no duplicate camera token: pass duplicates=False or use more-stream")
        return self.run(
            images,
            pattern,
            outputs=outputs,
            duplicates=duplicates,
            readouts=self._readouts(readouts, camera_attention),
            iterations=iterations,
            prepared=prepared,
            keep_tokens=keep_tokens,
        )

    def run(
        self,
        images: Tensor,
        pattern: AttentionPattern,
        *,
        outputs: Collection[str] | None = None,
        first: bool = True,
        duplicates: bool = False,
        readouts: Mapping[Where, Readout] | None = None,
        iterations: int | None = None,
        prepared: Prepared | None = None,
        keep_tokens: Collection[int] = (),
    ) -> RawOutput:
        """The pass with an explicit attention pattern; `first` says whether frame 0 here starts the clip.

        Raises InputError for images of another shape or type than `forward` takes.
        """
        _check_images(images)
        outputs = self._wanted(outputs)
        prepared = prepared or self.prepare((images.shape[-2], images.shape[-1]))
        dense = outputs - {"camera"}
        keep = {self.config.depth - 1, *keep_tokens, *(self.config.saved_layers if dense else ())}
        tokens = self.aggregator(
            images, prepared.grid, pattern, keep=keep, first=first, duplicates=duplicates, readouts=readouts
        )
        result = RawOutput(readouts=tokens.readouts, tokens=tokens if keep_tokens else None)
        result.camera_attention = tokens.readouts.get(self._last_frame_block)
        # Heads are float32 islands: autocast off, tokens already float32.
        with torch.autocast(images.device.type, enabled=False):
            if "camera" in outputs:
                self._cameras(result, tokens, pattern, duplicates, iterations)
        with nullcontext() if self.half_heads else torch.autocast(images.device.type, enabled=False):
            self._maps(result, tokens, dense, prepared.dense)
        return result

    def refine(self, memory: DuplicateMemory, iterations: int | None = None) -> list[Tensor]:
        """Refined pose codes [B, S, 9] per iteration for the frames a stream's cache holds (BA-like aggregation)."""
        if not self.config.duplicate_camera:
            raise ConfigError("these weights have no duplicate camera token: they cannot refine a stream's cameras")
        return self.camera_head(self.aggregator.refine(memory), FullAttention(), iterations)

    @property
    def _last_frame_block(self) -> Where:
        return "frame", self.config.depth - 1

    def _readouts(self, readouts: Mapping[Where, Readout] | None, camera_attention: bool) -> dict[Where, Readout]:
        chosen = dict(readouts or {})
        if camera_attention:
            chosen[self._last_frame_block] = camera_rows
        return chosen

    def _wanted(self, outputs: Collection[str] | None) -> set[str]:
        wanted = set(self.config.heads if outputs is None else outputs)
        if unknown := wanted - set(HEADS):
            raise ConfigError(f"unknown outputs {sorted(unknown)}; choose from {', '.join(HEADS)}")
        if missing := wanted - set(self.config.heads):
            raise CheckpointError(
                f"these weights have no {', '.join(sorted(missing))} head; they have {self.config.heads}"
            )
        return wanted

    def _cameras(
        self, result: RawOutput, tokens: Tokens, pattern: AttentionPattern, duplicates: bool, iterations: int | None
    ) -> None:
        last = self.config.depth - 1
        result.pose_codes = self.camera_head(tokens.frames[last][:, :, 0], pattern, iterations)
        if duplicates:  # they have seen the whole clip: their trunk always does too
            result.refined_pose_codes = self.camera_head(tokens.duplicates[last], FullAttention(), iterations)

    def _maps(self, result: RawOutput, tokens: Tokens, wanted: set[str], grid: DenseGrid) -> None:
        if "depth" in wanted:
            raw = self.depth_head(tokens.frames, grid, tokens.details)
            result.depth, result.depth_conf = positive_with_confidence(raw.float())
        if "points" in wanted:
            raw = self.point_head(tokens.frames, grid, tokens.details)
            result.points, result.points_conf = points_with_confidence(raw.float())
        if "motion" in wanted:
            result.motion_logits = self.motion_head(tokens.frames, grid, tokens.details).float().squeeze(-3)


def _check_images(images: Tensor) -> None:
    """Bytes would pass for a very bright picture, and a forgotten batch axis for another error far from here."""
    if images.ndim != 5 or images.shape[2] != 3 or not images.is_floating_point():
        raise InputError(
            f"images are {images.dtype} {list(images.shape)}: expected RGB in 0..1, floating point, [B, S, 3, H, W]"
        )


def camera_rows(q: Tensor, k: Tensor) -> Tensor:
    """Read-out of the first query's attention over its frame's tokens: [B * S, heads, 1, P]."""
    return attention_rows(q[..., :1, :], k)
