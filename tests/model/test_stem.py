"""A convolutional stem changes the patch embedder and nothing else: streams, half precision and files still agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from openmore.errors import ConfigError
from openmore.model.config import ModelConfig, preset
from openmore.model.more import MoRe
from openmore.model.stem import ConvStem
from openmore.model.weights.load import load_file, save


def with_stem() -> ModelConfig:
    return replace(preset("tiny"), image_size=64, patch_size=16, stem_channels=(8, 8, 16), stem_blocks=(0, 1, 1, 1))


def made(config: ModelConfig) -> MoRe:
    torch.manual_seed(0)
    return MoRe(config).eval().requires_grad_(False)


def test_tokens_and_details_have_the_grid_of_their_strides() -> None:
    tokens, details = ConvStem((8, 16, 24), (0, 1, 0, 1), 32)(torch.rand(2, 3, 32, 48))
    assert tokens.shape == (2, 2 * 3, 32)
    assert [tuple(d.shape) for d in details] == [(2, 16, 8, 12), (2, 24, 4, 6)]


def test_details_reach_the_depth_map_at_pixels_the_tokens_cannot_tell_apart() -> None:
    model = made(with_stem())
    images = torch.rand(1, 1, 3, 32, 48)
    before = model(images).depth
    with torch.no_grad():
        for conv in model.depth_head.details:
            conv.weight.zero_()
            conv.bias.zero_()
    assert not torch.allclose(before, model(images).depth)


def test_frames_do_not_see_each_other_in_the_stem() -> None:
    """A causal pass over a prefix is the prefix of the pass, with a stem as without."""
    model, images = made(with_stem()), torch.rand(1, 3, 3, 32, 48)
    whole, prefix = model(images, mode="causal"), model(images[:, :2], mode="causal")
    torch.testing.assert_close(whole.depth[:, :2], prefix.depth)
    torch.testing.assert_close(whole.motion_logits[:, :2], prefix.motion_logits)


def test_channels_last_and_bf16_change_rounding_only() -> None:
    images = torch.rand(1, 2, 3, 32, 48)
    plain = made(with_stem())(images).depth
    torch.testing.assert_close(made(with_stem()).channels_last()(images).depth, plain, rtol=1e-4, atol=1e-5)
    half = made(with_stem()).half_precision()(images).depth
    assert (half / plain - 1).abs().mean() < 0.02


def test_a_file_with_a_stem_loads_strictly(tmp_path: Path) -> None:
    model = made(with_stem())
    save(model, tmp_path / "stem.safetensors", name="stem")
    loaded, images = load_file(tmp_path / "stem.safetensors"), torch.rand(1, 2, 3, 32, 48)
    assert loaded.config == model.config
    assert torch.equal(loaded(images).depth, model(images).depth)


def test_a_stem_needs_patches_of_16() -> None:
    with pytest.raises(ConfigError, match="expected 3, 4 and 16"):
        replace(preset("tiny"), stem_channels=(8, 8, 16))
