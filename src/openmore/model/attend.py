"""Softmax attention, by the quickest exact way there is for the tensors at hand.

Choices
- On processors two plain products with powers of two between them are up to twice as fast as torch's fused kernel in
  bf16, and 1.1 to 1.3 times in float32 where keys are many (docs/performance.md): some rows and keys at a time, in
  memory that is used over and over and stays in a core's cache.
- softmax(s) = 2^(s log2 e) / sum: the largest score need not be found and subtracted first, which takes as long as the
  powers do. Only scores far from 0 (beyond about 44 below or 69 above) would leave the range of numbers; the sums tell,
  and the fused kernel then does the work again.
- Nothing is approximated; in bf16 scores and sums are rounded once more, which weighs less than that queries and keys
  were rounded.
- Everywhere else, and wherever a gradient is wanted, the fused kernel it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SCORES = 1_000_000  # in work at once: more leave the caches, fewer make more calls
ROWS = 384  # queries in work at once at most
KEYS = 2000  # of heads that several go together of: a batched product wants them side by side, and copying costs
FEWEST = 4096  # scores of a head below which the calls cost more than they save
LONG, FEW = 4000, (32, 767)  # keys from which float32 gains, and rows: of more the fused kernel takes larger blocks
LOWEST, HIGHEST = 2.0**-64, 2.0**100  # sums of powers between which no power that matters was lost


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) v for q [B, heads, T, head_dim] and k, v [B, heads, keys, head_dim]."""
    if q.device.type == "cpu" and _many(q.dtype, q.shape[-2], k.shape[-2]) and not _wants_gradient(q, k, v):
        return by_products(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def by_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same by two products, a few heads, query rows and keys at a time. No gradient."""
    B, H, T, head_dim = q.shape
    rows, some, heads = _shares(H, T, k.shape[-2])
    keys, values = (k.contiguous(), v.contiguous()) if heads > 1 else (k, v)
    queries = (q * (math.log2(math.e) / math.sqrt(head_dim))).contiguous()
    out, sums = torch.empty_like(queries), q.new_empty(B, H, T, 1, dtype=torch.float32)
    memory = q.new_empty(heads * rows * some)
    for b in range(B):
        for h in range(0, H, heads):
            among = b, h if heads == 1 else slice(h, h + heads)
            its_keys, its_values = keys[among], values[among]
            for t in range(0, T, rows):
                part = *among, slice(t, t + rows)
                out[part], sums[part] = _mean_of_values(queries[part], its_keys, its_values, some, memory)
    low, high = (float(x) for x in sums.aminmax())
    return out if low > LOWEST and high < HIGHEST else F.scaled_dot_product_attention(q, k, v)


def _mean_of_values(q: Tensor, k: Tensor, v: Tensor, some: int, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Values [..., keys, head_dim] averaged with weights 2^(q k^T), and the sums [..., rows, 1] of the weights.

    `some` keys at a time; `memory` has room for the weights of that many.
    """
    means, sums = [], []
    for first in range(0, k.shape[-2], some):
        turned = k[..., first : first + some, :].mT
        shape = *q.shape[:-1], turned.shape[-1]
        weights = memory[: math.prod(shape)].view(shape)
        torch.matmul(q, turned, out=weights).exp2_()
        sums.append(weights.sum(-1, keepdim=True))
        means.append(weights @ v[..., first : first + some, :])
    if len(means) == 1:
        return means[0].div_(sums[0]), sums[0]
    total = torch.stack(sums).sum(0, dtype=torch.float32)
    return torch.stack(means).sum(0, dtype=torch.float32).div_(total), total


def _shares(heads: int, rows: int, keys: int) -> tuple[int, int, int]:
    """Rows, keys and heads that are in work at once."""
    rows = _even(rows, ROWS)
    some = _even(keys, max(SCORES // rows, 1))
    if some < keys:
        some = 32 * math.ceil(some / 32)  # rows of weights then begin where vectors do
    return rows, some, _even(heads, max(SCORES // (rows * keys), 1)) if keys <= KEYS else 1


def _even(count: int, most: int) -> int:
    """The largest share when `count` is divided evenly into shares of at most `most`."""
    return math.ceil(count / math.ceil(count / most))


def _many(dtype: torch.dtype, rows: int, keys: int) -> bool:
    """Whether products are quicker than the fused kernel."""
    if rows * keys < FEWEST:
        return False
    return dtype == torch.bfloat16 or (dtype == torch.float32 and keys >= LONG and FEW[0] <= rows <= FEW[1])


def _wants_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
