"""The network that settles what was measured: cues of a frame in; depth, its uncertainty and what moves out.

Choices
- Triangulation and residuals say what they measured and how surely; what a picture looks like says where they lie: flow
  over a blank wall, a shadow that moves, the outline of a mover half of which shows no motion. A small U-Net, trained
  on measurements of synthetic clips with exact truth (`openmore.training.fusion`), puts the two together.
- It says corrections to the classical answer, in log units and log odds, so that it starts from it and can keep it.
- Depth may be taken from a CANDIDATE as it stands: choosing among sharp maps is easier to learn than drawing one.
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
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmore.errors import InputError
from openmore.refinement.dense.cues import CHANNELS, Cues

WIDTHS = (32, 48, 96, 192, 256)  # channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the picture
# Attentions over the whole picture at each of them: where a ground lies and a room ends is seen by none of its parts.
WHOLE = (0, 0, 0, 1, 2)
CANDIDATES = [CHANNELS.index(name) for name in ("measured", "sweep", "sweep_second")]  # off the completed map
OUT, GROUPS, HEADS = 3 + len(CANDIDATES), 8, 4
RELUCTANCE = 2.0  # at first, log odds of the completed map against each candidate
VOTERS, EMPHASIS = 32, 4.0  # of a pixel's own votes; times the votes of the head, which learns slowly
MOVING, LEAST_MOST = CHANNELS.index("moving"), (0.05, 0.95)  # the classical probability of moving, where it is believed
MULTIPLE = 2 ** len(WIDTHS)
MOST_CHANGE = 3.0  # log units
STEP = 0.2  # log units of depth per unit of the head: Adam's steps are alike for all weights, and errors are small
FILE, SHIPPED = "fusion.safetensors", "shipped"


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


class Attention(nn.Module):
    """Every place asks every other, then thinks for itself; the identity at first."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        for layer in (self.out, self.narrow):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norms[0](tokens)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        asked = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(asked)
        tokens = tokens + self.narrow(F.gelu(self.wide(self.norms[1](tokens))))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])


class FusionNet(nn.Module):
    """[B, C, H, W] cues -> [B, 3, H, W]: correction of the log inverse depth, log uncertainty, logit of moving."""

    def __init__(self, channels: int = len(CHANNELS)):
        super().__init__()
        self.stem = nn.Conv2d(channels, WIDTHS[0], 4, stride=2, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(WIDTHS))
        self.encode = nn.ModuleList(Block(w) for w in WIDTHS)
        self.whole = nn.ModuleList(nn.Sequential(*(Attention(w) for _ in range(n))) for w, n in zip(WIDTHS, WHOLE))
        self.merge = nn.ModuleList(nn.Conv2d(a + b, a, 3, padding=1) for a, b in pairwise(WIDTHS))
        self.decode = nn.ModuleList(Block(w) for w in WIDTHS[:-1])
        self.last = nn.GroupNorm(GROUPS, WIDTHS[0])  # without it the head dies of a stream that has grown negative
        self.head = nn.Conv2d(WIDTHS[0], 4 * OUT, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        # What a pixel's own cues say of its candidates; the rest of the picture votes through the head.
        self.own = nn.Sequential(
            nn.Conv2d(channels, VOTERS, 1), nn.SiLU(), nn.Conv2d(VOTERS, VOTERS, 1), nn.SiLU(),
            nn.Conv2d(VOTERS, len(CANDIDATES), 1),
        )  # fmt: skip
        nn.init.zeros_(self.own[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.own[-1].bias)  # type: ignore[arg-type]

    def forward(self, cues: Tensor) -> Tensor:
        height, width = cues.shape[-2:]
        padded = F.pad(cues, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        x = self.encode[0](self.stem(padded))
        kept = [x]
        for down, encode, whole in zip(self.down, self.encode[1:], self.whole[1:]):
            x = whole(encode(down(x)))
            kept.append(x)
        for level in range(len(WIDTHS) - 2, -1, -1):
            x = self.decode[level](self.merge[level](torch.cat((kept[level], _twice(x)), 1)))
        out = F.pixel_shuffle(self.head(F.silu(self.last(x))), 2)[..., :height, :width]
        change = MOST_CHANGE * torch.tanh(STEP * out[:, :1] / MOST_CHANGE)
        change = change + _chosen(EMPHASIS * out[:, 3:] + self.own(cues), cues[:, CANDIDATES])
        moving = (cues[:, MOVING : MOVING + 1] + 1) / 2
        return torch.cat((change, out[:, 1:2], out[:, 2:3] + torch.logit(moving.clamp(*LEAST_MOST))), 1)


def _chosen(votes: Tensor, candidates: Tensor) -> Tensor:
    """[B, 1, H, W]: the mean of the candidates [B, C, H, W] and of no change, by their votes [B, C, H, W]."""
    shares = torch.softmax(torch.cat((torch.zeros_like(votes[:, :1]), votes - RELUCTANCE), 1), 1)
    return (shares[:, 1:] * candidates).sum(1, keepdim=True)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Settled:
    """The answer for one frame, [H, W] float32 each."""

    depth: np.ndarray  # z, > 0
    relative_sigma: np.ndarray  # of the depth
    motion: np.ndarray  # probability, 0..1


def weights(source: str) -> dict[str, Tensor]:
    """float32 weights of a safetensors file, or those of the package: `shipped`. Raises InputError for other files."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = resources.files("openmore.refinement.dense") / FILE if source == SHIPPED else Path(source)
    try:
        return {name: value.float() for name, value in load(path.read_bytes()).items()}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{source} holds no weights of the fusion network ({error})") from error


def loaded(source: str) -> FusionNet:
    """The network with `weights` of a source, float32. Raises InputError where they are another network's."""
    net, found = FusionNet(), weights(source)
    own = {name: value.shape for name, value in net.state_dict().items()}
    if own != {name: value.shape for name, value in found.items()}:
        raise InputError(
            f"{source} holds weights of another network ({len(found)} tensors, expected {len(own)} of this version's "
            "shapes): give those that this version of openmore fusion fit wrote, or shipped"
        )
    net.load_state_dict(found)
    return net


@lru_cache(maxsize=1)
def shipped() -> FusionNet:
    """The network with the weights of the package, bf16 where the processor multiplies that faster."""
    net = loaded(SHIPPED).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
