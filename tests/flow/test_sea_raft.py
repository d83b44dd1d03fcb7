from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from openmore.errors import CheckpointError, ConfigError, InputError
from openmore.flow import get_flow
from openmore.flow.sea_raft.layers import CorrelationPyramid, feature_grid, upsample
from openmore.flow.sea_raft.network import CONFIGS, SEARaft, SEARaftConfig, confidence_of
from openmore.flow.sea_raft.weights import build, rename, require_same

TINY = SEARaftConfig((1, 1, 1), updates=2, widths=(8, 8, 8), dim=8, refine_blocks=1, radius=2)


@pytest.mark.parametrize(("size", "millions"), [("s", 8.9), ("m", 19.7)])
def test_published_sizes(size: str, millions: float) -> None:
    with torch.device("meta"):
        network = SEARaft(CONFIGS[size])
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_published_names_and_shapes() -> None:
    with torch.device("meta"):
        state = SEARaft(CONFIGS["m"]).state_dict()
    shapes = {
        "cnet.conv1.weight": (64, 6, 7, 7),
        "fnet.conv1.weight": (64, 3, 7, 7),
        "fnet.layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "fnet.layer3.5.bn2.running_var": (256,),
        "cnet.final_conv.weight": (256, 256, 1, 1),
        "init_conv.weight": (256, 256, 3, 3),
        "update_block.encoder.convc1.weight": (256, 324, 1, 1),
        "update_block.encoder.conv.weight": (126, 256, 3, 3),
        "update_block.refine.1.pwconv1.weight": (512, 384),
        "update_block.refine.0.gamma": (384,),
        "flow_head.2.weight": (6, 256, 3, 3),
        "upsample_weight.2.weight": (576, 256, 1, 1),
    }
    assert {k: tuple(state[k].shape) for k in shapes} == shapes


def test_any_size_in_same_size_out() -> None:
    network = SEARaft(TINY).eval()
    flow, info = network(torch.rand(1, 3, 67, 130), torch.rand(1, 3, 67, 130))
    assert flow.shape == (1, 2, 67, 130) and info.shape == (1, 4, 67, 130)
    confidence = confidence_of(info)
    assert (confidence > 0).all() and (confidence <= 1).all()


def test_correlation_windows_look_where_the_flow_points_x_first() -> None:
    features = torch.nn.functional.one_hot(torch.arange(12 * 16)).T.reshape(1, 192, 12, 16).float()
    pyramid = CorrelationPyramid(features, features, radius=1)
    targets = feature_grid(features).clone()
    targets[:, 0] += 1  # look one feature to the right of where each feature is
    window = pyramid(targets)[0, :9].reshape(3, 3, 12, 16)  # [x offset, y offset, h, w] of the finest level
    hit = torch.zeros(3, 3)
    hit[0, 1] = 192**-0.5  # found again one to the left
    assert torch.allclose(window[:, :, 5, 7], hit, atol=1e-6)


def test_convex_upsampling_keeps_constants_inside() -> None:
    up = upsample(torch.full((1, 2, 4, 5), 3.0), torch.randn(1, 576, 4, 5))
    assert up.shape == (1, 2, 32, 40) and torch.allclose(up[..., 8:-8, 8:-8], torch.tensor(3.0), atol=1e-5)


@pytest.mark.parametrize("kept", ["downsample.1", "bn3"])
def test_either_name_of_the_shortcut_norm_loads(tmp_path: Path, kept: str) -> None:
    network = build("s", "untrained")
    state = {k.replace("downsample.1", kept): v.clone() for k, v in network.state_dict().items()}
    save_file(state, tmp_path / "s.safetensors")
    loaded = build("s", tmp_path / "s.safetensors")
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in network.state_dict().items())


def test_the_wrong_file_is_named_with_its_keys(tmp_path: Path) -> None:
    state = SEARaft(TINY).state_dict()
    other = dict(state)
    other["flow_head.0.weight"] = torch.zeros(1)
    other["extra"] = other.pop("init_conv.bias")
    with pytest.raises(CheckpointError, match=r"1 missing \(init_conv.bias.*1 unknown \(extra.*1 of another shape"):
        require_same(state, rename(other), tmp_path / "x.pth", "s")
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="cannot be read"):
        build("s", tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError, match="do not exist"):
        build("s", tmp_path / "absent.pth")


def test_as_a_backend() -> None:
    estimator = get_flow("sea-raft-s:untrained")
    image = np.random.default_rng(0).integers(0, 255, (64, 72, 3), dtype=np.uint8)
    ab, ba = estimator.both(image, image[:, ::-1].copy())
    for result in (ab, ba):
        assert result.flow.shape == (2, 64, 72) and result.flow.dtype == np.float32
        assert result.confidence.min() >= 0 and result.confidence.max() <= 1
    with pytest.raises(InputError, match="64x64"):
        estimator(image[:40], image[:40])
    with pytest.raises(ConfigError, match="sea-raft-m"):
        get_flow("sea-raft-xl")


def test_offline_without_weights_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(CheckpointError, match="use flow dis"):
        get_flow("sea-raft-m")


def test_a_hub_that_cannot_be_reached_is_not_asked(unreachable_hub: list) -> None:
    with pytest.raises(CheckpointError, match="cannot be downloaded"):
        get_flow("sea-raft-m")
    assert not unreachable_hub


def test_a_file_in_the_hubs_cache_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    cached = tmp_path / "model.safetensors"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(cached))
    with pytest.raises(CheckpointError, match=f"{cached} do not exist"):
        get_flow("sea-raft-m")
