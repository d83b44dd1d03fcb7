from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from openmore.errors import ConfigError
from openmore.model import packing
from openmore.model.attend import LONG, SCORES, attend, by_products
from openmore.model.more import MoRe
from openmore.model.packing import PackedLinear, gains, pack
from openmore.model.weights.load import save

PACKS = pytest.mark.skipif(not gains(torch.zeros(1)), reason="this processor gains nothing from packed weights")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("B", "heads", "queries", "keys"),
    [(1, 2, 5, 5), (2, 3, 300, 40), (1, 5, 800, 1000), (1, 4, 129, 5 * SCORES // 258), (3, 2, 1, 7)],
)
def test_attention_by_products_is_the_fused_one(B: int, heads: int, queries: int, keys: int) -> None:
    q, k, v = (normal(B, heads, n, 16, seed=i) for i, n in enumerate((queries, keys, keys)))
    exact = nn.functional.scaled_dot_product_attention(q, k, v)
    assert (by_products(q, k, v) - exact).abs().max() < 1e-5
    q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
    fused = nn.functional.scaled_dot_product_attention(q, k, v).float()
    error, unavoidable = ((x - exact).norm() for x in (by_products(q, k, v).float(), fused))
    assert error < 2 * unavoidable


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [-300.0, 300.0])
def test_scores_far_from_zero_leave_the_work_to_the_fused_kernel(dtype: torch.dtype, size: float) -> None:
    """2^score is 0 or infinite there."""
    q, k, v = (normal(1, 2, n, 16, seed=i) for i, n in enumerate((70, 90, 90)))
    q[..., 0], k[..., 0] = 4 * size, 4.0
    q, k, v = (x.to(dtype) for x in (q, k, v))
    assert torch.equal(by_products(q, k, v), nn.functional.scaled_dot_product_attention(q, k, v))


def test_float32_attention_goes_by_products_where_keys_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    q, few, many = (normal(1, 2, n, 8, seed=n) for n in (40, LONG - 1, LONG))
    fused = nn.functional.scaled_dot_product_attention
    exact = fused(q, many, many)
    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", lambda *_: None)
    assert attend(q, few, few) is None
    torch.testing.assert_close(attend(q, many, many), exact, atol=1e-6, rtol=1e-5)


def test_bf16_attention_keeps_its_gradient() -> None:
    q, k, v = (normal(1, 2, 70, 8, seed=i).bfloat16().requires_grad_() for i in range(3))
    attend(q, k, v).sum().backward()
    assert q.grad is not None and q.grad.abs().sum() > 0


def test_attention_reads_strided_keys() -> None:
    store = normal(1, 2, 50, 8).bfloat16()
    q = normal(1, 3, 2, 8, seed=1).transpose(1, 2).bfloat16()
    views = store[:, :, :20], store[:, :, 20:40]
    copies = [x.contiguous() for x in views]
    assert torch.equal(by_products(q, *views), by_products(q.contiguous(), *copies))


@PACKS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_layer_computes_the_same(dtype: torch.dtype) -> None:
    layer = nn.Linear(96, 80).to(dtype).requires_grad_(False)
    model = nn.Sequential(layer)
    if not gains(layer.weight):
        pytest.skip(f"not packed in {dtype} here")
    pack(model)
    packed = model[0]
    assert isinstance(packed, PackedLinear) and packed.weight.dtype == dtype
    for x in (normal(7, 96), normal(2, 3, 96), normal(96, 5).T):
        x = x.to(dtype)
        torch.testing.assert_close(packed(x), layer(x), rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5)


@PACKS
def test_a_packed_network_computes_the_same_and_refuses_to_be_saved(tmp_path: Path) -> None:
    plain, packed = (MoRe.from_pretrained("untrained:tiny", dtype="fp32") for _ in range(2))
    packed.pack()
    assert any(isinstance(m, PackedLinear) for m in packed.modules())
    height = width = 4 * plain.config.patch_size
    images = torch.rand(1, 3, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        a, b = plain(images), packed(images)
    assert a.depth is not None and b.depth is not None
    torch.testing.assert_close(b.depth, a.depth, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(b.pose_codes[-1], a.pose_codes[-1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="load the weights again"):
        save(packed, tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())


@PACKS
def test_packing_frees_each_layer_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(*(nn.Sequential(nn.Linear(96, 96)) for _ in range(4))).requires_grad_(False)
    old, alive = [weakref.ref(layer[0].weight) for layer in model], []

    def count(weight: torch.Tensor) -> bool:
        alive.append(sum(ref() is not None for ref in old))
        return True

    monkeypatch.setattr(packing, "gains", count)
    pack(model)
    assert alive == [4, 3, 2, 1]
