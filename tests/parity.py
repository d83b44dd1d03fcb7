"""Compare the network with reference tensors: `python -m tests.parity FILE...`

Every file carries its own configuration, weights, inputs and expected outputs (format: the README beside the
reference files); nothing about a file is assumed here. One line per tensor; exit status 1 on any failure.

Tolerances, relative to each tensor's peak: 2e-5 for outputs, 1e-5 for tokens and caches; pose codes 1e-6 absolute
(rotations 1e-5); unprojection 1e-5 relative; images 1/255 (another Pillow version may round differently).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from openmore.geometry.camera import depth_to_world, unproject
from openmore.geometry.pose_code import decode_pose, encode_pose
from openmore.geometry.rigid import invert
from openmore.geometry.rotation import matrix_to_quaternion, quaternion_to_matrix
from openmore.model.aggregator import Tokens
from openmore.model.config import ModelConfig
from openmore.model.more import MoRe, RawOutput
from openmore.model.rope import rotate
from openmore.model.weights.keymaps import match_keys, require_exact
from openmore.streaming.policy import KeepAll, Policy, Window
from openmore.streaming.stream import StreamOptions, TensorStream

TOKENS, OUTPUTS = 1e-5, 2e-5
NAMES = {"point": "points"}  # the references' head names -> ours


@dataclass
class Fixture:
    """One reference file."""

    path: Path
    meta: dict[str, Any]
    tensors: dict[str, Tensor]

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Tensors below `prefix/`, with the prefix taken off."""
        start = prefix + "/"
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


@dataclass
class Line:
    """Result of one comparison."""

    name: str
    max_abs: float
    relative: float
    ok: bool
    skipped: str = ""  # why nothing was compared

    def __str__(self) -> str:
        if self.skipped:
            return f"skip {self.name}: {self.skipped}"
        return f"{'ok  ' if self.ok else 'FAIL'} {self.name:<58} abs {self.max_abs:9.2e}  rel {self.relative:9.2e}"


def read_fixture(path: Path) -> Fixture:
    with safe_open(path, framework="pt") as handle:
        meta = json.loads((handle.metadata() or {})["json"])
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
        return Fixture(path, meta, tensors)


def compare(name: str, ours: Tensor | None, expected: Tensor, tolerance: float, absolute: bool = False) -> Line:
    """Largest difference, also relative to the expected tensor's peak; a missing or misshapen result fails."""
    if ours is None or ours.shape != expected.shape:
        return Line(
            f"{name} {None if ours is None else list(ours.shape)} for {list(expected.shape)}", np.inf, np.inf, False
        )
    difference = (ours.double() - expected.double()).abs().max().item()
    relative = difference / max(expected.double().abs().max().item(), 1e-30)
    return Line(name, difference, relative, (difference if absolute else relative) <= tolerance)


# -- the network ------------------------------------------------------------------------------------------------------


def model_config(fixture: Fixture) -> ModelConfig:
    """Our configuration from either spelling of the reference's."""
    c = fixture.meta["config"]
    vit, camera, dpt = c.get("vit", {}), c.get("camera_head", {}), c.get("dpt", {})
    state = fixture.group("state")
    heads = c.get("heads") or [n for n in ("camera", "depth", "point", "motion") if any(k.startswith(n) for k in state)]
    return ModelConfig(
        image_size=vit.get("img_size", c["img_size"]),
        patch_size=c["patch_size"],
        embed_dim=c["embed_dim"],
        depth=c["depth"],
        num_heads=c["num_heads"],
        mlp_ratio=c["mlp_ratio"],
        num_registers=c["num_register_tokens"],
        rope_base=c["rope_freq"],
        vit_depth=vit.get("depth", c.get("vit_depth")),
        vit_heads=vit.get("num_heads", c.get("vit_heads")),
        vit_registers=state["aggregator.patch_embed.register_tokens"].shape[1],
        camera_depth=camera.get("trunk_depth", c.get("camera_trunk_depth")),
        camera_heads=camera.get("num_heads", c.get("camera_num_heads")),
        camera_iterations=camera.get("iterations", 4),
        dpt_features=dpt.get("features", c.get("dpt_features")),
        dpt_channels=tuple(dpt.get("out_channels", c.get("dpt_out_channels"))),
        saved_layers=tuple(dpt.get("intermediate_layer_idx", c.get("intermediate_layer_idx"))),
        heads=tuple(NAMES.get(head, head) for head in heads),
        duplicate_camera=c.get("duplicate_camera_tokens", False),
    )


