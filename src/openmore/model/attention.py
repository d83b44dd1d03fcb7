"""The transformer block and the rules that say who attends to whom.

Choices
- A block hands out its queries, keys and values; an `AttentionPattern` decides what they attend to. A pass over a
  clip uses `FullAttention` or `GroupedCausalAttention`; a stream passes its KV cache, which is just another pattern.
- Grouped causal attention is a loop over frames with growing keys, not a mask: a mask skips no work and rules out
  the flash kernel. `visible_frames` states the rule once; tests compare the loop with a dense mask made from it.
- The residual stream, norms and rotations are float32; linear layers run in their weights' dtype (bf16 weights give
  bf16 products), and keys are cast to the values' dtype, so that a cache never inherits float32 from the k-norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmore.model.attend import attend
from openmore.model.rope import Rope, rotate


class AttentionPattern(Protocol):
    """Who attends to whom across frames. q, k, v are [B, heads, S * tokens, head_dim]; the result has q's shape."""

    def over_tokens(self, layer: int, frames: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Global block `layer`: all tokens of `frames` frames, frame-major."""
        ...

    def over_cameras(self, iteration: int, block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Camera head: one token per frame, in refinement `iteration`, trunk block `block`."""
        ...

    def keep_frame(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Offered the keys and values [B * S, heads, P, head_dim] of frame block `layer`, which never cross frames."""
        ...


class FullAttention:
    """Every token sees every token of the clip (VGGT; MoRe's offline model)."""

    def over_tokens(self, layer: int, frames: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v)

    def over_cameras(self, iteration: int, block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v)

    def keep_frame(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Nothing outlives a pass over a clip."""


def visible_frames(frame: int, past: int | None, anchors: int = 1) -> list[range]:
    """Frames that frame number `frame` attends to, as ascending disjoint ranges.

    `past` counts the earlier frames kept, the current one excluded; None keeps all. The first `anchors` frames stay
    visible for ever. (STream3R's mask form of "window W" is past = W - 1, its cache form is past = W.)
    """
    if past is None or frame - past <= anchors:
        return [range(frame + 1)]
    return [range(anchors), range(frame - past, frame + 1)] if anchors else [range(frame - past, frame + 1)]


class GroupedCausalAttention:
    """Tokens of frame t see all tokens of the frames visible to t, their own included (MoRe's streaming model).

    With `bidirectional_cameras` the camera head sees the whole clip, as in the release's evaluation.
    """

    def __init__(self, past: int | None = None, anchors: int = 1, bidirectional_cameras: bool = False):
        self.past, self.anchors, self.bidirectional_cameras = past, anchors, bidirectional_cameras

    def over_tokens(self, layer: int, frames: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        tokens = q.shape[-2] // frames
        attended = [self._attend_one(t, tokens, q, k, v) for t in range(frames)]
        return torch.cat(attended, -2)

    def over_cameras(self, iteration: int, block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.bidirectional_cameras:
            return attend(q, k, v)
        return self.over_tokens(block, q.shape[-2], q, k, v)

    def keep_frame(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Nothing outlives a pass over a clip."""

    def _attend_one(self, frame: int, tokens: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ranges = visible_frames(frame, self.past, self.anchors)
        query = q[..., frame * tokens : (frame + 1) * tokens, :]
        return attend(query, _frames_of(k, ranges, tokens), _frames_of(v, ranges, tokens))


def _frames_of(x: Tensor, ranges: Sequence[range], tokens: int) -> Tensor:
    parts = [x[..., r.start * tokens : r.stop * tokens, :] for r in ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -2)


def suited(x: Tensor, layer: nn.Linear | nn.Conv2d) -> Tensor:
    """x in the dtype of a layer's weights; under autocast as it is, for there the caller's choice rules."""
    if x.dtype == layer.weight.dtype or torch.is_autocast_enabled(x.device.type):
        return x
    return x.to(layer.weight.dtype)


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear layer in its weights' dtype."""
    return layer(suited(x, layer))


class LayerNorm(nn.LayerNorm):
    """Layer normalisation that always computes and returns float32."""

    def forward(self, input: Tensor) -> Tensor:
        # Both at once: the norm would copy what does not lie in a row.
        input = input.to(torch.float32, memory_format=torch.contiguous_format)
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class LayerScale(nn.Module):
    """Learned per-channel gain of a residual branch."""

    def __init__(self, dim: int, init: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """The residual stream x with the scaled branch added, in one pass over memory."""
        return torch.addcmul(x, self.gamma, branch.to(x.dtype))


class Mlp(nn.Module):
    """Two linear layers around an exact (erf) GELU."""

    def __init__(self, dim: int, hidden: int, out: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(linear(self.fc1, x)))


class Attention(nn.Module):
    """The learned maps of multi-head attention; the attending itself is the pattern's."""

    def __init__(self, dim: int, num_heads: int, qk_norm: bool):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.q_norm = LayerNorm(dim // num_heads, eps=1e-5) if qk_norm else None
        self.k_norm = LayerNorm(dim // num_heads, eps=1e-5) if qk_norm else None

    def queries_keys_values(self, x: Tensor, rope: Rope | None) -> tuple[Tensor, Tensor, Tensor]:
        """[N, T, C] -> q, k, v, each [N, heads, T, head_dim], normalised, rotated and of one dtype."""
        q, k, v = linear(self.qkv, x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        return q.to(v.dtype), k.to(v.dtype), v

    def merge(self, attended: Tensor) -> Tensor:
        """[N, heads, T, head_dim] -> [N, T, C]."""
        return linear(self.proj, attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm transformer block, opened in the middle so that the caller chooses what is attended to."""

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: int, *, qk_norm: bool = False, scale_init: float, eps: float = 1e-5
    ):
        super().__init__()
        self.norm1 = LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, num_heads, qk_norm)
        self.ls1 = LayerScale(dim, scale_init)
        self.norm2 = LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, mlp_ratio * dim, dim)
        self.ls2 = LayerScale(dim, scale_init)

    def open(self, x: Tensor, rope: Rope | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the tokens [N, T, C]."""
        return self.attn.queries_keys_values(self.norm1(x), rope)

    def close(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add the attended values and the MLP to the residual stream [N, T, C]."""
        x = self.ls1(x, self.attn.merge(attended))
        return self.ls2(x, self.mlp(self.norm2(x)))

    def forward(self, x: Tensor, rope: Rope | None = None) -> Tensor:
        """Attention among the T tokens of each item of [N, T, C]."""
        q, k, v = self.open(x, rope)
        return self.close(x, attend(q, k, v))


class BlockList(nn.ModuleList):
    """A ModuleList that knows it holds blocks."""

    def __getitem__(self, index: int) -> Block:  # type: ignore[override]
        return super().__getitem__(index)  # type: ignore[return-value]

    def __iter__(self) -> Iterator[Block]:  # type: ignore[override]
        return super().__iter__()  # type: ignore[return-value]


def attention_rows(q: Tensor, k: Tensor, visible: Tensor | None = None) -> Tensor:
    """Softmaxed attention [..., rows, keys] of a few query rows in float32, beside the fused path.

    `visible` [rows, keys] bool limits the keys. Costs rows / tokens of the full matrix.
    """
    scores = (q.float() @ k.float().transpose(-1, -2)) * q.shape[-1] ** -0.5
    if visible is not None:
        scores = scores.masked_fill(~visible, float("-inf"))
    return scores.softmax(-1)
