"""Rearrangements that save memory and arithmetic, against the plain order."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from openmore.model import dense_head
from openmore.model.config import preset
from openmore.model.dense_head import DenseHead, FusionBlock, dense_grid, position_grid, resize


@torch.no_grad()
def test_mixing_channels_before_the_resize_changes_nothing() -> None:
    torch.manual_seed(0)
    block, coarse, fine = FusionBlock(8, two_inputs=True), torch.randn(2, 8, 5, 7), torch.randn(2, 8, 5, 7)
    mixed = block.resConfUnit2(coarse + block.resConfUnit1(fine))
    plain = block.out_conv(F.interpolate(mixed, size=(9, 14), mode="bilinear", align_corners=True))
    torch.testing.assert_close(resize(block(coarse, fine), (9, 14)), plain, atol=1e-6, rtol=1e-5)


def test_the_position_map_is_kept_as_columns_and_rows() -> None:
    config = preset("tiny")
    columns, rows = dense_grid(config, (28, 42)).output
    whole = position_grid(config.dpt_features // 2, (28, 42), 42 / 28)
    quarter = config.dpt_features // 4
    assert columns.shape == (quarter, 1, 42) and rows.shape == (quarter, 28, 1)
    torch.testing.assert_close(whole[:quarter], columns.expand(-1, 28, -1))
    torch.testing.assert_close(whole[quarter:], rows.expand(-1, -1, 42))
    assert whole.permute(1, 2, 0).is_contiguous() and whole.abs().max() <= 0.1


@torch.no_grad()
@pytest.mark.parametrize("at_once", [2, 3, 8])
def test_a_few_channels_at_a_time_give_the_same_map(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    torch.manual_seed(0)
    config = preset("tiny")
    head, grid = DenseHead(config, 2), dense_grid(config, (28, 42))
    fused = torch.randn(2, config.dpt_features, 8, 12)
    columns, rows = grid.output
    full = resize(head.scratch.output_conv1(fused), (28, 42))
    position = torch.cat((columns.expand(-1, 28, -1), rows.expand(-1, -1, 42)))
    plain = head.scratch.output_conv2(full + position)
    monkeypatch.setattr(dense_head, "CHANNELS_AT_ONCE", at_once)
    torch.testing.assert_close(head.scratch.finish(fused, grid), plain, atol=1e-6, rtol=1e-5)
