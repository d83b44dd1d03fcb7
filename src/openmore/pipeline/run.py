"""`openmore.reconstruct`: frames -> network -> (geometric refinement) -> Reconstruction.

Choices
- `mode="full"` sees the whole clip at once (best quality; refuses what will not fit and says what would);
  `mode="stream"` goes frame by frame with bounded memory and is what `openmore stream` computes.
- Everything here works on an iterator of frames; only pictures as the network and geometry need them are kept.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openmore.checks import require_known
from openmore.errors import ConfigError
from openmore.flow import get_flow
from openmore.model.more import MoRe
from openmore.model.weights.registry import is_embedded
from openmore.pipeline.options import Options
from openmore.pipeline.passes import run_full, run_stream
from openmore.pipeline.pictures import sized_frames
from openmore.pipeline.report import Clock, scene_info
from openmore.progress import ProgressCallback, silent
from openmore.refinement.apply import refine_predictions
from openmore.refinement.dense.fusion import settler
from openmore.refinement.dense.predictions import keep
from openmore.refinement.stream.window import SlidingWindow
from openmore.types import FramePrediction, Reconstruction, SparseTracks

ALONE = "a single frame shows geometry no motion: depth and motion are the network's guess"
HOW_WHOLE = "give refine geometry, and global_pass to a stream"


def reconstruct(
    source: str | Path | np.ndarray | list[Any],
    weights: str | MoRe = "small",
    *,
    device: str | torch.device = "cpu",
    dtype: str = "auto",
    progress: ProgressCallback = silent,
    **options: Any,
) -> Reconstruction:
    """Reconstruct a video, folder, glob, image or array [S, H, W, 3] uint8.

    `weights`: a name, file or folder, loaded to `device` as `dtype`, or a loaded MoRe. `options`: the fields of
    `openmore.pipeline.Options`. The result holds numpy arrays; cameras are in original pixels. Raises InputError,
    CheckpointError or ConfigError in one line.
    """
    require_known(options, [field.name for field in fields(Options)], "reconstruct")
    chosen = Options(**options)
    model = network(weights, device, dtype)
    skipped: list[dict[str, Any]] = []
    geometry = wants_geometry(chosen, model)
    whole = geometry and (chosen.mode == "full" or chosen.global_pass)
    if not whole and chosen.flow != Options.flow:
        raise ConfigError(f"flow {chosen.flow!r} was given, but only geometry over a whole clip uses it: {HOW_WHOLE}")
    flow = get_flow(chosen.flow, model.device) if whole else None  # missing weights are said before the work
    working: list[np.ndarray] = []
    pictures = sized_frames(source, model, chosen, skipped, working if whole else None)
    clock = Clock()
    report: dict[str, Any] = {}
    tracks: SparseTracks | None = None
    if chosen.mode == "full":
        predictions, sizing, warnings = run_full(model, pictures, chosen, clock, progress)
    else:
        polish = SlidingWindow(chosen.intrinsics) if geometry else None
        predictions, sizing, warnings = run_stream(model, pictures, chosen, clock, progress, polish)
        if polish is not None:
            warnings, report = [*warnings, *polish.warnings], {"refinement_window": polish.report()}
    known = chosen.intrinsics and chosen.intrinsics.K_for(sizing.original_shape)
    if whole and len(predictions) == 1:
        predictions, warnings = [with_K(predictions[0], known)], [*warnings, ALONE]
    elif whole:
        with clock.stage("refine"):
            fuse = settler() if wants_fusion(chosen, model) else keep
            predictions, found, tracks = refine_predictions(predictions, working, progress, known, flow, fuse)
        warnings, report = [*warnings, *found.warnings], {**report, "refinement": found.as_dict()}
    if skipped:
        warnings.append(f"{len(skipped)} damaged frame(s) skipped")
    info = scene_info(source, model, chosen, sizing, clock, warnings, skipped)
    info.extra.update(report)
    return Reconstruction(predictions, info, tracks=tracks)


def with_K(prediction: FramePrediction, K: np.ndarray | None) -> FramePrediction:
    """The prediction seen through K [3, 3] of the original frame, if that is known."""
    if K is None:
        return prediction
    # The point head's cloud belongs to the network's own camera, as after refinement.
    return replace(prediction, camera=replace(prediction.camera, K=K), points=None)


def network(weights: str | MoRe, device: str | torch.device, dtype: str) -> MoRe:
    """The loaded network. Raises ConfigError for a device or dtype that one loaded before would not take."""
    if not isinstance(weights, MoRe):
        return MoRe.from_pretrained(weights, device=device, dtype=dtype).pack()
    if dtype != "auto" or not (device == "cpu" or str(weights.device).startswith(str(device))):
        raise ConfigError(
            f"device {device} and dtype {dtype} were given with a loaded network, which keeps its own: "
            "give them to MoRe.from_pretrained"
        )
    return weights


def wants_fusion(options: Options, model: MoRe) -> bool:
    """Whether the fusion network settles what geometry measures: it knows the depth of the embedded weights only."""
    return options.fusion == "auto" and is_embedded(model.provenance)


def wants_geometry(options: Options, model: MoRe) -> bool:
    """Whether cameras are to be solved from matches (docs/refinement.md)."""
    if options.refine == "auto":
        embedded = options.mode == "full" and is_embedded(model.provenance)
        return embedded or options.intrinsics is not None
    return options.refine == "geometry"
