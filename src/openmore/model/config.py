"""The numbers of the network. One dataclass, named presets, nothing else decides the architecture.

Presets
- `vggt-1b`, `streamvggt`, `stream3r`: the published backbones; `more-full`, `more-stream`: MoRe on top of them
  (motion head; duplicate camera token and grouped causal attention for the streaming model).
- `small`: the embedded default, same code with small numbers. `tiny`: for tests.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from openmore.errors import ConfigError

HEADS = ("camera", "depth", "points", "motion")


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of a MoRe network; the defaults are the published 1.2 B one (architecture.md, section 1)."""

    image_size: int = 518  # long side the weights were trained at; the position grid is image_size / patch_size squared
    patch_size: int = 14
    embed_dim: int = 1024  # C; saved tokens and heads are 2C wide (frame and global output side by side)
    depth: int = 24  # pairs of (frame block, global block)
    num_heads: int = 16
    mlp_ratio: int = 4
    num_registers: int = 4  # register tokens beside the camera token, per frame
    rope_base: float = 100.0
    vit_depth: int = 24
    vit_heads: int = 16
    vit_registers: int = 4
    camera_depth: int = 4  # blocks of the camera head's trunk
    camera_heads: int = 16
    camera_iterations: int = 4
    dpt_features: int = 256
    dpt_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    saved_layers: tuple[int, int, int, int] = (4, 11, 17, 23)  # whose output the dense heads read
    heads: tuple[str, ...] = ("camera", "depth", "points")
    attention: Literal["full", "causal"] = "full"  # what the weights were trained for
    camera_trunk: Literal["bidirectional", "causal"] = "bidirectional"  # in a pass over a whole clip
    duplicate_camera: bool = False  # BA-like duplicate camera tokens (streaming model)
    # A convolutional patch embedder (stem.py) instead of one strided convolution: channels at strides 2, 4, 8 and
    # residual blocks at strides 2, 4, 8, 16; the patch size is then 16. The published networks have none.
    stem_channels: tuple[int, ...] = ()
    stem_blocks: tuple[int, ...] = (0, 1, 2, 2)
    layer_scale: float = 0.01  # initial gain of a residual branch; training from scratch wants more

    def __post_init__(self) -> None:
        object.__setattr__(self, "dpt_channels", tuple(self.dpt_channels))
        object.__setattr__(self, "saved_layers", tuple(self.saved_layers))
        object.__setattr__(self, "heads", tuple(self.heads))
        object.__setattr__(self, "stem_channels", tuple(self.stem_channels))
        object.__setattr__(self, "stem_blocks", tuple(self.stem_blocks))
        self._check()

    def _check(self) -> None:
        if self.image_size % self.patch_size:
            raise ConfigError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        if self.embed_dim % self.num_heads or (self.embed_dim // self.num_heads) % 4:
            raise ConfigError(
                f"embed_dim {self.embed_dim} / num_heads {self.num_heads} must be a multiple of 4 (rotary embedding)"
            )
        if list(self.saved_layers) != sorted(set(self.saved_layers)) or len(self.saved_layers) != 4:
            raise ConfigError(f"saved_layers {self.saved_layers} must be four increasing layer numbers")
        if self.saved_layers[0] < 0 or self.saved_layers[-1] >= self.depth:
            raise ConfigError(f"saved_layers {self.saved_layers} must lie in 0..{self.depth - 1} (depth {self.depth})")
        if self.stem_channels and (len(self.stem_channels), len(self.stem_blocks), self.patch_size) != (3, 4, 16):
            raise ConfigError(
                f"a stem of {len(self.stem_channels)} channels and {len(self.stem_blocks)} block counts for patches of "
                f"{self.patch_size} pixels: expected 3, 4 and 16"
            )
        if unknown := set(self.heads) - set(HEADS):
            raise ConfigError(f"unknown heads {sorted(unknown)}; known: {', '.join(HEADS)}")

    @property
    def first_patch(self) -> int:
        """Index of the first patch token of a frame: [camera, registers..., patches...]."""
        return 1 + self.num_registers

    def grid(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Patches (h, w) of an image of `shape` (H, W). Raises ConfigError when not on the patch grid."""
        height, width = shape
        if height < 1 or width < 1 or height % self.patch_size or width % self.patch_size:
            raise ConfigError(
                f"image size {height}x{width} (height x width) is not a multiple of the patch size {self.patch_size}"
            )
        return height // self.patch_size, width // self.patch_size

    def tokens_per_frame(self, shape: tuple[int, int]) -> int:
        """Number of tokens P of one frame of `shape` (H, W)."""
        h, w = self.grid(shape)
        return self.first_patch + h * w

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary; `from_dict` restores it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Inverse of `to_dict`. Unknown keys are an error: they mean another version of the format."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ConfigError(f"unknown model settings {sorted(unknown)}; known: {', '.join(sorted(known))}")
        return cls(**values)


_VGGT = ModelConfig()
_MORE = replace(_VGGT, heads=HEADS)
# Sized to what a processor can train in an hour (docs/training_log.md); a GPU should train a larger one.
_SMALL = ModelConfig(
    image_size=224,
    patch_size=16,
    embed_dim=192,
    depth=4,
    num_heads=4,
    vit_depth=0,  # the stem sees the picture
    vit_heads=4,
    camera_depth=1,
    camera_heads=4,
    dpt_features=32,
    dpt_channels=(32, 64, 96, 128),
    saved_layers=(0, 1, 2, 3),
    heads=("camera", "depth", "motion"),
    duplicate_camera=True,
    stem_channels=(24, 48, 96),
    layer_scale=0.3,
)
_TINY = ModelConfig(
    image_size=56,
    embed_dim=32,
    depth=4,
    num_heads=2,
    vit_depth=2,
    vit_heads=2,
    camera_depth=2,
    camera_heads=4,
    dpt_features=16,
    dpt_channels=(8, 12, 16, 16),
    saved_layers=(0, 1, 2, 3),
    heads=HEADS,
    duplicate_camera=True,
)

PRESETS: dict[str, ModelConfig] = {
    "more-full": _MORE,
    "more-stream": replace(_MORE, attention="causal", duplicate_camera=True),
    "vggt-1b": _VGGT,
    "stream3r": replace(_VGGT, attention="causal", camera_trunk="causal"),
    "streamvggt": replace(_VGGT, attention="causal", camera_trunk="causal"),
    "small": _SMALL,
    "tiny": _TINY,
}


def preset(name: str) -> ModelConfig:
    """A named configuration. Raises ConfigError with the names there are."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
