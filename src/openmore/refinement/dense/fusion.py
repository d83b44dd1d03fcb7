"""The network that settles what was measured: cues of a frame in; depth, its uncertainty and what moves out.

Choices
- Triangulation and residuals say what they measured and how surely; what a picture looks like says where they lie: flow
  over a blank wall, a shadow that moves, the outline of a mover half of which shows no motion. A small U-Net, trained
  on measurements of synthetic clips with exact truth (`openmore.training.fusion`), puts the two together.
- It says corrections to the classical answer, in log units and log odds, so that it starts from it and can keep it.
- Nothing is computed at the picture's full size: the first convolution takes every other pixel, and blocks of four
  pixels come out as channels.
- Normalisation is by the picture's own statistics, never by those of the synthetic world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmore.refinement.dense.cues import CHANNELS, Cues

WIDTHS = (32, 48, 96, 192, 256)  # channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the picture
OUT, GROUPS = 3, 8
MOVING, LEAST_MOST = CHANNELS.index("moving"), (0.05, 0.95)  # the classical probability of moving, where it is believed
MULTIPLE = 2 ** len(WIDTHS)
MOST_CHANGE = 3.0  # log units
STEP = 0.2  # log units of depth per unit of the head: Adam's steps are alike for all weights, and errors are small
FILE = "fusion.safetensors"


class Block(nn.Module):
    """Two convolutions and a way around them; the identity at first."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(self.norm(x)))))


class FusionNet(nn.Module):
    """[B, C, H, W] cues -> [B, 3, H, W]: correction of the log inverse depth, log uncertainty, logit of moving."""

    def __init__(self, channels: int = len(CHANNELS)):
        super().__init__()
        self.stem = nn.Conv2d(channels, WIDTHS[0], 4, stride=2, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(WIDTHS))
        self.encode = nn.ModuleList(Block(w) for w in WIDTHS)
        self.merge = nn.ModuleList(nn.Conv2d(a + b, a, 3, padding=1) for a, b in pairwise(WIDTHS))
        self.decode = nn.ModuleList(Block(w) for w in WIDTHS[:-1])
        self.last = nn.GroupNorm(GROUPS, WIDTHS[0])  # without it the head dies of a stream that has grown negative
        self.head = nn.Conv2d(WIDTHS[0], 4 * OUT, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, cues: Tensor) -> Tensor:
        height, width = cues.shape[-2:]
        padded = F.pad(cues, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        x = self.encode[0](self.stem(padded))
        kept = [x]
        for down, encode in zip(self.down, self.encode[1:]):
            x = encode(down(x))
            kept.append(x)
        for level in range(len(WIDTHS) - 2, -1, -1):
            x = self.decode[level](self.merge[level](torch.cat((kept[level], _twice(x)), 1)))
        out = F.pixel_shuffle(self.head(F.silu(self.last(x))), 2)[..., :height, :width]
        change = MOST_CHANGE * torch.tanh(STEP * out[:, :1] / MOST_CHANGE)
        moving = (cues[:, MOVING : MOVING + 1] + 1) / 2
        return torch.cat((change, out[:, 1:2], out[:, 2:] + torch.logit(moving.clamp(*LEAST_MOST))), 1)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Settled:
    """The answer for one frame, [H, W] float32 each."""

    depth: np.ndarray  # z, > 0
    relative_sigma: np.ndarray  # of the depth
    motion: np.ndarray  # probability, 0..1


@lru_cache(maxsize=1)
def shipped() -> FusionNet:
    """The network with the weights of the package, bf16 where the processor multiplies that faster."""
    from safetensors.torch import load

    data = (resources.files("openmore.refinement.dense") / FILE).read_bytes()
    net = FusionNet()
    net.load_state_dict({name: value.float() for name, value in load(data).items()})
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return (net.bfloat16() if torch.cpu._is_avx512_bf16_supported() else net).eval().requires_grad_(False)


def settle(cues: Cues, net: FusionNet) -> Settled:
    """Put the cues of a frame together."""
    weight = net.head.weight
    values = torch.from_numpy(cues.values)[None].to(weight.dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        change, log_sigma, logit = net(values)[0].float().numpy()
    return Settled(np.exp(-cues.completed - change), np.exp(log_sigma), 1 / (1 + np.exp(-logit)))


def settler(net: FusionNet | None = None) -> Callable[[int, Cues], Settled]:
    """What `openmore.refinement.apply` wants of a network (the shipped one): an answer for every frame."""
    chosen = net or shipped()
    return lambda s, cues: settle(cues, chosen)
