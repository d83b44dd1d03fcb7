"""The network as a whole: selection of outputs, causality, duplicates, precision."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from openmore.errors import CheckpointError, ConfigError, InputError
from openmore.model.config import PRESETS, ModelConfig, preset
from openmore.model.more import HALF_HEADS, MoRe

SHAPE = (28, 42)


def clip(frames: int = 4, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, frames, 3, *SHAPE, generator=torch.Generator().manual_seed(1))


def close(a: torch.Tensor | None, b: torch.Tensor | None, tolerance: float = 1e-5) -> None:
    assert a is not None and b is not None
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@torch.no_grad()
def test_shapes_and_ranges(tiny: MoRe) -> None:
    out = tiny(clip(3, batch=2), mode="causal", camera_attention=True)
    assert [code.shape for code in out.pose_codes] == [(2, 3, 9)] * 4
    assert [code.shape for code in out.refined_pose_codes] == [(2, 3, 9)] * 4
    assert out.depth.shape == out.depth_conf.shape == out.motion_logits.shape == (2, 3, *SHAPE)
    assert out.points.shape == (2, 3, *SHAPE, 3)
    assert (out.depth > 0).all() and (out.depth_conf >= 1).all() and (out.points_conf >= 1).all()
    assert out.camera_attention.shape == (2, 3, 2, 2, tiny.config.tokens_per_frame(SHAPE))
    close(out.camera_attention.sum(-1), torch.ones(2, 3, 2, 2))


@torch.no_grad()
@pytest.mark.parametrize("outputs", [{"camera"}, {"depth"}, {"camera", "motion"}])
def test_only_the_heads_asked_for_run(tiny: MoRe, outputs: set[str]) -> None:
    everything, some = tiny(clip(), mode="full"), tiny(clip(), mode="full", outputs=outputs)
    assert bool(some.pose_codes) == ("camera" in outputs)
    for name, field in (("depth", "depth"), ("points", "points"), ("motion", "motion_logits")):
        value = getattr(some, field)
        assert (value is not None) == (name in outputs)
        if value is not None:
            close(value, getattr(everything, field))


@torch.no_grad()
def test_later_frames_never_change_earlier_ones_in_causal_mode(tiny: MoRe) -> None:
    images = clip(5)
    changed = images.clone()
    changed[:, 3:] = 1 - changed[:, 3:]
    a, b = (tiny(x, mode="causal", camera_trunk="causal", duplicates=False) for x in (images, changed))
    close(a.depth[:, :3], b.depth[:, :3])
    close(a.pose_codes[-1][:, :3], b.pose_codes[-1][:, :3])
    assert not torch.allclose(a.depth[:, 3:], b.depth[:, 3:], atol=1e-3)


@torch.no_grad()
def test_full_attention_is_equivariant_to_the_order_of_later_frames(tiny: MoRe) -> None:
    order = [0, 3, 1, 2]
    close(tiny(clip()[:, order], mode="full").depth, tiny(clip(), mode="full").depth[:, order])


@torch.no_grad()
def test_duplicates_change_no_frame_output(tiny: MoRe) -> None:
    with_d, without = (tiny(clip(), mode="causal", duplicates=d) for d in (True, False))
    close(with_d.depth, without.depth)
    close(with_d.pose_codes[-1], without.pose_codes[-1])


@torch.no_grad()
def test_the_duplicate_of_the_last_layer_sees_the_whole_clip(tiny: MoRe) -> None:
    images = clip()
    changed = images.clone()
    changed[:, -1] = 1 - changed[:, -1]
    a, b = (tiny(x, mode="causal").refined_pose_codes[-1][:, 0] for x in (images, changed))
    assert (a - b).abs().max() > 1e-4


def test_the_duplicate_reads_its_frame_without_pulling_on_it(tiny: MoRe) -> None:
    """In frame blocks everything but the duplicate is detached: with one frame block, no gradient to the image."""
    config = replace(preset("tiny"), depth=4)
    model = MoRe(config)
    images = clip(2).requires_grad_()
    out = model(images, mode="causal", outputs={"camera"})
    out.refined_pose_codes[-1].sum().backward()
    assert model.aggregator.additional_camera_token.grad.abs().sum() > 0
    assert images.grad is not None and images.grad.abs().sum() > 0  # through the global blocks' keys and values


def test_checkpointing_gives_the_same_gradients(tiny: MoRe) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = MoRe(preset("tiny"))
        model.load_state_dict(tiny.state_dict())
        model.aggregator.checkpointing = checkpointing
        out = model(clip(2), mode="causal", camera_attention=True)
        (out.depth.mean() + out.refined_pose_codes[-1].square().sum() + out.camera_attention[..., 5:].sum()).backward()
        gradients.append(model.aggregator.frame_blocks[0].attn.qkv.weight.grad)
    close(gradients[0], gradients[1])


@torch.no_grad()
def test_bf16_backbone_stays_close_and_heads_stay_float32(plain_tiny: MoRe) -> None:
    half = MoRe(plain_tiny.config).eval()
    half.load_state_dict(plain_tiny.state_dict())
    half.half_precision()
    a, b = plain_tiny(clip()), half(clip())
    assert b.depth.dtype == torch.float32 and half.depth_head.norm.weight.dtype == torch.float32
    assert (a.depth - b.depth).abs().max() / a.depth.abs().max() < 3e-2
    assert (a.pose_codes[-1] - b.pose_codes[-1]).abs().max() / a.pose_codes[-1].abs().max() < 3e-2


@torch.no_grad()
def test_half_precision_reaches_wide_dense_heads_but_for_their_last_convolutions(tiny: MoRe) -> None:
    torch.manual_seed(0)
    config = replace(tiny.config, dpt_features=HALF_HEADS)
    whole, half = (MoRe(config).eval() for _ in range(2))
    half.load_state_dict(whole.state_dict())
    half.half_precision()
    head = half.depth_head
    assert head.projects[0].weight.dtype == head.scratch.output_conv1.weight.dtype == torch.bfloat16
    assert head.scratch.output_conv2[0].weight.dtype == head.norm.weight.dtype == torch.float32
    assert tiny.depth_head.projects[0].weight.dtype == torch.float32
    a, b = whole(clip()), half(clip())
    assert b.depth.dtype == torch.float32
    assert (a.depth - b.depth).abs().max() / a.depth.abs().max() < 3e-2


@torch.no_grad()
def test_prepared_grids_change_nothing_and_the_model_keeps_no_state(tiny: MoRe) -> None:
    prepared = tiny.prepare(SHAPE)
    before = {k: id(v) for k, v in vars(tiny).items()}
    close(tiny(clip(), prepared=prepared).depth, tiny(clip()).depth, 0)
    assert {k: id(v) for k, v in vars(tiny).items()} == before


def test_clear_errors(tiny: MoRe, plain_tiny: MoRe) -> None:
    with pytest.raises(ConfigError, match=r"30x42 .* multiple of the patch size 14"):
        tiny(torch.rand(1, 1, 3, 30, 42))
    with pytest.raises(ConfigError, match="unknown outputs"):
        tiny(clip(), outputs={"dept"})
    with pytest.raises(ConfigError, match="no duplicate camera token"):
        plain_tiny(clip(), mode="causal", duplicates=True)
    with pytest.raises(CheckpointError, match="no motion head"):
        MoRe(replace(preset("tiny"), heads=("camera", "depth")))(clip(1), outputs={"motion"})


def test_published_sizes() -> None:
    """Key and parameter counts of the published files (architecture.md, section 2), without their memory."""
    with torch.device("meta"):
        counts = {name: MoRe(PRESETS[name]).state_dict() for name in ("vggt-1b", "more-full", "more-stream")}
    assert len(counts["vggt-1b"]) == 1403
    assert sum(v.numel() for v in counts["vggt-1b"].values()) == 1_190_596_120
    assert set(counts["more-stream"]) - set(counts["more-full"]) == {"aggregator.additional_camera_token"}
    assert len(counts["more-full"]) - len(counts["vggt-1b"]) == 62


def test_config_round_trip_and_checks() -> None:
    for config in PRESETS.values():
        assert ModelConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="unknown model settings"):
        ModelConfig.from_dict({"deep": 3})
    with pytest.raises(ConfigError, match="multiple of patch_size"):
        replace(preset("tiny"), image_size=57)
    with pytest.raises(ConfigError, match="there are"):
        preset("huge")


def test_channels_last_changes_nothing(tiny: MoRe) -> None:
    laid_out = copy.deepcopy(tiny).channels_last()
    images = torch.rand(1, 3, 3, 28, 42)
    with torch.no_grad():
        ours, expected = laid_out(images), tiny(images)
    for name in ("depth", "depth_conf", "points", "motion_logits"):
        a, b = getattr(ours, name), getattr(expected, name)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(b.abs().max()))
    assert laid_out.depth_head.scratch.output_conv1.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("images", [torch.zeros(1, 2, 3, *SHAPE, dtype=torch.uint8), clip()[0], clip()[:, :, :1]])
def test_other_images_are_refused_in_one_line(tiny: MoRe, images: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"expected RGB in 0\.\.1, floating point, \[B, S, 3, H, W\]"):
        tiny(images)
