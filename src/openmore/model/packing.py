"""Linear layers whose weights lie as the processor's matrix product reads them.

oneDNN rearranges a weight on every call otherwise: packed once, float32 products are 1.2 times and bf16 products 1.1
times as fast (docs/performance.md). A packed network only infers: it has no weights left to train, save or move.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor, nn

from openmore.errors import ConfigError

ROWS = 512  # the row count the layout is chosen for; it serves any
SMALLEST = 4096  # weights of a layer worth packing


class PackedLinear(nn.Module):
    """The inference of one `nn.Linear`; its `weight` is opaque but for the dtype."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        # Plain attributes: neither parameters nor buffers, for nothing but `forward` can read them.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
        # Copied, or it would lie between the old weights: only whole stretches of freed memory serve the next layer.
        self.bias = None if layer.bias is None else layer.bias.detach().clone()

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] in the weight's dtype -> [..., out]."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def _save_to_state_dict(self, *args: object, **kwargs: object) -> None:
        raise ConfigError("a network packed for inference cannot be saved or copied: load the weights again")


def pack(model: nn.Module) -> None:
    """Replace the linear layers inside a network by packed ones, one by one, where this processor gains from it."""
    for name, layer in model.named_children():  # no list of modules: it would keep every old weight to the end
        if type(layer) is not nn.Linear:
            pack(layer)
        elif layer.weight.numel() >= SMALLEST and gains(layer.weight):
            setattr(model, name, PackedLinear(layer))


def gains(weight: Tensor) -> bool:
    """Whether packing is possible and worth it: on x86 processors, in dtypes they multiply themselves."""
    if weight.device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    if not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype == torch.float32 or (
        weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
