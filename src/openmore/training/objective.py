"""The training objective: what is weighed how, and the sum of it all (more_release.md, "Losses and recipe").

Choices
- The defaults are the published weights. Terms of weight 0 are not computed, and their heads do not run.
- Truth is normalised (first camera = world, mean distance 1); predictions are compared as they are.
- Losses are float32 whatever the precision of the network.
- Streaming cameras may be supervised by pairs with truncated gradients (`stream_gradient`); duplicates always get the
  full gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from openmore.geometry.pose_code import encode_pose
from openmore.geometry.rigid import invert
from openmore.model.config import ModelConfig
from openmore.model.more import RawOutput
from openmore.training.batch import Batch
from openmore.training.losses.attention import AttentionForcingConfig, attention_forcing
from openmore.training.losses.camera import CameraConfig, camera_terms
from openmore.training.losses.dense import DenseConfig, DenseTerms, dense_terms
from openmore.training.losses.log_depth import log_depth_loss
from openmore.training.losses.motion import motion_loss
from openmore.training.losses.normalise import NormalisedTruth, normalise_truth

StreamGradient = Literal["none", "G1", "G2", "G3"]


@dataclass(frozen=True)
class Weights:
    """Weight of each term in the sum."""

    camera: float = 5.0  # the frames' own camera tokens
    duplicate: float = 2.5  # duplicate camera tokens
    depth: float = 1.0
    points: float = 1.0
    motion: float = 1.0
    attention: float = 0.01  # attention forcing
    correspondence: float = 0.0  # not in the paper; helps small networks from scratch to find matches
    log_depth: float = 0.0  # not in the paper; depth up to scale, relative errors (log_depth.py)
    displacement: float = 0.0  # not in the paper; makes tokens carry where their match was


@dataclass(frozen=True)
class ObjectiveConfig:
    """Everything about the losses."""

    weights: Weights = field(default_factory=Weights)
    camera: CameraConfig = field(default_factory=lambda: CameraConfig(rotation=2.0))
    duplicate: CameraConfig = field(default_factory=lambda: CameraConfig(form="relative_release", rotation=2.0))
    depth: DenseConfig = field(default_factory=DenseConfig)
    points: DenseConfig = field(default_factory=lambda: DenseConfig(detail="normal"))
    attention: AttentionForcingConfig = field(default_factory=AttentionForcingConfig)
    motion_quantile: float | None = 0.98
    motion_balance: bool = False
    unknown_is_sky: bool = False  # log_depth: what has no depth is sky; true of the synthetic world
    # How the gradient of the streaming cameras is truncated (training_recipe.md, section 4.3). G1: a pair acts on its
    # later frame only. G2: not into the backbone. G3: not through the first `truncated_frames` frames. G1 and G3 need
    # a relative `camera.form`.
    stream_gradient: StreamGradient = "none"
    truncated_frames: int = 2
    correspondence_layers: tuple[int, ...] = ()  # global blocks; () means the one two thirds up
    correspondence_points: int = 64  # patches per frame

    def heads(self, model: ModelConfig) -> set[str]:
        """The heads of a network that this objective trains."""
        w = self.weights
        weights = {
            "camera": w.camera + w.duplicate,
            "depth": w.depth + w.log_depth,
            "points": w.points,
            "motion": w.motion,
        }
        return {head for head in model.heads if weights[head] > 0}

    @property
    def stream_camera(self) -> CameraConfig:
        """The camera loss in a causal pass."""
        return replace(
            self.camera,
            detach_earlier=self.camera.detach_earlier or self.stream_gradient == "G1",
            detach_first_frames=self.truncated_frames if self.stream_gradient == "G3" else 0,
        )


@dataclass
class AttentionRows:
    """Camera queries over image patches of one block, and what is known of those patches."""

    attention: Tensor  # [..., heads, rows, K]
    share: Tensor  # [..., K] share of moving pixels
    known: Tensor  # [..., K] bool, labelled and visible to the query
    visible: Tensor | int  # number of keys of the softmax


@dataclass
class Losses:
    """What a pass returns: the sum to differentiate and its parts, unweighted, for the log."""

    total: Tensor
    terms: dict[str, Tensor]


def objective(
    output: RawOutput,
    batch: Batch,
    config: ObjectiveConfig,
    *,
    causal: bool = False,
    attention: list[AttentionRows] | None = None,
    correspondence: Tensor | None = None,
    displacement: Tensor | None = None,
) -> Losses:
    """Weighted sum of everything `output` holds; `causal` picks the streaming form of the camera loss."""
    truth = normalise_truth(batch.world_from_cam, batch.depth, batch.K, batch.valid)
    groups: list[tuple[str, float, dict[str, Tensor]]] = [
        *_cameras(output, batch, truth, config, causal),
        *_maps(output, batch, truth, config),
    ]
    w = config.weights
    if attention:
        rows = [attention_forcing(r.attention, r.share, r.known, r.visible, config.attention) for r in attention]
        groups.append(("attention", w.attention, {"attention": torch.stack(rows).mean()}))
    if correspondence is not None:
        groups.append(("correspondence", w.correspondence, {"correspondence": correspondence}))
    if displacement is not None:
        groups.append(("displacement", w.displacement, {"displacement": displacement}))
    total = torch.stack([weight * terms[name] for name, weight, terms in groups]).sum()
    return Losses(total, {k: v.detach() for _, _, terms in groups for k, v in terms.items()})


Group = tuple[str, float, dict[str, Tensor]]  # name, weight, terms; the term called `name` is the weighted one


def _cameras(
    output: RawOutput, batch: Batch, truth: NormalisedTruth, config: ObjectiveConfig, causal: bool
) -> list[Group]:
    code = encode_pose(invert(truth.world_from_cam), batch.K, batch.shape)
    usable = batch.valid[:, 0].flatten(1).sum(1) > config.camera.min_valid
    stream = config.stream_camera if causal else config.camera
    groups = []
    for name, codes, form, weight in (
        ("camera", output.pose_codes, stream, config.weights.camera),
        ("duplicate", output.refined_pose_codes, config.duplicate, config.weights.duplicate),
    ):
        if codes and weight > 0:
            terms = camera_terms([c[usable].float() for c in codes], code[usable], form)
            parts = {f"{name}_{part}": value for part, value in terms._asdict().items()}
            groups.append((name, weight, {name: terms.total(form), **parts}))
    return groups


def _maps(output: RawOutput, batch: Batch, truth: NormalisedTruth, config: ObjectiveConfig) -> list[Group]:
    w, groups = config.weights, []
    if output.depth is not None and output.depth_conf is not None:
        terms = dense_terms(
            output.depth[..., None], truth.depth[..., None], output.depth_conf, batch.valid, config.depth
        )
        groups.append(("depth", w.depth, _dense_group("depth", terms)))
        if w.log_depth > 0:
            loss = log_depth_loss(output.depth, truth.depth, batch.valid, config.unknown_is_sky)
            groups.append(("log_depth", w.log_depth, {"log_depth": loss}))
    if output.points is not None and output.points_conf is not None:
        terms = dense_terms(output.points, truth.points, output.points_conf, batch.valid, config.points)
        groups.append(("points", w.points, _dense_group("points", terms)))
    if output.motion_logits is not None:
        loss = motion_loss(output.motion_logits, batch.motion, config.motion_quantile, config.motion_balance)
        groups.append(("motion", w.motion, {"motion": loss}))
    return groups


def _dense_group(name: str, terms: DenseTerms) -> Mapping[str, Tensor] | dict[str, Tensor]:
    return {name: torch.stack(terms).sum(), **{f"{name}_{k}": v for k, v in terms._asdict().items()}}
