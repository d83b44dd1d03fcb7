"""What the fusion network is asked for: depth, how sure it is, and what moves.

Choices
- Depth: absolute error of its logarithm, of the depth itself relative to the pixel's own (AbsRel) and to the picture's
  mean (far surfaces are what the scale of published tables hangs on), and of its steps between pixels at four scales.
- Uncertainty: its logarithm against that of the error there is, absolute: the median error where things look so. (The
  likelihood of a Laplace distribution was tried: the gradients of the surest pixels drown all others.)
- Motion: cross-entropy, and one minus a soft IoU per picture, which is what masks are judged by.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from openmore.types import UNKNOWN

WEIGHTS = {"log": 2.0, "relative": 1.0, "absolute": 1.0, "steps": 0.2, "sigma": 0.1, "motion": 1.0, "iou": 1.0}
SCALES = (1, 2, 4, 8)
LEAST_ERROR = 0.01
FEW_PIXELS = 20.0  # that a mask may be wrong by in a picture without movers before its IoU is half gone


def losses(out: Tensor, completed: Tensor, correction: Tensor, valid: Tensor, motion: Tensor) -> dict[str, Tensor]:
    """Scalars by name.

    `out` [B, 3, H, W] of the network, which corrects the log inverse depth `completed` [B, H, W]; truth [B, H, W]: the
    `correction`, `valid` bool, `motion` uint8 (1 moves, 255 unknown).
    """
    off = torch.where(valid, out[:, 0] - correction, 0.0)
    count = valid.sum().clamp(min=1)
    sigma = torch.where(valid, out[:, 1] - torch.log(off.detach().abs() + LEAST_ERROR), 0.0)
    relative = torch.where(valid, torch.expm1(-off).clamp(-1, 3).abs(), 0.0)
    depth = torch.where(valid, torch.exp(-completed - correction), 0.0)
    share = depth / depth.sum((1, 2), keepdim=True).clamp(min=1e-9) / len(depth)
    known, moves = motion != UNKNOWN, (motion == 1).float()
    entropy = F.binary_cross_entropy_with_logits(out[:, 2], moves, reduction="none")
    p = torch.sigmoid(out[:, 2]) * known
    both = (p * moves).sum((1, 2))
    either = (p + moves).sum((1, 2)) - both
    return {
        "log": off.abs().sum() / count,
        "relative": relative.sum() / count,
        "absolute": (share * relative).sum(),
        "steps": sum((_steps(off, valid, scale) for scale in SCALES), out.new_zeros(())),
        "sigma": sigma.abs().sum() / count,
        "motion": torch.where(known, entropy, 0.0).sum() / known.sum().clamp(min=1),
        "iou": 1 - ((both + FEW_PIXELS) / (either + FEW_PIXELS)).mean(),
    }


def _steps(off: Tensor, valid: Tensor, scale: int) -> Tensor:
    """Mean absolute step of the error between pixels `scale` apart that are both valid."""
    off, valid = off[:, ::scale, ::scale], valid[:, ::scale, ::scale]
    total = off.new_zeros(())
    for axis in (1, 2):
        n = off.shape[axis] - 1
        both = valid.narrow(axis, 0, n) & valid.narrow(axis, 1, n)
        total = total + torch.where(both, off.diff(dim=axis).abs(), 0.0).sum()
    return total / valid.sum().clamp(min=1)


def total(terms: dict[str, Tensor]) -> Tensor:
    """The weighted sum."""
    return torch.stack([WEIGHTS[name] * value for name, value in terms.items()]).sum()
