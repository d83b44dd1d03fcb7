"""The network a run starts from: random, or published weights with fresh parts where they lack some.

Choices
- A fresh motion head copies the depth head's trunk (the same features serve both); only its last convolution is new,
  and its bias says that few pixels move.
- A fresh duplicate camera token copies the camera token, so that both tokens start as equals.
- Anything else that is missing is an error: silent random layers are the worst kind of bug.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from openmore.errors import CheckpointError
from openmore.model.config import preset
from openmore.model.more import MoRe
from openmore.model.weights.load import compare, locate
from openmore.model.weights.states import State, open_state
from openmore.training.config import TrainConfig

MOVING_SHARE = 0.05  # of pixels, as a fresh motion head expects
FRESH = ("motion_head.", "aggregator.additional_camera_token")


def build(config: TrainConfig) -> MoRe:
    """The network with its initial weights, float32, on the CPU. Raises CheckpointError, ConfigError."""
    model = MoRe(preset(config.model))
    model.provenance["name"] = config.name
    if config.init is not None:
        path, preset_name, _ = locate(config.init)
        fill(model, open_state(path), preset_name or config.model)
    elif "motion" in model.config.heads:
        expect_few_movers(model)
    return model


def fill(model: MoRe, state: State, preset_name: str) -> None:
    """Load what the file has, make what it may lack. Raises CheckpointError listing keys that fit neither."""
    match = compare(model, state, preset_name)
    lacking = [key for key in match.missing if not key.startswith(FRESH)]
    if lacking or match.unexpected or match.reshaped:
        raise CheckpointError(
            f"{state.path} cannot start this network: missing {_some(lacking)}; unexpected {_some(match.unexpected)}; "
            f"of another shape {_some(match.reshaped)}"
        )
    stored = {key: state.fetch(key).float() for key in match.matched}
    model.load_state_dict(model.state_dict() | stored)
    _make_fresh(model, set(match.missing), state.path)


def _make_fresh(model: MoRe, missing: set[str], path: Path) -> None:
    if "aggregator.additional_camera_token" in missing:
        with torch.no_grad():
            model.aggregator.additional_camera_token.copy_(model.aggregator.camera_token)
    head = {key for key in missing if key.startswith("motion_head.")}
    if not head:
        return
    if head != {key for key in model.state_dict() if key.startswith("motion_head.")}:
        raise CheckpointError(f"{path} has only parts of a motion head: missing {_some(sorted(head))}")
    source, target = model.depth_head.state_dict(), model.motion_head.state_dict()
    shared = {key: value for key, value in source.items() if target[key].shape == value.shape}
    model.motion_head.load_state_dict(target | shared)
    expect_few_movers(model)


@torch.no_grad()
def expect_few_movers(model: MoRe) -> None:
    """Start the motion head at the logit of MOVING_SHARE, so that the first steps do not unlearn "everything moves"."""
    last = model.motion_head.scratch.output_conv2[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    nn.init.zeros_(last.weight)
    last.bias.fill_(math.log(MOVING_SHARE / (1 - MOVING_SHARE)))


def _some(keys: list[str], limit: int = 4) -> str:
    return (", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")) or "nothing"
