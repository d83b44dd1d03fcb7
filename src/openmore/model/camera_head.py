"""Camera head: a small transformer over the frames' camera tokens that refines the pose code a few times.

Choices
- The running code is fed back un-activated and detached; what is emitted is activated (field of view through ReLU).
- The attention among frames is the pattern's: bidirectional over a clip, causal, or a stream's per-iteration cache.
- The head computes in float32 whatever the backbone's dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmore.model.attention import AttentionPattern, Block, BlockList, LayerNorm, Mlp
from openmore.model.config import ModelConfig


class CameraHead(nn.Module):
    """Camera tokens [B, S, 2C] -> one activated pose code [B, S, 9] per refinement iteration."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width = 2 * config.embed_dim
        self.iterations = config.camera_iterations
        self.token_norm = LayerNorm(width, eps=1e-5)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, 9))
        self.embed_pose = nn.Linear(9, width)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))
        self.adaln_norm = LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.trunk = BlockList(
            Block(width, config.camera_heads, config.mlp_ratio, scale_init=config.layer_scale)
            for _ in range(config.camera_depth)
        )
        self.trunk_norm = LayerNorm(width, eps=1e-5)
        self.pose_branch = Mlp(width, width // 2, 9)

    def forward(self, camera_tokens: Tensor, pattern: AttentionPattern, iterations: int | None = None) -> list[Tensor]:
        """Codes of every iteration; the last one is the answer, training supervises all. `iterations` 1..4."""
        tokens = self.token_norm(camera_tokens)
        running: Tensor | None = None
        emitted = []
        for iteration in range(iterations or self.iterations):
            previous = self.empty_pose_tokens.expand(*tokens.shape[:2], -1) if running is None else running.detach()
            update = self._update(tokens, previous, pattern, iteration)
            running = update if running is None else running + update
            emitted.append(activate(running))
        return emitted

    def _update(self, tokens: Tensor, previous: Tensor, pattern: AttentionPattern, iteration: int) -> Tensor:
        shift, scale, gate = self.poseLN_modulation(self.embed_pose(previous)).chunk(3, -1)
        x = gate * (self.adaln_norm(tokens) * (1 + scale) + shift) + tokens
        for index, block in enumerate(self.trunk):
            q, k, v = block.open(x)
            x = block.close(x, pattern.over_cameras(iteration, index, q, k, v))
        return self.pose_branch(self.trunk_norm(x))


def activate(code: Tensor) -> Tensor:
    """Running code -> emitted code: translation and quaternion as they are, field of view through ReLU."""
    return torch.cat((code[..., :7], F.relu(code[..., 7:])), -1)
