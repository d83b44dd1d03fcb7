"""A tiny network whose every path contributes: LayerScale and tokens are far from their near-zero initialisation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from openmore.model.config import ModelConfig, preset
from openmore.model.more import MoRe


def lively(config: ModelConfig, seed: int = 0) -> MoRe:
    """Random weights with gains of order one; activations stay finite."""
    torch.manual_seed(seed)
    model = MoRe(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.uniform_(0.2, 0.6)
            elif "token" in name:
                parameter.normal_(0, 0.5)
            elif name.endswith("patch_embed.proj.weight"):
                parameter.mul_(8)  # so that the picture, not the tokens, decides
    return model


@pytest.fixture(scope="session")
def tiny() -> MoRe:
    return lively(preset("tiny"))


@pytest.fixture(scope="session")
def plain_tiny() -> MoRe:
    """Without duplicate camera tokens."""
    return lively(replace(preset("tiny"), duplicate_camera=False))
