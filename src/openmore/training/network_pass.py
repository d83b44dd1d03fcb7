"""One training pass: network, read-outs and objective in one module, so that DDP and FSDP see a single forward.

Choices
- `attention`: "full", "causal" (grouped: frame t sees frames 0..t), "token_causal" (the ablation without grouping:
  causal order inside a frame too), or "mixed": full or causal by a coin that all ranks share.
- Camera attention rows and matches are read out inside the blocks, hence inside activation checkpoints; the main path
  stays on fused attention.
- With `stream_gradient="G2"` the camera head runs on detached tokens of the streaming path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmore.errors import ConfigError
from openmore.model.aggregator import Readout, Where
from openmore.model.attention import AttentionPattern, FullAttention, GroupedCausalAttention
from openmore.model.more import MoRe, RawOutput, camera_rows
from openmore.training.batch import Batch
from openmore.training.camera_rows import forcing_blocks, labelled_rows, rows_of_clip, visibility
from openmore.training.losses.correspondence import find_matches, matching_readout
from openmore.training.losses.displacement import displacement_loss, displacement_truth
from openmore.training.objective import AttentionRows, Losses, ObjectiveConfig, objective

Attention = Literal["full", "causal", "token_causal", "mixed"]


@dataclass(frozen=True)
class PassConfig:
    """How the network runs while it is trained."""

    attention: Attention = "full"
    window: int | None = None  # causal: past frames a frame sees, beside the first; None sees all
    duplicates: bool = True  # causal: duplicate camera tokens, where the network has them
    camera_trunk: Literal["bidirectional", "causal"] = "bidirectional"  # causal: what the camera head sees


class TokenCausalAttention(FullAttention):
    """Every token sees itself and the tokens before it, frame-major (the ablation without grouped causal attention)."""

    def over_tokens(self, layer: int, frames: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def without_autocast(readout: Readout) -> Readout:
    """Keep a read-out's softmax in float32 inside a bf16 block."""

    def read(q: Tensor, k: Tensor) -> Tensor:
        with torch.autocast(q.device.type, enabled=False):
            return readout(q.float(), k.float())

    return read