def build(fixture: Fixture) -> MoRe:
    """The network of a fixture with its weights, strictly loaded."""
    state = fixture.group("state")
    model = MoRe(model_config(fixture)).eval()
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    require_exact(match_keys(shapes, {k: tuple(v.shape) for k, v in state.items()}, None), fixture.path, None)
    model.load_state_dict(state)
    return model


def window_of(fixture: Fixture) -> int:
    """The reference's window constant: in the configuration or at the end of the case's name."""
    if "window" in fixture.meta["config"]:
        return int(fixture.meta["config"]["window"])
    found = re.search(r"window(\d+)", fixture.meta["case"])
    if not found:
        raise SystemExit(f"{fixture.path}: no window constant in its metadata")
    return int(found.group(1))


def wanted_layers(fixture: Fixture, run: str) -> list[int]:
    return [int(k.rsplit("_", 1)[1]) for k in fixture.group(run) if k.startswith("aggregated_tokens_")]


def one_pass(
    mode: str, past: Callable[[Fixture], int | None], trunk: str
) -> Callable[[Fixture, MoRe, str], dict[str, Tensor]]:
    """A run over the whole clip at once."""

    def run(fixture: Fixture, model: MoRe, name: str) -> dict[str, Tensor]:
        patches: list[Tensor] = []
        hook = model.aggregator.patch_embed.register_forward_hook(lambda _m, _i, out: patches.append(out[0]))
        images = fixture.tensors["in/images"]
        raw = model(
            images,
            mode=mode,
            past=past(fixture),
            camera_trunk=trunk,
            camera_attention=True,
            keep_tokens=wanted_layers(fixture, name),
        )
        hook.remove()
        return named(raw, model) | {"patch_tokens": patches[0].unflatten(0, images.shape[:2])}

    return run


def named(raw: RawOutput, model: MoRe) -> dict[str, Tensor]:
    """Our outputs under the references' names and shapes."""
    out = {f"pose_enc_iter_{i}": code for i, code in enumerate(raw.pose_codes)}
    out |= {f"dup_pose_enc_iter_{i}": code for i, code in enumerate(raw.refined_pose_codes)}
    assert raw.tokens is not None
    for layer, tokens in raw.tokens.frames.items():
        extra = raw.tokens.duplicates.get(layer)
        out[f"aggregated_tokens_{layer}"] = tokens if extra is None else torch.cat((tokens, extra[:, :, None]), 2)
    maps = {"depth": raw.depth, "motion_logits": raw.motion_logits}
    out |= {name: value[..., None] for name, value in maps.items() if value is not None}
    same = {"depth_conf": raw.depth_conf, "world_points": raw.points, "world_points_conf": raw.points_conf}
    out |= {name: value for name, value in same.items() if value is not None}
    if raw.camera_attention is not None:
        out["camera_attention"] = raw.camera_attention.flatten(0, 1)
    return out


def keep_all(_: Fixture) -> None:
    return None


# -- streams ----------------------------------------------------------------------------------------------------------


def frame_by_frame(policy: Callable[[Fixture], Policy]) -> Callable[[Fixture, MoRe, str], dict[str, Tensor]]:
    """A run that pushes one frame at a time; caches as they stand after the last frame."""

    def run(fixture: Fixture, model: MoRe, name: str) -> dict[str, Tensor]:
        stream, ours = stream_through(fixture, model, wanted_layers(fixture, name), policy(fixture))
        return ours | caches(stream)

    return run


def stream_through(
    fixture: Fixture, model: MoRe, layers: list[int], policy: Policy, refinable: bool = False
) -> tuple[TensorStream, dict[str, Tensor]]:
    """The clip pushed frame by frame -> the stream at its end and the outputs of all frames."""
    images = fixture.tensors["in/images"]
    options = StreamOptions(policy=policy, batch=images.shape[0], refinable=refinable)
    stream = TensorStream(model, (images.shape[-2], images.shape[-1]), options)
    tokens: list[Tokens] = []
    hooks = [
        model.aggregator.register_forward_pre_hook(
            lambda _m, args, kwargs: (args, kwargs | {"keep": {*kwargs["keep"], *layers}}), with_kwargs=True
        ),
        model.aggregator.register_forward_hook(lambda _m, _i, out: tokens.append(out)),
    ]
    steps = []
    for frame in images.split(1, 1):
        raw = stream.step(frame)
        raw.tokens = tokens[-1]
        steps.append(named(raw, model))
    for hook in hooks:
        hook.remove()
    return stream, {key: torch.cat([step[key] for step in steps], 1) for key in steps[0]}


