"""Networks with random weights, made fast: a benchmark measures arithmetic, not answers."""

from __future__ import annotations

import torch

from openmore.model.config import preset
from openmore.model.more import MoRe


def random_model(name: str, dtype: str = "fp32", device: str | torch.device = "cpu", seed: int = 0) -> MoRe:
    """A preset with small random matrices and neutral norms; `dtype` bf16 converts the backbone."""
    with torch.device("meta"):
        model = MoRe(preset(name))
    model = model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.uniform_(-0.03, 0.03, generator=generator)
            else:
                parameter.fill_(float(key.endswith(("weight", "gamma"))))
    model.aggregator.reset_constants()
    model.eval().requires_grad_(False)
    if dtype == "bf16":
        model.half_precision()
    return model.channels_last() if str(device) == "cpu" else model.to(device)