class TrainingPass(nn.Module):
    """images and truth -> losses."""

    def __init__(self, model: MoRe, loss: ObjectiveConfig, config: PassConfig):
        super().__init__()
        self.model, self.loss, self.config = model, loss, config
        self.heads = loss.heads(model.config)
        self._check()

    def _check(self) -> None:
        """Settings that contradict each other."""
        loss, forcing = self.loss, self.loss.attention
        if not self.heads:
            raise ConfigError(f"nothing to train: every head of the network {self.model.config.heads} has weight 0")
        if loss.stream_gradient in ("G1", "G3") and loss.camera.form == "absolute":
            raise ConfigError(
                f"stream_gradient={loss.stream_gradient} truncates pairs of frames, but camera.form is absolute: "
                "set camera.form to relative_release or relative_paper"
            )
        if self.config.attention == "token_causal" and forcing.blocks == "global" and forcing.variant != "none":
            raise ConfigError(
                "attention forcing on global blocks needs frames that see themselves whole: use blocks=frame with "
                "token_causal attention"
            )

    def forward(self, batch: Batch, coin: float = 0.0, seed: int = 0) -> tuple[Losses, RawOutput]:
        """`coin` 0..1 decides a mixed pass (below 0.5: full), `seed` draws the matches; both the same on all ranks."""
        attention = self.config.attention
        if attention == "mixed":
            attention = "full" if coin < 0.5 else "causal"
        causal = attention != "full"
        readouts = self._readouts(batch, causal, seed)
        output = self._run(batch.images, self._pattern(attention), causal, readouts)
        with torch.autocast(batch.images.device.type, enabled=False):
            losses = objective(
                output,
                batch,
                self.loss,
                causal=causal,
                attention=self._attention(output, batch, causal),
                correspondence=self._correspondence(output),
                displacement=self._displacement(output, batch, causal),
            )
        return losses, output

    def freeze_idle(self) -> list[str]:
        """Switch off gradients of parameters that no step of this run can move (DDP waits for all others)."""
        own = {"camera": "camera_head", "depth": "depth_head", "points": "point_head", "motion": "motion_head"}
        idle = {f"{own[head]}." for head in set(self.model.config.heads) - self.heads}
        idle.add("aggregator.patch_embed.mask_token")  # carried by every checkpoint, never used
        if self.config.attention == "full" or not self._duplicates:
            idle.add("aggregator.additional_camera_token")
        names = [name for name, _ in self.model.named_parameters() if name.startswith(tuple(idle))]
        for name in names:
            self.model.get_parameter(name).requires_grad_(False)
        return names

    @property
    def _duplicates(self) -> bool:
        """Whether causal passes carry duplicate camera tokens: wanted, there, and supervised."""
        there = self.model.config.duplicate_camera and "camera" in self.heads
        return self.config.duplicates and there and self.loss.weights.duplicate > 0

    # -- the network ---------------------------------------------------------------------------------------------------

    def _pattern(self, attention: Attention) -> AttentionPattern:
        if attention == "full":
            return FullAttention()
        if attention == "token_causal":
            return TokenCausalAttention()
        return GroupedCausalAttention(
            self.config.window, bidirectional_cameras=self.config.camera_trunk == "bidirectional"
        )

    def _run(
        self, images: Tensor, pattern: AttentionPattern, causal: bool, readouts: dict[Where, Readout]
    ) -> RawOutput:
        duplicates = causal and self._duplicates
        if not (causal and self.loss.stream_gradient == "G2" and "camera" in self.heads):
            return self.model.run(
                images,
                pattern,
                outputs=self.heads,
                duplicates=duplicates,
                readouts=readouts,
                keep_tokens=self._displacement_layers(),
            )
        last = self.model.config.depth - 1
        output = self.model.run(
            images,
            pattern,
            outputs=self.heads - {"camera"},
            duplicates=duplicates,
            readouts=readouts,
            keep_tokens=(last, *self._displacement_layers()),
        )
        assert output.tokens is not None
        with torch.autocast(images.device.type, enabled=False):
            output.pose_codes = self.model.camera_head(output.tokens.frames[last][:, :, 0].detach(), pattern)
            if duplicates:
                output.refined_pose_codes = self.model.camera_head(output.tokens.duplicates[last], FullAttention())
        return output

    # -- read-outs -----------------------------------------------------------------------------------------------------

    def _readouts(self, batch: Batch, causal: bool, seed: int) -> dict[Where, Readout]:
        tokens = self.model.config.tokens_per_frame(batch.shape)
        readouts: dict[Where, Readout] = {}
        for where in self._forcing_blocks():
            clip = rows_of_clip(self._visible(batch, causal), tokens)
            readouts[where] = camera_rows if where[0] == "frame" else clip
        readouts |= {where: self._matching(batch, causal, seed) for where in self._matching_blocks()}
        return {where: without_autocast(readout) for where, readout in readouts.items()}

    def _visible(self, batch: Batch, causal: bool) -> Tensor:
        return visibility(batch.frames, causal, self.config.window)

    def _forcing_blocks(self) -> list[Where]:
        on = self.loss.weights.attention > 0
        return forcing_blocks(self.loss.attention, self.model.config.depth) if on else []

    def _matching_blocks(self) -> list[Where]:
        if self.loss.weights.correspondence == 0:
            return []
        layers = self.loss.correspondence_layers or (2 * self.model.config.depth // 3,)
        blocks: list[Where] = [("global", layer) for layer in layers]
        if shared := set(blocks) & set(self._forcing_blocks()):
            raise ConfigError(f"blocks {sorted(shared)} cannot have both attention forcing and a correspondence loss")
        return blocks

    def _displacement_layers(self) -> tuple[int, ...]:
        """Layers whose tokens carry displacements: half way up and at the top."""
        depth = self.model.config.depth
        return (depth // 2, depth - 1) if self.loss.weights.displacement else ()

    def _displacement(self, output: RawOutput, batch: Batch, causal: bool) -> Tensor | None:
        layers = self._displacement_layers()
        if not layers or output.tokens is None:
            return None
        c = self.model.config
        known = torch.where(batch.valid, batch.depth, 0)
        truth = displacement_truth(known, batch.K, batch.world_from_cam, batch.motion == 0, c.patch_size, causal)
        patches = (output.tokens.frames[layer][:, :, c.first_patch :, c.embed_dim :] for layer in layers)
        return torch.stack([displacement_loss(x, *truth) for x in patches]).mean()

    def _matching(self, batch: Batch, causal: bool, seed: int) -> Callable[[Tensor, Tensor], Tensor]:
        config = self.model.config
        matches = find_matches(
            torch.where(batch.valid, batch.depth, 0),
            batch.K,
            batch.world_from_cam,
            batch.motion == 0,
            config.patch_size,
            self.loss.correspondence_points,
            causal,
            torch.Generator().manual_seed(seed),
        )
        return matching_readout(matches, config.first_patch)

    # -- what the read-outs say ----------------------------------------------------------------------------------------

    def _attention(self, output: RawOutput, batch: Batch, causal: bool) -> list[AttentionRows]:
        rows = [output.readouts[where] for where in self._forcing_blocks()]
        c = self.model.config
        visible = self._visible(batch, causal)
        return labelled_rows(rows, batch, self.loss.attention, visible, c.patch_size, c.first_patch)

    def _correspondence(self, output: RawOutput) -> Tensor | None:
        losses = [output.readouts[where] for where in self._matching_blocks()]
        return torch.stack(losses).mean() if losses else None
