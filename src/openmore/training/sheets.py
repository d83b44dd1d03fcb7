"""Picture sheets of a training batch, to see at a glance what a curve cannot say.

One row per frame of the first clip: picture | true depth | depth | true motion | motion | camera attention, in the
colours of io.preview. Truth and predicted depth share one range after matching their medians; attention is that of the
camera token over the patches of its frame, averaged over heads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openmore.io.atomic import atomic_file
from openmore.io.preview import attention_overlay, inverse_depth, motion_overlay, near_colours, near_range
from openmore.model.more import RawOutput
from openmore.training.batch import Batch

ROWS = 6
TILE = 112  # pixels a column is wide at least; smaller pictures are magnified by whole numbers


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
        columns.append(lambda s: attention_overlay(rgb[s], heat[s]))
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
    shown = near_range([near[0] if known.any() else near[1]])
    return [lambda s, n=n: near_colours(n[s], shown) for n in near]


def _attention(rows: Tensor, shape: tuple[int, int], patch: int, first_patch: int) -> np.ndarray:
    """Rows [S, heads, rows, P] -> [S, h, w], the camera token's attention over the patches, averaged over heads."""
    heat = rows[:, :, 0].float().mean(1)[:, first_patch:]
    return _numpy(heat.unflatten(1, (shape[0] // patch, shape[1] // patch)))


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().to("cpu", torch.uint8 if x.dtype == torch.uint8 else torch.float32).numpy()
