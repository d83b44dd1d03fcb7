"""Replayed steps equal plain ones. The real graphs need a GPU; on the CPU a traced program stands in for them.

The stand-in freezes exactly what a CUDA graph freezes: every number that Python computed, and the place of every
tensor. What it cannot show is that the kernels themselves may be captured.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from openmore.errors import ConfigError
from openmore.model.config import preset
from openmore.model.more import MoRe, RawOutput
from openmore.streaming.graphs import GraphedSteps, Step, copied
from openmore.streaming.policy import KeepAll, KeyframeEvery, Policy, Specials, Window
from openmore.streaming.stream import TensorStream
from tests.model.conftest import lively
from tests.streaming.conftest import clip, open_stream, push


@pytest.fixture(scope="module")
def model() -> MoRe:
    """Even smaller than elsewhere: tracing takes milliseconds per operation."""
    smaller = replace(preset("tiny"), vit_depth=1, camera_depth=1, camera_iterations=2, heads=("camera", "depth"))
    return lively(smaller).requires_grad_(False)


POLICIES = [Window(1), Specials(1, 1, 2), KeyframeEvery(2, 1)]


def trace(step: Step, images: Tensor) -> Step:
    """A program with everything but the contents of tensors frozen."""
    shape: list[pytree.TreeSpec] = []

    def flat(images: Tensor) -> list[Tensor | None]:
        raw = step(images)
        values, spec = pytree.tree_flatten({"codes": raw.pose_codes, "depth": raw.depth, "conf": raw.depth_conf})
        shape.append(spec)
        return values

    with torch.inference_mode(False), torch.no_grad():
        program = make_fx(flat)(images.clone())

    def replay(images: Tensor) -> RawOutput:
        found = pytree.tree_unflatten(program(images), shape[0])
        return copied(RawOutput(pose_codes=found["codes"], depth=found["depth"], depth_conf=found["conf"]))

    return replay


def graphed(model: MoRe, policy: Policy, **options: object) -> TensorStream:
    stream = open_stream(model, policy, **options)
    stream.graphs = GraphedSteps(trace)
    return stream


def assert_cameras_and_depth(ours: RawOutput, expected: RawOutput) -> None:
    for a, b in ((ours.pose_codes[-1], expected.pose_codes[-1]), (ours.depth, expected.depth)):
        assert a is not None and b is not None
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize(
    "policy", [POLICIES[0], *(pytest.param(p, marks=pytest.mark.slow) for p in POLICIES[1:])], ids=repr
)
def test_replayed_steps_equal_plain_ones(model: MoRe, policy: Policy) -> None:
    images = clip(10)
    stream, plain = (make(model, policy, refinable=True) for make in (graphed, open_stream))
    ours, expected = push(stream, images), push(plain, images)
    assert stream.graphs is not None and stream.graphs.replayed >= 3
    assert_cameras_and_depth(ours, expected)
    for a, b in zip(stream.refine()[1], plain.refine()[1]):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_a_growing_cache_is_never_captured(model: MoRe) -> None:
    stream = graphed(model, KeepAll())
    push(stream, clip(5))
    assert stream.graphs is not None and stream.graphs.replayed == 0


@pytest.mark.slow
def test_steps_of_two_kinds_have_two_graphs(model: MoRe) -> None:
    """Depth for every other frame only; then a compacted store and groups, which run one by one."""
    images = clip(12)
    stream = graphed(model, Window(1))
    expected = push(open_stream(model, Window(1)), images)
    for frame in range(8):
        raw = stream.step(images[:, frame : frame + 1], outputs={"depth"} if frame % 2 else set())
        assert (raw.depth is not None) == bool(frame % 2)
        torch.testing.assert_close(raw.pose_codes[-1], expected.pose_codes[-1][:, frame : frame + 1], rtol=0, atol=1e-5)
    assert stream.graphs is not None and stream.graphs.replayed == 4  # full from frame 2 on, one plain step each
    for store in (stream.cache.tokens, stream.cache.cameras):
        store.compact()
    codes = [stream.step(images[:, start : start + 2], outputs={"depth"}).pose_codes[-1] for start in range(8, 12, 2)]
    assert stream.graphs.replayed == 8
    torch.testing.assert_close(torch.cat(codes, 1), expected.pose_codes[-1][:, 8:], rtol=0, atol=1e-5)


def test_graphs_are_refused_without_a_gpu(model: MoRe) -> None:
    with pytest.raises(ConfigError, match="need a CUDA device"):
        open_stream(model, Window(2), graphs=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_cuda_graphs_equal_plain_steps(model: MoRe, policy: Policy) -> None:
    import copy

    images = clip(20)
    on_gpu = copy.deepcopy(model).to("cuda")
    stream = open_stream(on_gpu, policy, graphs=True)
    ours = push(stream, images)
    assert stream.graphs is not None and stream.graphs.replayed >= 8
    expected = push(open_stream(on_gpu, policy), images)
    assert_cameras_and_depth(ours, expected)
