"""Optical flow behind one protocol: DIS (no weights), SEA-RAFT, exact flow of the synthetic world."""

from openmore.flow.base import FlowEstimator, FlowResult
from openmore.flow.registry import get_flow

__all__ = ["FlowEstimator", "FlowResult", "get_flow"]
