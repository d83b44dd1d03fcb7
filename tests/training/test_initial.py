"""Starting from published weights: what is copied, what is new, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from openmore.errors import CheckpointError
from openmore.model.config import preset
from openmore.model.more import MoRe
from openmore.model.weights.load import save
from openmore.training.initial import build
from openmore.training.recipes import recipe

CONFIG = replace(recipe("tiny_smoke"), init="FILE")


def backbone(path: Path) -> MoRe:
    """Weights as VGGT has them: no motion head, no duplicate token."""
    torch.manual_seed(7)
    model = MoRe(replace(preset("tiny"), heads=("camera", "depth", "points"), duplicate_camera=False))
    save(model, path)
    return model


def test_a_fresh_motion_head_starts_from_the_depth_head(tmp_path: Path) -> None:
    source = backbone(tmp_path / "vggt.safetensors")
    model = build(replace(CONFIG, init=str(tmp_path / "vggt.safetensors")))
    for key, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
    depth, motion = model.depth_head.state_dict(), model.motion_head.state_dict()
    last = "scratch.output_conv2.2"
    assert all(torch.equal(motion[k], depth[k]) for k in depth if not k.startswith(last))
    assert motion[f"{last}.bias"].sigmoid().item() == pytest.approx(0.05)
    assert torch.equal(model.aggregator.additional_camera_token, model.aggregator.camera_token)


def test_weights_of_the_same_network_load_whole(tmp_path: Path) -> None:
    torch.manual_seed(8)
    source = MoRe(preset("tiny"))
    save(source, tmp_path / "all.safetensors")
    model = build(replace(CONFIG, init=str(tmp_path / "all.safetensors")))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), source.state_dict().values()))


def test_half_a_motion_head_and_missing_blocks_are_refused(tmp_path: Path) -> None:
    whole = MoRe(preset("tiny")).state_dict()
    path = tmp_path / "part.safetensors"
    save_file({k: v for k, v in whole.items() if k != "motion_head.norm.weight"}, path)
    with pytest.raises(CheckpointError, match="only parts of a motion head"):
        build(replace(CONFIG, init=str(path)))
    save_file({k: v for k, v in whole.items() if "frame_blocks.0" not in k}, path)
    with pytest.raises(CheckpointError, match=r"missing aggregator.frame_blocks.0"):
        build(replace(CONFIG, init=str(path)))


def test_random_weights_expect_few_movers() -> None:
    model = build(replace(CONFIG, init=None))
    out = model(torch.rand(1, 1, 3, 28, 28), outputs={"motion"})
    assert out.motion_logits is not None
    assert out.motion_logits.sigmoid().mean().item() == pytest.approx(0.05)
