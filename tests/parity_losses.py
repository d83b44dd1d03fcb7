"""Compare the training losses with reference values and gradients: `python -m tests.parity_losses FILE...`

Every file carries its own inputs, configuration and expected values (metadata key `json`); nothing about a file is
assumed here. One line per tensor; exit status 1 on any failure. Tolerance: 1e-5 relative to the tensor's peak.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from openmore.geometry.pose_code import encode_pose
from openmore.geometry.rigid import invert, relative_to_first
from openmore.training.losses.attention import AttentionForcingConfig, attention_forcing
from openmore.training.losses.camera import CameraConfig, CameraTerms, camera_terms
from openmore.training.losses.dense import DenseConfig, DenseTerms, dense_terms
from openmore.training.losses.motion import motion_loss, pool_motion
from openmore.training.losses.normalise import UNIT_CLAMP, mean_distance
from tests.parity import Fixture, Line, compare, read_fixture

TOLERANCE = 1e-5


def line(name: str, ours: Tensor, expected: Tensor) -> Line:
    return compare(name, ours.detach().reshape(expected.shape), expected, TOLERANCE)


# -- losses of the STream3R training code ------------------------------------------------------------------------------

DETAILS = {"grad": "gradient", "normal": "normal", "none": "none", "False": "none", "None": "none"}


def stream3r_config(meta: dict) -> DenseConfig:
    """The dense loss that a file's configuration names."""
    c = meta["config"]
    unsupported = [k for k in ("temporal_matching_loss", "normalize_using_first_view") if c.get(k, "False") != "False"]
    if unsupported or c.get("all_mean", "True") != "True":
        raise SystemExit(f"{meta['case']}: unsupported settings {c}")
    return DenseConfig(
        gamma=meta["gamma"],
        alpha=meta["alpha"],
        quantile=float(c["valid_range"]) if 0 < float(c["valid_range"]) < 1 else None,
        detail=DETAILS[c["gradient_loss"].replace("_conf", "")],  # type: ignore[arg-type]
        detail_confident="conf" in c["gradient_loss"],
        first_frame_apart=True,
        image_cap=100.0,
    )


def check_stream3r(fixture: Fixture) -> Iterator[Line]:
    g, expected, meta = fixture.group("in"), fixture.group("out"), fixture.meta
    config, mask = stream3r_config(meta), g["mask"]
    maps = {name: (_with_channel(g[f"pred_{name}"], mask), _with_channel(g[f"gt_{name}"], mask)) for name in MAPS}
    scales, total = {}, torch.zeros(())
    for name, (prediction, truth) in maps.items():
        for side, x, wanted in (("pred", prediction, "normalize_pred"), ("gt", truth, "normalize_gt")):
            scales[name, side] = mean_distance(x, mask, UNIT_CLAMP)
            yield line(f"{name}_{side}_scale", scales[name, side], expected[f"{name}_{side}_scale"])
            if meta["config"][wanted] != "True":
                scales[name, side] = torch.ones_like(scales[name, side])
        normalised = [x / _like(scales[name, side], x) for side, x in (("pred", prediction), ("gt", truth))]
        terms = dense_terms(*normalised, g[f"pred_{name}_conf"], mask, config)
        yield line(f"{name}_loss_conf", terms.confidence, expected[f"{name}_loss_conf"])
        yield line(f"{name}_loss_grad", terms.detail, expected[f"{name}_loss_grad"])
        total = total + terms.confidence + terms.detail
    camera, weights = _stream3r_cameras(g, meta, scales["depth", "pred"], scales["depth", "gt"])
    for name, value in zip(("T", "R", "fov"), camera):
        yield line(f"camera_loss_{name}", value, expected[f"camera_loss_{name}"])
    yield line("camera_loss", camera.total(weights), expected["camera_loss"])
    yield line("total", total + camera.total(weights), expected["total"])
    yield from _stream3r_raw(g, expected, maps, config)


MAPS = ("points", "depth")


