"""One stream at the level of tensors: images in, `RawOutput` out, state in one visible object.

Choices
- The model is shared and never touched; everything a stream remembers is here and can be saved, loaded or thrown away.
- A step either succeeds or leaves the state as it was: bad frames are refused before anything is written.
- Groups of frames run together while the policy drops nothing; otherwise one by one, so that grouping never changes
  a result.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from openmore.checks import FLAG, optional, require, shown, whole
from openmore.errors import ConfigError, StreamError
from openmore.model.estimate import available_bytes
from openmore.model.more import MoRe, Prepared, RawOutput
from openmore.streaming.cache import StreamCache, frame_bytes
from openmore.streaming.graphs import GraphedSteps
from openmore.streaming.policy import Budget, KeepAll, Kept, Policy

GROWTH = 16  # frames an unbounded cache has room for at first
CACHE_DTYPES = (None, torch.float32, torch.bfloat16, torch.float16)
_EXPECTED = {"iterations": optional(whole(1)), "refinable": FLAG, "batch": whole(1), "graphs": FLAG}


@dataclass(frozen=True)
class StreamOptions:
    """What is decided when a stream starts. Raises ConfigError for values of another type."""

    policy: Policy | Budget = field(default_factory=KeepAll)
    outputs: frozenset[str] | None = None  # None: every head there is
    iterations: int | None = None  # camera refinements, 1..4
    refinable: bool = False  # keep what `refine` needs: twice the cache
    batch: int = 1
    cache_dtype: torch.dtype | None = None  # None: the backbone's
    graphs: bool = False  # replay steps as CUDA graphs once their shapes stay the same

    def __post_init__(self) -> None:
        require(vars(self), _EXPECTED)
        if isinstance(self.policy, type) or not isinstance(self.policy, Policy | Budget):
            raise ConfigError(
                f"policy is {shown(self.policy)}, expected an object such as Window(16) of openmore.streaming.policy"
            )


class TensorStream:
    """Frames of one size through one model, with a bounded memory of the past."""

    def __init__(self, model: MoRe, shape: tuple[int, int], options: StreamOptions):
        if options.refinable and not model.config.duplicate_camera:
            raise ConfigError("these weights have no duplicate camera token: this stream cannot be refinable")
        if options.iterations is not None and not 1 <= options.iterations <= model.config.camera_iterations:
            raise ConfigError(f"iterations is {options.iterations}, expected 1..{model.config.camera_iterations}")
        if options.cache_dtype not in CACHE_DTYPES:
            raise ConfigError(f"cache_dtype is {options.cache_dtype!r}, expected torch.float32, bfloat16 or float16")
        if options.graphs and model.device.type != "cuda":
            raise ConfigError(f"CUDA graphs need a CUDA device, the model is on {model.device}: leave graphs off")
        self.model, self.shape, self.options = model, shape, options
        self.graphs = GraphedSteps() if options.graphs else None
        self.frames_seen = 0
        P = model.config.tokens_per_frame(shape)
        dtype = options.cache_dtype or backbone_dtype(model)
        per_frame = frame_bytes(model.config, P, dtype, options.refinable, options.batch)
        self.policy = resolve(options, per_frame)
        frames, specials = self.policy.most() or (GROWTH, 0)
        require_room(frames * per_frame, frames, model.device)  # before anything of that size is made
        with torch.no_grad():
            self.prepared: Prepared = model.prepare(shape)
        self.cache = StreamCache(
            model.config,
            P,
            batch=options.batch,
            iterations=options.iterations,
            refinable=options.refinable,
            frames=frames,
            specials=specials,
            dtype=dtype,
            device=model.device,
        )

    def step(self, images: Tensor, outputs: Collection[str] | None = None) -> RawOutput:
        """Process new frames [B, G, 3, H, W] (RGB 0..1, arriving together). Raises StreamError, state intact.

        A group of which the policy drops frames runs one by one: what breaks off in the middle (Ctrl-C, no memory)
        then leaves the frames before it in place, and `frames_seen` says so.
        outputs: heads to run for these frames beside the camera head (default: as opened).
        """
        self._check(images)
        if images.shape[1] > 1 and not self._drops_nothing(images.shape[1]):
            return join([self.step(images[:, g : g + 1], outputs) for g in range(images.shape[1])])
        before = self.cache.held
        try:
            frames = range(self.frames_seen, self.frames_seen + images.shape[1])
            self.cache.begin(frames, by_number=self.graphs is not None)
            raw = self._run(images, outputs)
        except BaseException:
            self.cache.end(before)  # new tokens only went into unused slots: dropping them restores the state
            raise
        self.cache.end(self.policy.after(self.cache.held))
        self.frames_seen += images.shape[1]
        return raw

    def _run(self, images: Tensor, outputs: Collection[str] | None) -> RawOutput:
        wanted = self.options.outputs if outputs is None else frozenset(outputs)
        # The camera head always runs: later frames attend to this frame's camera keys.
        wanted = None if wanted is None else wanted | {"camera"}
        first = self.frames_seen == 0

        def forward(images: Tensor) -> RawOutput:
            return self.model.run(
                images,
                self.cache,
                outputs=wanted,
                first=first,
                iterations=self.options.iterations,
                prepared=self.prepared,
            )

        images = images.to(self.model.device)
        with torch.inference_mode():
            if self.graphs is None or not self.cache.is_full:
                return forward(images)
            return self.graphs(forward, images, (images.shape, wanted, first, self.cache.signature))

    def refine(self) -> tuple[tuple[int, ...], list[Tensor]]:
        """Numbers of the frames held whole and their refined pose codes [B, S, 9] per iteration."""
        if not self.options.refinable:
            raise StreamError("this stream was not opened with refinable=True: it kept nothing to refine from")
        if not self.cache.held.whole:
            raise StreamError("nothing to refine: no frame has been pushed yet")
        with torch.inference_mode():
            return self.cache.held.whole, self.model.refine(self.cache, self.options.iterations)

    def _check(self, images: Tensor) -> None:
        if images.dim() != 5 or images.shape[2] != 3:
            raise StreamError(f"expected frames [B, G, 3, H, W], got a tensor of shape {list(images.shape)}")
        if images.shape[0] != self.options.batch:
            raise StreamError(f"this stream has a batch of {self.options.batch}, got {images.shape[0]}")
        if tuple(images.shape[-2:]) != self.shape:
            raise StreamError(
                f"frame {self.frames_seen} is {images.shape[-2]}x{images.shape[-1]}, the stream began with "
                f"{self.shape[0]}x{self.shape[1]}: reset() before changing the size"
            )
        if not bool(torch.isfinite(images.sum())):  # any such pixel spoils the sum
            raise StreamError(f"frame {self.frames_seen} holds NaN or infinite pixels: it was not taken")

    def _drops_nothing(self, group: int) -> bool:
        """Whether the policy keeps everything up to the group's last frame."""
        held = self.cache.held
        for g in range(group - 1):
            held = Kept((*held.whole, self.frames_seen + g), held.specials)
            if self.policy.after(held) != held:
                return False
        return not self.cache.tokens.free and not held.specials