def caches(stream: TensorStream) -> dict[str, Tensor]:
    """Everything a stream holds, in frame order."""
    cache, out = stream.cache, {}
    for layer in range(cache.config.depth):
        k, v = cache.tokens.gather(layer, cache.held.whole)
        out |= {f"cache_aggregator_layer_{layer}_k": k, f"cache_aggregator_layer_{layer}_v": v}
    for index in range(len(cache.cameras.k)):
        k, v = cache.cameras.gather(index, cache.held.whole)
        name = "cache_camera_iter_{}_block_{}".format(*divmod(index, cache.blocks))
        out |= {f"{name}_k": k, f"{name}_v": v}
    return out


def expectations(fixture: Fixture, model: MoRe, name: str) -> dict[str, Tensor]:
    """What a run must give. A run of StreamVGGT, known by its raw caches [B, heads, frames, tokens, head_dim], stores
    keys before their norm and rotation, and shares one faulty camera cache among the refinement iterations: its keys
    are finished here, its poses are those of the causal pass over the whole clip."""
    expected = fixture.group(name)
    raw = {k for k, v in expected.items() if k.startswith("cache_aggregator") and v.dim() == 5}
    if not raw:
        return expected
    grid = model.prepare(tuple(fixture.tensors["in/images"].shape[-2:])).grid
    for key in raw:
        value = expected[key]
        if key.endswith("_k"):
            attention = model.aggregator.global_blocks[int(key.split("_")[-2])].attn
            assert attention.k_norm is not None
            value = rotate(attention.k_norm(value), grid.rope)
        expected[key] = value.flatten(2, 3)
    return expected | {k: v for k, v in fixture.group("full_causal").items() if k.startswith("pose_enc")}


def skip_reason(key: str) -> str:
    """Why a reference tensor is not compared, if so."""
    if key.startswith("cache_camera_block"):
        return "the reference shares one camera cache among its refinement iterations, a known fault"
    return ""


def check_duplicates(fixture: Fixture, model: MoRe, name: str) -> Iterator[Line]:
    """The clip of a grouped causal run once more, frame by frame, refined at the end from the cache."""
    layers = wanted_layers(fixture, name)
    stream, ours = stream_through(fixture, model, layers, KeepAll(), refinable=True)
    _, refined = stream.refine()
    ours |= {f"dup_pose_enc_iter_{i}": code for i, code in enumerate(refined)}
    tokens_per_frame = stream.cache.P
    for key, expected in fixture.group(name).items():
        if key.startswith("aggregated_tokens_"):
            expected = expected[:, :, :tokens_per_frame]
        # The one pass has a bidirectional camera trunk; and a frame pushed alone reads out no duplicate's attention.
        if key in ours and not key.startswith(("pose_enc", "camera_attention")):
            yield compare(f"frame by frame/{key}", ours[key], expected, TOKENS if "tokens" in key else OUTPUTS)


RUNS: dict[str, Callable[[Fixture, MoRe, str], dict[str, Tensor]]] = {
    "full": one_pass("full", keep_all, "bidirectional"),
    "full_bidirectional": one_pass("full", keep_all, "bidirectional"),
    "full_causal": one_pass("causal", keep_all, "causal"),
    # The reference's mask form of "window W" keeps W - 1 past frames beside the current one.
    "full_window": one_pass("causal", lambda f: window_of(f) - 1, "causal"),
    "grouped": one_pass("causal", keep_all, "bidirectional"),
    "stream": frame_by_frame(lambda _: KeepAll()),
    # The reference's cache form of "window W" keeps the first frame and W past ones, as our Window does.
    "stream_window": frame_by_frame(lambda f: Window(window_of(f), anchors=1)),
}


@torch.no_grad()
def check_network(fixture: Fixture) -> Iterator[Line]:
    """Every tensor of every run of a network fixture."""
    model = build(fixture)
    yield Line(f"state ({len(fixture.group('state'))} keys, strict)", 0.0, 0.0, True)
    for name in fixture.meta.get("runs") or [fixture.meta["run"]]:
        if name not in RUNS:
            yield Line(f"{name}: no such run here", np.inf, np.inf, False)
            continue
        ours = RUNS[name](fixture, model, name)
        for key, expected in expectations(fixture, model, name).items():
            if reason := skip_reason(key):
                yield Line(f"{name}/{key}", 0.0, 0.0, True, reason)
                continue
            tolerance = TOKENS if "tokens" in key or key.startswith("cache") else OUTPUTS
            yield compare(f"{name}/{key}", ours.get(key), expected, tolerance)
        if model.config.duplicate_camera:
            yield from check_duplicates(fixture, model, name)


