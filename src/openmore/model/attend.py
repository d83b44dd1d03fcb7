"""Softmax attention, by the quickest exact way there is for the tensors at hand.

Choices
- On processors torch's fused kernel is no faster in bf16 than in float32 (docs/performance.md). Two plain products
  with a softmax between them are 1.4 to 1.9 times as fast there, if what lies between them stays in a core's cache:
  so heads and query rows are taken a few at a time. Nothing is approximated; scores are rounded to bf16 once more,
  which is less than rounding queries and keys has cost already.
- Everywhere else, and wherever a gradient is wanted, the fused kernel it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SCORES = 600_000  # in work at once: more leave the caches, fewer make more calls
ROWS = 128  # queries in work at once at least, however many keys there are: fewer make thin products
KEYS = 2000  # of heads that several go together of: a batched product wants them side by side, and copying costs
FEWEST = 4096  # scores of a head below which the calls cost more than they save


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) v for q [B, heads, T, head_dim] and k, v [B, heads, keys, head_dim]."""
    on_processor = q.dtype == torch.bfloat16 and q.device.type == "cpu"
    if on_processor and q.shape[-2] * k.shape[-2] >= FEWEST and not _wants_gradient(q, k, v):
        return by_products(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def by_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same by two products, a few heads and query rows at a time. No gradient."""
    B, H, T, head_dim = q.shape
    keys = k.shape[-2]
    rows = math.ceil(T / math.ceil(T / max(SCORES // keys, ROWS)))  # even shares
    heads = min(max(SCORES // (rows * keys), 1), H) if keys <= KEYS else 1
    if heads > 1:
        k, v = k.contiguous(), v.contiguous()
    q, out = q / math.sqrt(head_dim), torch.empty_like(q, memory_format=torch.contiguous_format)
    for b in range(B):
        for h in range(0, H, heads):
            some = h if heads == 1 else slice(h, h + heads)
            turned, values, queries, result = k[b, some].mT, v[b, some], q[b, some], out[b, some]
            for t in range(0, T, rows):
                part = slice(t, t + rows)
                result[..., part, :] = (queries[..., part, :] @ turned).softmax(-1) @ values
    return out


def _wants_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
