"""Metrics, sheets and the log."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from openmore.errors import InputError, MissingExtra
from openmore.geometry.pose_code import encode_pose
from openmore.geometry.rigid import invert, rigid
from openmore.geometry.rotation import so3_exp
from openmore.model.more import RawOutput
from openmore.training.logbook import Logbook, read_log
from openmore.training.metrics import batch_metrics
from openmore.training.sheets import sheet, write_sheet
from tests.training.toy import toy_batch


def perfect(batch) -> RawOutput:
    code = encode_pose(invert(batch.world_from_cam), batch.K, batch.shape)
    attention = torch.full((2, 3, 2, 1, 5 + 6), 1 / 11)
    logits = (batch.motion == 1).float() * 20 - 10
    return RawOutput(pose_codes=[code], depth=batch.depth * 3, motion_logits=logits, camera_attention=attention)


def test_metrics_of_a_perfect_prediction() -> None:
    batch = toy_batch(S=4)
    batch.world_from_cam = rigid(so3_exp(torch.randn(2, 4, 3) * 0.2), torch.randn(2, 4, 3))
    found = batch_metrics(perfect(batch), batch)
    assert found["rotation_deg"] < 0.1 < found["rotation_deg_if_still"]
    assert found["ate_share"] < 1e-3 and found["depth_absrel"] < 1e-5 and found["motion_iou"] == 1


def test_metrics_of_a_network_that_sees_nothing() -> None:
    batch = toy_batch(S=4)
    batch.world_from_cam = rigid(so3_exp(torch.randn(2, 4, 3) * 0.2), torch.randn(2, 4, 3))
    output = perfect(batch)
    output.pose_codes = [torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1.0]).expand(2, 4, 9)]
    output.motion_logits = torch.full_like(batch.depth, -1.0)
    found = batch_metrics(output, batch)
    assert found["rotation_deg"] == pytest.approx(float(found["rotation_deg_if_still"]), rel=1e-4)
    assert found["ate_share"] == pytest.approx(1, abs=1e-4) and found["motion_iou"] == 0


def test_a_sheet_has_one_row_per_frame_and_a_column_per_output(tmp_path: Path) -> None:
    batch = toy_batch()
    picture = sheet(perfect(batch), batch, patch=14, first_patch=5)
    height, width = batch.shape
    factor = picture.shape[0] // (3 * height)
    assert picture.shape == (3 * height * factor, 6 * width * factor, 3) and factor >= 1
    columns = np.split(picture, 6, axis=1)
    assert np.array_equal(columns[1], columns[2])  # depth three times too large looks the same
    assert (np.abs(columns[3].astype(int) - columns[4]) < 2).all()  # the same masks
    write_sheet(tmp_path / "sheet.png", picture)
    assert (tmp_path / "sheet.png").stat().st_size > 100
    del batch
    alone = toy_batch(B=1, S=1)
    assert sheet(RawOutput(), alone, 14, 5).shape[1] % alone.shape[1] == 0


def test_the_log_survives_a_cut_line(tmp_path: Path) -> None:
    book = Logbook(tmp_path)
    book.write("train", 1, loss=2.5)
    book.write("saved", 1, path="x")
    book.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "train", "st')
    assert [line["loss"] for line in read_log(tmp_path / "log.jsonl", "train")] == [2.5]
    assert len(read_log(tmp_path / "log.jsonl")) == 2


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*log\.jsonl"):
        Logbook(tmp_path / "nowhere")


def test_tensorboard_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"openmore\[train\]"):
        Logbook(tmp_path, tensorboard=True)
