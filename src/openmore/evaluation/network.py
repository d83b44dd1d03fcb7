"""Our network as a method under test: `openmore.reconstruct` behind the Predictor interface.

Choices
- The network gets pictures only: no scale, no time stamps, and intrinsics only when `known_K` says so.
- "full" sees all frames at once; "stream" gets them in order and remembers all of them (the published streaming
  rows); "stream-windowN" keeps N past frames and the anchor. `refine` is the pipeline's.
- Depth stays at model resolution, intrinsics are those of the original pictures.
"""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np

from openmore.errors import ConfigError
from openmore.evaluation.prediction import Clip, Prediction


class Network:
    """Weights, a mode and a refinement."""

    def __init__(
        self,
        weights: str,
        mode: str = "full",
        *,
        refine: str = "none",
        known_K: bool = False,
        label: str | None = None,
        device: str = "cpu",
        dtype: str = "auto",
        **options: Any,
    ):
        """`known_K`: geometric refinement is given the true intrinsics of clips that have them.

        `label`: what tables call it. `options`: further fields of openmore.pipeline.Options.

        Raises CheckpointError or ConfigError.
        """
        from openmore.model.more import MoRe
        from openmore.pipeline import Options

        self.options = {**parse_mode(mode), "refine": refine, **options}
        Options(**self.options).memory()  # a mistake in the options should not wait for the weights
        added = [f"+{refine}"] if refine != "none" else []
        self.name = label or " ".join([weights, mode, *added, *(["+K"] if known_K else [])])
        self.known_K = known_K
        self.mode, self.dtype = mode, dtype
        self.model = MoRe.from_pretrained(weights, device=device, dtype=dtype).pack()

    def describe(self) -> dict[str, Any]:
        provenance = {key: self.model.provenance.get(key) for key in ("name", "sha256")}
        known = {"known_K": True} if self.known_K else {}
        return {"weights": provenance, "mode": self.mode, "dtype": self.dtype, "options": self.options, **known}

    def predict(self, clip: Clip) -> Prediction:
        from openmore.pipeline import reconstruct

        begun = time.perf_counter()
        known = {"intrinsics": clip.K[0]} if self.known_K and clip.K is not None else {}
        scene = reconstruct(clip.images, self.model, **self.options, **known)
        seconds = time.perf_counter() - begun
        frames = list(scene.frames)
        motion = None if frames[0].motion is None else np.stack([f.motion for f in frames if f.motion is not None])
        depth = np.stack([frame.depth for frame in frames])
        return Prediction(scene.world_from_cam, scene.K, depth, motion, seconds)


def parse_mode(mode: str) -> dict[str, Any]:
    """Pipeline options of a mode's name. Raises ConfigError for an unknown one."""
    if mode == "full":
        return {"mode": "full"}
    if mode == "stream":
        return {"mode": "stream", "policy": "all"}
    window = re.fullmatch(r"stream-window(\d+)", mode)
    if window is None:
        raise ConfigError(
            f"mode {mode!r} is unknown: choose full, stream or stream-windowN, for example stream-window5"
        )
    return {"mode": "stream", "window": int(window[1])}
