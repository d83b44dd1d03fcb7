"""Picture sheets of a training batch, to see at a glance what a curve cannot say.

One row per frame of the first clip: picture | true depth | depth | true motion | motion | camera attention. Depth is
shown as 1/z, near bright, truth and prediction on one range after matching their medians; attention relative to
uniform, over the patches of the frame, averaged over heads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openmore.io.atomic import atomic_file
from openmore.io.colours import ramp
from openmore.io.preview import inverse_depth, motion_overlay
from openmore.model.more import RawOutput
from openmore.training.batch import Batch

ROWS = 6
TILE = 112  # pixels a column is wide at least; smaller pictures are magnified by whole numbers
ATTENTION_FULL = 4.0  # times uniform attention that is shown brightest


def sheet(output: RawOutput, batch: Batch, patch: int, first_patch: int) -> np.ndarray:
    """[H, W, 3] uint8 for the batch's first clip; columns whose output is missing are left out."""
    frames = np.unique(np.linspace(0, batch.frames - 1, min(ROWS, batch.frames)).round().astype(int))
    rgb = (_numpy(batch.images[0]).transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)
    columns: list[Callable[[int], np.ndarray]] = [lambda s: rgb[s]]
    if output.depth is not None:
        columns += _depth_columns(_numpy(batch.depth[0]), _numpy(output.depth[0]))
    if output.motion_logits is not None:
        truth, ours = _numpy(batch.motion[0]), _numpy(output.motion_logits[0].float().sigmoid())
        columns.append(lambda s: motion_overlay(rgb[s], (truth[s] == 1).astype(float)))
        columns.append(lambda s: motion_overlay(rgb[s], ours[s]))
    if output.camera_attention is not None:
        heat = _attention(output.camera_attention[0], batch.shape, patch, first_patch)
        columns.append(lambda s: ramp(heat[s] / ATTENTION_FULL))
    picture = np.concatenate([np.concatenate([column(int(s)) for column in columns], 1) for s in frames], 0)
    factor = -(-TILE // batch.shape[1])
    return picture.repeat(factor, 0).repeat(factor, 1)


def write_sheet(path: Path, picture: np.ndarray) -> None:
    """Save as PNG, whole or not at all."""
    from PIL import Image

    with atomic_file(path) as handle:
        Image.fromarray(picture).save(handle, format="png")


def _depth_columns(truth: np.ndarray, ours: np.ndarray) -> list[Callable[[int], np.ndarray]]:
    known = truth > 0
    scale = np.median(truth[known]) / max(float(np.median(ours[known])), 1e-9) if known.any() else 1.0
    near = [inverse_depth(truth), inverse_depth(ours * scale)]
    low, high = np.percentile(near[0][known] if known.any() else near[1], (2, 98))
    return [lambda s, n=n: ramp((n[s] - low) / max(high - low, 1e-12)) for n in near]


def _attention(rows: Tensor, shape: tuple[int, int], patch: int, first_patch: int) -> np.ndarray:
    """Rows [S, heads, rows, P] -> [S, H, W], attention of the camera token in units of uniform."""
    grid = (shape[0] // patch, shape[1] // patch)
    heat = rows[:, :, 0].float().mean(1) * rows.shape[-1]
    heat = _numpy(heat[:, first_patch:].unflatten(1, grid))
    return heat.repeat(patch, 1).repeat(patch, 2)


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().to("cpu", torch.uint8 if x.dtype == torch.uint8 else torch.float32).numpy()
