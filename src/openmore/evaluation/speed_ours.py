"""Our network as the speed suite times it: streaming with a window or all of the past, or the whole clip at once.

Choices
- Only the heads a video needs (cameras, depth, motion). The refinement pass over the duplicate camera tokens is part of
  the clip's time when it is asked for; the published figure is without it.
- Full attention takes the clip in one pass, which is what the published VGGT figure means.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from openmore.errors import ConfigError
from openmore.evaluation.network import parse_mode
from openmore.evaluation.speed import Runner


def our_runner(
    weights: str, mode: str, device: str, dtype: str, shape: tuple[int, int], *, refine: bool = False
) -> Runner:
    """The runner of a mode's name. Raises CheckpointError or ConfigError."""
    from openmore.model.more import MoRe

    options = parse_mode(mode)
    model = MoRe.from_pretrained(weights, device=device, dtype=dtype).pack()
    patch = model.config.patch_size
    if shape[0] % patch or shape[1] % patch:
        raise ConfigError(f"{shape[1]}x{shape[0]} pixels are no multiple of the patch of {patch}")
    if options["mode"] == "full":
        if refine:
            raise ConfigError("full attention has no refinement pass: time it with --mode stream")
        return OurFull(model, weights, shape)
    return OurStream(model, weights, shape, options.get("window"), refine)


class OurStream:
    """Our streaming mode with a window of past frames, or all of them."""

    def __init__(self, model: Any, weights: str, shape: tuple[int, int], window: int | None, refine: bool):
        from openmore.streaming.policy import KeepAll, Window
        from openmore.streaming.stream import StreamOptions

        self.model, self.weights, self.window, self.shape, self.refine = model, weights, window, shape, refine
        policy = KeepAll() if window is None else Window(window, 1)
        self.options = StreamOptions(policy, heads_of(model), refinable=refine)
        self.begin()

    def begin(self) -> None:
        from openmore.streaming.stream import TensorStream

        self.stream = TensorStream(self.model, self.shape, self.options)

    def step(self, image: Tensor) -> Any:
        return self.stream.step(image[None])

    def finish(self) -> Any:
        return self.stream.refine() if self.refine else None

    def describe(self) -> dict[str, Any]:
        past = "all of the past" if self.window is None else f"window {self.window}"
        name = f"OpenMoRe {self.weights}, {past}" + (", refined" if self.refine else "")
        return {"name": name, "window": self.window, "refined": self.refine, **about(self.model, self.shape)}


class OurFull:
    """Full attention over the clip."""

    waits = True

    def __init__(self, model: Any, weights: str, shape: tuple[int, int]):
        self.model, self.weights, self.shape = model, weights, shape
        self.clip: list[Tensor] = []

    def begin(self) -> None:
        self.clip = []

    def step(self, image: Tensor) -> None:
        self.clip.append(image)

    def finish(self) -> Any:
        return self.model(torch.stack(self.clip, 1), outputs=heads_of(self.model), mode="full")

    def describe(self) -> dict[str, Any]:
        return {"name": f"OpenMoRe {self.weights}, full attention", "window": None, **about(self.model, self.shape)}


def heads_of(model: Any) -> frozenset[str]:
    """The heads a video needs, of those the weights have."""
    return frozenset({"camera", "depth", "motion"} & set(model.config.heads))


def about(model: Any, shape: tuple[int, int]) -> dict[str, Any]:
    """Precision and token count, which published figures differ in."""
    from openmore.streaming.stream import backbone_dtype

    precision = str(backbone_dtype(model)).removeprefix("torch.")
    return {"precision": precision, "tokens_per_frame": model.config.tokens_per_frame(shape)}
