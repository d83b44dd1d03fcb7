"""A tiny network whose every path contributes, and clips to push through it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from openmore.model.config import preset
from openmore.model.more import MoRe, RawOutput
from openmore.streaming.policy import Budget, KeepAll, Policy
from openmore.streaming.stream import StreamOptions, TensorStream, join
from tests.model.conftest import lively

SHAPE = (28, 42)
MAPS = ("depth", "depth_conf", "points", "points_conf", "motion_logits")


@pytest.fixture(scope="session")
def model() -> MoRe:
    return lively(preset("tiny")).requires_grad_(False)


def clip(frames: int, batch: int = 1, shape: tuple[int, int] = SHAPE, seed: int = 0) -> Tensor:
    """Random pictures [B, S, 3, H, W] in 0..1."""
    return torch.rand(batch, frames, 3, *shape, generator=torch.Generator().manual_seed(seed))


def pictures(frames: int, shape: tuple[int, int] = (60, 80), seed: int = 0) -> list[np.ndarray]:
    """Random pictures [H, W, 3] uint8."""
    return list(np.random.default_rng(seed).integers(0, 256, (frames, *shape, 3), dtype=np.uint8))


def open_stream(model: MoRe, policy: Policy | Budget | None = None, batch: int = 1, **options: object) -> TensorStream:
    return TensorStream(model, SHAPE, StreamOptions(policy or KeepAll(), batch=batch, **options))  # type: ignore[arg-type]


def push(stream: TensorStream, images: Tensor, groups: list[int] | int = 1) -> RawOutput:
    """Push a clip in groups of one size or of the sizes given."""
    return join([stream.step(part) for part in images.split(groups, 1)])


def one_pass(model: MoRe, images: Tensor, past: int | None = None, anchors: int = 1, **options: object) -> RawOutput:
    """The causal pass over the whole clip: the plain twin of every stream."""
    options = {"duplicates": False, **options}
    with torch.no_grad():
        return model(images, mode="causal", past=past, anchors=anchors, camera_trunk="causal", **options)


def assert_same(ours: RawOutput, expected: RawOutput, tolerance: float = 1e-5) -> None:
    """Every output, to `tolerance` of its largest value."""
    assert len(ours.pose_codes) == len(expected.pose_codes)
    pairs = list(zip(ours.pose_codes, expected.pose_codes))
    pairs += [(getattr(ours, name), getattr(expected, name)) for name in MAPS]
    for a, b in pairs:
        assert bool(torch.isfinite(b).all())
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * float(b.abs().max()))


def frames_of(output: RawOutput, start: int, stop: int | None = None) -> RawOutput:
    """Part of a clip's outputs."""
    cut = slice(start, stop)
    return RawOutput(
        pose_codes=[code[:, cut] for code in output.pose_codes],
        **{name: getattr(output, name)[:, cut] for name in MAPS},
    )