# -- geometry and preprocessing ---------------------------------------------------------------------------------------


def check_pose_encoding(fixture: Fixture) -> Iterator[Line]:
    g, shape = fixture.tensors, tuple(fixture.meta["image_size_hw"])

    def close(name: str, ours: Tensor, expected: Tensor, tolerance: float = 1e-6) -> Line:
        return compare(name, ours, expected, tolerance * max(1.0, expected.abs().max().item()), absolute=True)

    for suffix in ("", "_offcentre"):
        code, expected = encode_pose(g["in/extrinsics"], g[f"in/intrinsics{suffix}"], shape), g[f"out/pose_enc{suffix}"]
        yield close(f"pose_enc{suffix} t, fov", code[..., [0, 1, 2, 7, 8]], expected[..., [0, 1, 2, 7, 8]])
        # The sign of a half turn's quaternion is arbitrary: compare rotations.
        rotations = [quaternion_to_matrix(c[..., 3:7]) for c in (code, expected)]
        yield close(f"pose_enc{suffix} rotation", *rotations, tolerance=1e-5)
    for source, prefix in (("out/pose_enc", "out/decoded"), ("in/raw_pose_enc", "out/raw_decoded")):
        cam_from_world, K = decode_pose(g[source], shape)
        yield close(f"{prefix}_extrinsics", cam_from_world[..., :3, :], g[f"{prefix}_extrinsics"])
        yield close(f"{prefix}_intrinsics", K, g[f"{prefix}_intrinsics"])
    again = encode_pose(*decode_pose(g["in/raw_pose_enc"], shape), shape)
    yield close("raw_reencoded", again, g["out/raw_reencoded"], 1e-5)
    yield close("quats_to_mat", quaternion_to_matrix(g["in/quats_xyzw_unnormalised"]), g["out/quats_to_mat"])
    yield close("mat_to_quat", matrix_to_quaternion(g["out/quats_to_mat"]), g["out/mat_to_quat"], 1e-5)


def check_unprojection(fixture: Fixture) -> Iterator[Line]:
    g = fixture.tensors
    bottom = torch.tensor([0.0, 0, 0, 1]).expand(*g["in/extrinsics"].shape[:-2], 1, 4)
    world_from_cam = invert(torch.cat((g["in/extrinsics"], bottom), -2))
    depth, K = g["in/depth"].squeeze(-1), g["in/intrinsics"]
    yield compare("camera_points", unproject(depth, K), g["out/camera_points"], 1e-5)
    yield compare("world_points", depth_to_world(depth, K, world_from_cam), g["out/world_points"], 1e-5)
    yield compare("camera_to_world", world_from_cam, g["out/camera_to_world"], 1e-5)


def check_preprocess(fixture: Fixture) -> Iterator[Line]:
    from PIL import Image

    from openmore.io.sizing import load_images

    g = fixture.tensors

    def picture(index: int) -> Image.Image:
        height, width = g[f"in/image_{index}_hw"].tolist()
        small = Image.fromarray(g[f"in/image_{index}_lowres_u8"].numpy())
        return small.resize((width, height), Image.Resampling.BICUBIC)

    for case in fixture.meta["cases"]:
        if case.get("rgba"):
            keys = sorted(k for k in g if k.startswith("in/rgba_"))
            pictures, name = [Image.fromarray(g[k].numpy()) for k in keys], f"rgba_batch_{case['mode']}"
        else:
            pictures, name = [picture(case["index"])], f"image_{case['index']}_{case['mode']}"
        with TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{i}.png" for i in range(len(pictures))]
            for image, path in zip(pictures, paths):
                image.save(path)
            images = load_images(paths, mode=case["mode"])
        yield compare(name, images[..., ::7, ::7], g[f"out/{name}_every7"], 1 / 255 + 1e-6, absolute=True)


CHECKS: dict[str, Callable[[Fixture], Iterator[Line]]] = {
    "pose_encoding": check_pose_encoding,
    "unprojection": check_unprojection,
    "preprocess": check_preprocess,
}


def check(path: Path) -> list[Line]:
    """All comparisons of one file."""
    fixture = read_fixture(path)
    return list(CHECKS.get(fixture.meta.get("case", ""), check_network)(fixture))


def main(paths: list[str]) -> int:
    failed = 0
    for path in map(Path, paths):
        if "losses" in path.stem:
            print(f"== {path.name}: training losses, see python -m tests.parity_losses")
            continue
        print(f"== {path.name}")
        for line in check(path):
            failed += not line.ok
            print(line)
    print(f"{failed} failed" if failed else "all ok")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
