"""Two rearrangements that save memory and arithmetic, against the plain order."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from openmore.model.config import preset
from openmore.model.dense_head import FusionBlock, dense_grid, position_grid


@torch.no_grad()
def test_mixing_channels_before_the_resize_changes_nothing() -> None:
    torch.manual_seed(0)
    block, coarse, fine = FusionBlock(8, two_inputs=True), torch.randn(2, 8, 5, 7), torch.randn(2, 8, 5, 7)
    mixed = block.resConfUnit2(coarse + block.resConfUnit1(fine))
    plain = block.out_conv(F.interpolate(mixed, size=(9, 14), mode="bilinear", align_corners=True))
    torch.testing.assert_close(block(coarse, fine, (9, 14)), plain, atol=1e-6, rtol=1e-5)


def test_the_position_map_is_kept_as_columns_and_rows() -> None:
    config = preset("tiny")
    columns, rows = dense_grid(config, (28, 42)).output
    whole = position_grid(config.dpt_features // 2, (28, 42), 42 / 28)
    quarter = config.dpt_features // 4
    assert columns.shape == (quarter, 1, 42) and rows.shape == (quarter, 28, 1)
    torch.testing.assert_close(whole[:quarter], columns.expand(-1, 28, -1))
    torch.testing.assert_close(whole[quarter:], rows.expand(-1, -1, 42))
    assert whole.permute(1, 2, 0).is_contiguous() and whole.abs().max() <= 0.1