def _with_channel(x: Tensor, mask: Tensor) -> Tensor:
    return x[..., None] if x.shape == mask.shape else x


def _like(scale: Tensor, x: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (x.dim() - 1))


def _stream3r_cameras(g: dict[str, Tensor], meta: dict, pred: Tensor, gt: Tensor) -> tuple[CameraTerms, CameraConfig]:
    w, shape = meta["camera_weights"], (g["mask"].shape[-2], g["mask"].shape[-1])
    config = CameraConfig(translation=w["T"], rotation=w["R"], fov=w["fov"], decay=meta["camera_gamma"])
    cam_from_world = invert(relative_to_first(g["gt_camera_to_world"]))
    truth = _rescale(encode_pose(cam_from_world, g["gt_intrinsics"], shape), gt)
    codes = [_rescale(g[k], pred) for k in sorted(k for k in g if k.startswith("pred_pose_enc_iter"))]
    return camera_terms(codes, truth, config), config


def _rescale(code: Tensor, scale: Tensor) -> Tensor:
    return torch.cat((code[..., :3] / scale[:, None, None], code[..., 3:]), -1)


def _stream3r_raw(g: dict[str, Tensor], expected: dict[str, Tensor], maps: dict, config: DenseConfig) -> Iterator[Line]:
    """The pieces alone: no normalisation, all frames together."""
    raw = replace(config, first_frame_apart=False)
    plain = replace(raw, detail="gradient", detail_confident=False, quantile=None)
    points = dense_terms(*maps["points"], g["pred_points_conf"], g["mask"], plain)
    yield line("raw_points_loss_conf", points.confidence, expected["raw_points_loss_conf_no_norm_no_filter"])
    yield line("raw_gradient_loss", points.detail, expected["raw_gradient_loss_4_scales"])
    confident = replace(plain, detail_confident=True)
    depth = dense_terms(*maps["depth"], g["pred_depth_conf"], g["mask"], confident)
    yield line("raw_gradient_loss_with_conf", depth.detail, expected["raw_gradient_loss_4_scales_depth_with_conf"])
    normal = dense_terms(*maps["points"], g["pred_points_conf"], g["mask"], replace(plain, detail="normal"))
    yield line("raw_normal_loss", normal.detail, expected["raw_normal_loss_3_scales"])


# -- losses of the authors' release ------------------------------------------------------------------------------------


def check_release(fixture: Fixture) -> Iterator[Line]:
    groups = sorted({key.split(".")[1] for key in fixture.tensors if key.startswith("output.")})
    for group in groups:
        family = next(name for name in RELEASE if group.startswith(name))
        values, inputs = RELEASE[family](fixture, group)
        total = next(iter(values.values()))
        gradients = dict(zip(inputs, torch.autograd.grad(total, list(inputs.values()), allow_unused=True)))
        for key, expected in fixture.tensors.items():
            if key.startswith(f"output.{group}."):
                yield line(key, values[key.removeprefix(f"output.{group}.")], expected)
            elif key.startswith(f"grad.{group}."):
                yield line(key, gradients[key.removeprefix(f"grad.{group}.")], expected)


Checked = tuple[dict[str, Tensor], dict[str, Tensor]]  # values by name, the differentiated one first; inputs by name


def release_camera(fixture: Fixture, group: str) -> Checked:
    gt, pred, meta = fixture_group(fixture, "input.gt."), fixture_group(fixture, "input.pred."), fixture.meta
    duplicate = group.endswith("duplicate")
    prefix = "dup_pose_enc_iter" if duplicate else "pose_enc_iter"
    codes = {k.removeprefix("dup_"): pred[k].requires_grad_() for k in sorted(pred) if k.startswith(prefix)}
    config = CameraConfig(
        form="absolute" if "absolute" in group else "relative_release",
        translation=meta["weight_trans"],
        rotation=meta["weight_rot"],
        decay=meta["stage_decay"],
        detach_earlier=group.endswith("streaming"),
    )
    # The release encodes the truth anew, which makes the quaternion's w positive.
    truth = encode_pose(gt["extrinsics"], gt["intrinsics"], (meta["H"], meta["W"]))
    usable = gt["point_masks"][:, 0].flatten(1).sum(1) > config.min_valid
    terms = camera_terms([code[usable] for code in codes.values()], truth[usable], config)
    names = {"camera": terms.total(config), "T": terms.translation, "R": terms.rotation, "FL": terms.fov}
    return {f"loss_{'dup_' if duplicate else ''}{k}": v for k, v in names.items()}, codes


