"""Activation checkpointing, and what a training step costs in memory and time before one is run."""

from __future__ import annotations

from functools import partial

from torch.utils.checkpoint import checkpoint

from openmore.model.dense_head import DenseHead
from openmore.model.more import MoRe


def recompute(model: MoRe) -> None:
    """Recompute attention blocks and dense heads in the backward pass.

    The heads matter as much as the blocks: at 518 pixels each keeps over half a gigabyte per frame. They go chunk by
    chunk (a few frames), so that only one chunk's activations exist at a time.
    """
    model.aggregator.checkpointing = True
    for head in model.children():
        if isinstance(head, DenseHead):
            head._maps = partial(checkpoint, head._maps, use_reentrant=False)  # type: ignore[method-assign]
