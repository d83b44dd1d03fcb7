"""The fast loop over frames equals the plain dense mask made from the same rule."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openmore.model.attention import GroupedCausalAttention, attention_rows, visible_frames


def dense_mask(frames: int, tokens: int, past: int | None, anchors: int) -> Tensor:
    """[frames * tokens, frames * tokens] bool, the plain twin of the loop."""
    seen = torch.zeros(frames, frames, dtype=torch.bool)
    for t in range(frames):
        for span in visible_frames(t, past, anchors):
            seen[t, list(span)] = True
    return seen.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)


@pytest.mark.parametrize("past", [None, 0, 1, 3])
@pytest.mark.parametrize("anchors", [0, 1, 2])
def test_loop_equals_masked_twin(past: int | None, anchors: int) -> None:
    q, k, v = torch.randn(3, 2, 4, 6 * 5, 8).unbind(0)
    loop = GroupedCausalAttention(past, anchors).over_tokens(0, 6, q, k, v)
    twin = F.scaled_dot_product_attention(q, k, v, attn_mask=dense_mask(6, 5, past, anchors))
    torch.testing.assert_close(loop, twin, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("past", [None, 2])
def test_gradients_equal_the_twin(past: int | None) -> None:
    q, k, v = (torch.randn(1, 2, 4 * 3, 8, requires_grad=True) for _ in range(3))
    loop = GroupedCausalAttention(past).over_tokens(0, 4, q, k, v)
    twin = F.scaled_dot_product_attention(q, k, v, attn_mask=dense_mask(4, 3, past, 1))
    for ours, theirs in zip(*(torch.autograd.grad(x.square().sum(), (q, k, v)) for x in (loop, twin))):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_visible_frames_counts_past_frames_without_the_current_one() -> None:
    assert [list(r) for r in visible_frames(7, 2, 1)] == [[0], [5, 6, 7]]
    assert [list(r) for r in visible_frames(3, 2, 1)] == [[0, 1, 2, 3]]
    assert [list(r) for r in visible_frames(7, 2, 0)] == [[5, 6, 7]]
    assert [list(r) for r in visible_frames(7, None)] == [list(range(8))]


def test_rows_equal_the_full_attention_matrix() -> None:
    q, k = torch.randn(2, 2, 3, 9, 8).unbind(0)
    full = ((q @ k.transpose(-1, -2)) / 8**0.5).softmax(-1)
    torch.testing.assert_close(attention_rows(q[..., :2, :], k), full[..., :2, :])
