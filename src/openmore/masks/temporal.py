"""Neighbouring frames have a say: a pixel's label is put to the vote along the flow.

Choices
- Every neighbour casts a vote where the flow to it is consistent; a tie keeps the frame's own label.
- Unknown does not vote, and unknown pixels take the neighbours' majority: a region hidden in one frame is usually
  judged in another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openmore.flow.base import FlowResult
from openmore.flow.consistency import sample_at
from openmore.types import MOVING, STATIC, UNKNOWN


def vote(own: np.ndarray, neighbours: Sequence[tuple[np.ndarray, FlowResult]]) -> np.ndarray:
    """Labels [H, W] uint8 after the vote; `neighbours` are (labels of another frame, flow from this frame to it)."""
    balance = ballot(own)
    for labels, flow in neighbours:
        balance = balance + carried(labels, flow)
    return np.where(balance > 0, MOVING, np.where(balance < 0, STATIC, own)).astype(np.uint8)


def ballot(labels: np.ndarray) -> np.ndarray:
    """+1 moving, -1 static, 0 unknown, float32 [H, W]."""
    return np.where(labels == MOVING, 1, np.where(labels == UNKNOWN, 0, -1)).astype(np.float32)


def carried(labels: np.ndarray, flow: FlowResult) -> np.ndarray:
    """The other frame's ballot [H, W] read where `flow` points; 0 where the flow is not consistent."""
    brought = np.nan_to_num(sample_at(ballot(labels)[None], flow.flow)[0], nan=0.0)
    return np.where(flow.confidence > 0.5, np.round(brought), 0).astype(np.float32)
