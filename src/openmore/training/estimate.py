"""What a run will cost before it is started: `openmore train RECIPE --dry-run`.

Choices
- The network itself is traced with fake tensors (no memory, no arithmetic) at the sizes the recipe draws: what autograd
  keeps and the number of operations are counted, not guessed from formulas.
- Two batches are looked at: the longest clip, and as many short clips as the image budget holds.
- Memory = weights, gradients and optimiser state, divided by the ranks under fsdp, + what is kept for the backward pass
  + the largest part that is recomputed. The allocator's slack and communication buffers come on top: leave 10 %.
- Time is operations / (peak rate * utilisation); the assumed accelerator is printed with the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from openmore.model.config import preset
from openmore.model.dense_head import FRAMES_AT_ONCE, DenseHead, dense_grid
from openmore.model.more import MoRe, RawOutput
from openmore.training import optim
from openmore.training.config import TrainConfig
from openmore.training.memory import recompute
from openmore.training.network_pass import TrainingPass
from openmore.training.plan import clips_per_rank, largest_shape

GIB = 2**30
T = TypeVar("T")


@dataclass(frozen=True)
class Accelerator:
    """What time is estimated for."""

    name: str
    tflops: float  # dense bf16 peak
    utilisation: float = 0.4
    memory_gib: float = 80.0


A800 = Accelerator("A800 80 GB", 312.0)


@dataclass(frozen=True)
class BatchCost:
    """One micro batch of one rank."""

    clips: int
    frames: int
    shape: tuple[int, int]
    tflop: float  # forward and backward, recomputation included
    kept_gib: float  # activations held until the backward pass
    recomputed_gib: float  # the largest part that is recomputed at once


@dataclass(frozen=True)
class Estimate:
    """The cost of a run."""

    parameters: int
    trained: int
    state_gib: float  # weights, gradients, optimiser, average: per rank
    batches: tuple[BatchCost, ...]
    accelerator: Accelerator
    steps: int
    accumulate: int
    world: int

    @property
    def peak_gib(self) -> float:
        """Memory per rank for the larger of the two batches."""
        return self.state_gib + max(b.kept_gib + b.recomputed_gib for b in self.batches)

    @property
    def step_seconds(self) -> float:
        """Mean over the two batches."""
        rate = self.accelerator.tflops * self.accelerator.utilisation
        return self.accumulate * sum(b.tflop for b in self.batches) / len(self.batches) / rate

    @property
    def images_per_s(self) -> float:
        """Frames a second of all ranks together."""
        frames = sum(b.clips * b.frames for b in self.batches) / len(self.batches)
        return frames * self.accumulate * self.world / self.step_seconds

    def lines(self) -> list[str]:
        """For a person."""
        a = self.accelerator
        text = [
            f"parameters   {self.parameters / 1e6:,.1f} M, {self.trained / 1e6:,.1f} M of them trained",
            f"state        {self.state_gib:.1f} GiB per process (weights, gradients, AdamW, average)",
        ]
        for b in self.batches:
            size = f"{b.clips} x {b.frames} frames of {b.shape[1]}x{b.shape[0]}"
            text.append(
                f"batch        {size:<28} keeps {b.kept_gib:.1f} GiB, recomputes {b.recomputed_gib:.1f} GiB at a time, "
                f"{b.tflop:,.1f} TFLOP"
            )
        hours = self.steps * self.step_seconds / 3600
        return [
            *text,
            f"peak memory  about {self.peak_gib:.1f} GiB per process (keep 10 % free on top)",
            f"speed        about {self.step_seconds:.2f} s a step, {self.images_per_s:,.0f} frames/s on {self.world} x "
            f"{a.name} at {a.utilisation:.0%} of {a.tflops:.0f} TFLOP/s",
            f"whole run    {self.steps:,} steps, about {hours:,.1f} h, {self.world * hours:,.0f} device hours",
        ]


def estimate(config: TrainConfig, world: int = 1, accelerator: Accelerator = A800) -> Estimate:
    """Trace the recipe's network at the sizes it draws. Takes some seconds, no GPU, little memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    data = config.data
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = MoRe(preset(config.model)).requires_grad_(True)
        optim.freeze(model, config.optim.freeze)
        if config.run.checkpointing:
            recompute(model)
        step = TrainingPass(model, config.objective, config.passes)
        step.freeze_idle()
        shape = largest_shape(data, model.config.patch_size)
        sizes = {(clips_per_rank(data, frames), frames) for frames in data.frames}
        batches = tuple(_trace(step, config, clips, frames, shape) for clips, frames in sorted(sizes))
        count = {p: p.numel() for p in model.parameters()}
        trained = sum(n for p, n in count.items() if p.requires_grad)
    parts = world if config.run.parallel == "fsdp" else 1
    total = sum(count.values())
    state = (4 * total + (12 + 4 * bool(config.optim.ema)) * trained) / parts / GIB
    return Estimate(total, trained, state, batches, accelerator, config.optim.steps, config.optim.accumulate, world)