def resolve(options: StreamOptions, bytes_per_frame: int) -> Policy:
    """The policy to run: a budget becomes a window once the size of a frame is known."""
    policy = options.policy
    return policy.resolve(bytes_per_frame) if isinstance(policy, Budget) else policy


def require_room(needed: int, frames: int, device: torch.device) -> None:
    """Raise ConfigError when a cache of `needed` bytes for `frames` frames cannot be had."""
    available = available_bytes(device)
    if needed > available:
        raise ConfigError(
            f"a cache of {frames} frames needs {needed / 1e9:.1f} GB here and {available / 1e9:.1f} GB are free: "
            "choose a smaller window, a budget, or smaller pictures"
        )


def backbone_dtype(model: MoRe) -> torch.dtype:
    """Dtype of the backbone's matrices, hence of values and cached keys."""
    return model.aggregator.global_blocks[0].attn.qkv.weight.dtype  # type: ignore[union-attr, return-value]


def join(parts: list[RawOutput]) -> RawOutput:
    """Outputs of consecutive steps as one output over their frames."""

    def cat(values: list[Tensor | None]) -> Tensor | None:
        present = [value for value in values if value is not None]
        return torch.cat(present, 1) if present else None

    return RawOutput(
        pose_codes=[torch.cat(stage, 1) for stage in zip(*(part.pose_codes for part in parts))],
        depth=cat([part.depth for part in parts]),
        depth_conf=cat([part.depth_conf for part in parts]),
        points=cat([part.points for part in parts]),
        points_conf=cat([part.points_conf for part in parts]),
        motion_logits=cat([part.motion_logits for part in parts]),
    )