def release_depth(fixture: Fixture, group: str) -> Checked:
    terms, inputs = _release_map(fixture, group, "depths", "depth", DenseConfig())
    return {f"loss_{k}_depth": v for k, v in _named(terms).items()}, inputs


def release_point(fixture: Fixture, group: str) -> Checked:
    terms, inputs = _release_map(fixture, group, "world_points", "world_points", DenseConfig(detail="normal"))
    return {f"loss_{k}_point": v for k, v in _named(terms).items()}, inputs


def _release_map(
    fixture: Fixture, group: str, truth: str, name: str, config: DenseConfig
) -> tuple[DenseTerms, dict[str, Tensor]]:
    gt, pred, meta = fixture_group(fixture, "input.gt."), fixture_group(fixture, "input.pred."), fixture.meta
    valid = gt["point_masks"].bool()
    config = replace(config, gamma=meta["gamma_conf"], alpha=meta["alpha_conf"], quantile=_quantile(meta, group))
    inputs = {name: pred[name].requires_grad_(), f"{name}_conf": pred[f"{name}_conf"].requires_grad_()}
    ours, theirs = _with_channel(inputs[name], valid), _with_channel(gt[truth], valid)
    return dense_terms(ours, theirs, inputs[f"{name}_conf"], valid, config), inputs


def _named(terms: DenseTerms) -> dict[str, Tensor]:
    return {"conf": terms.confidence, "reg": terms.regression, "grad": terms.detail}


def _quantile(meta: dict, group: str) -> float | None:
    return None if "noquantile" in group else meta["quantile"]


def release_motion(fixture: Fixture, group: str) -> Checked:
    logits = fixture.tensors["input.pred.motion"].squeeze(-1).requires_grad_()
    quantile = fixture.meta["quantile"] if group.endswith("_quantile") else None
    return {"loss_ce_motion": motion_loss(logits, fixture.tensors["input.gt.motions"], quantile)}, {"motion": logits}


def release_attention(fixture: Fixture, group: str) -> Checked:
    attention, labels = fixture.tensors["input.pred.attn_weight"].requires_grad_(), fixture.tensors["input.gt.motions"]
    patch = round((labels.shape[-2] * labels.shape[-1] / attention.shape[-1]) ** 0.5)
    share, known = (x.flatten(0, 1) for x in pool_motion(labels, patch))
    loss = attention_forcing(attention, share, known, attention.shape[-1], AttentionForcingConfig("release"))
    return {"loss_kl_attn": loss}, {"attn": attention}


RELEASE: dict[str, Callable[[Fixture, str], Checked]] = {
    "camera": release_camera,
    "depth": release_depth,
    "point": release_point,
    "motion": release_motion,
    "attention_forcing_release": release_attention,
}


def fixture_group(fixture: Fixture, prefix: str) -> dict[str, Tensor]:
    """Fresh copies of the tensors below `prefix`, with the prefix taken off."""
    return {k.removeprefix(prefix): v.clone() for k, v in fixture.tensors.items() if k.startswith(prefix)}


def check(path: Path) -> list[Line]:
    """All comparisons of one file."""
    fixture = read_fixture(path)
    return list((check_stream3r if fixture.meta.get("case") == "losses" else check_release)(fixture))


def main(paths: list[str]) -> int:
    failed = 0
    for path in map(Path, paths):
        print(f"== {path.name}")
        for result in check(path):
            failed += not result.ok
            print(result)
    print(f"{failed} failed" if failed else "all ok")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