def _trace(step: TrainingPass, config: TrainConfig, clips: int, frames: int, shape: tuple[int, int]) -> BatchCost:
    from torch.utils.flop_counter import FlopCounterMode

    images = torch.rand(clips, frames, 3, *shape)
    mode = "full" if config.passes.attention == "full" else "causal"
    duplicates = mode == "causal" and config.passes.duplicates and step.model.config.duplicate_camera
    counter = FlopCounterMode(display=False)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.run.precision == "bf16"):
        with counter:
            output, kept = kept_bytes(
                step.model, lambda: step.model(images, outputs=step.heads, mode=mode, duplicates=duplicates)
            )
            _scalar(output).backward()
        recomputed = _largest_part(step.model, clips, frames, shape) if config.run.checkpointing else 0
    return BatchCost(clips, frames, shape, counter.get_total_flops() / 1e12, kept / GIB, recomputed / GIB)


def kept_bytes(model: nn.Module, run: Callable[[], T]) -> tuple[T, int]:
    """Run with a tally of what autograd keeps; weights themselves do not count."""
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}  # holding the storages keeps their addresses from being used again

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage()._cdata] = x.untyped_storage()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        output = run()
    return output, sum(storage.nbytes() for key, storage in kept.items() if key not in weights)


def _scalar(output: RawOutput) -> Tensor:
    """Something to differentiate that reaches every output."""
    tensors = [*output.pose_codes, *output.refined_pose_codes]
    tensors += [output.depth, output.depth_conf, output.points, output.points_conf, output.motion_logits]
    return torch.stack([x.float().mean() for x in tensors if x is not None]).sum()


def _largest_part(model: MoRe, clips: int, frames: int, shape: tuple[int, int]) -> int:
    """Bytes that one block or one chunk of a dense head keeps while it is differentiated."""
    c = model.config
    tokens = torch.rand(clips, frames * c.tokens_per_frame(shape), c.embed_dim, requires_grad=True)
    block = model.aggregator.global_blocks[0]
    parts = [kept_bytes(model, lambda: block(tokens))[1]]
    for head in model.children():
        if isinstance(head, DenseHead):
            parts.append(_chunk_bytes(model, head, shape, min(clips * frames, FRAMES_AT_ONCE)))
    return max(parts)


def _chunk_bytes(model: MoRe, head: DenseHead, shape: tuple[int, int], frames: int) -> int:
    """What one chunk of a dense head keeps, checkpointing aside. The head is float32 whatever the precision."""
    c = model.config
    layers = [torch.rand(frames, c.tokens_per_frame(shape), 2 * c.embed_dim, requires_grad=True) for _ in range(4)]
    with torch.autocast("cpu", enabled=False):
        return kept_bytes(model, lambda: DenseHead._maps(head, layers, dense_grid(c, shape)))[1]
