"""Ablation of attention forcing, honestly small: the `tiny` network, one short budget, four variants, three seeds.

    python -m benchmarks.attention_forcing --pool FOLDER [--steps 200] [--seeds 3]

Every run sees the same clips in the same order (the seed changes the initial weights only) and is measured on the same
unseen clips: ATE after Sim(3), RPE of translation and rotation (the supplement's columns), the same for a camera that
never moves, and the camera token's attention on moving patches relative to uniform attention (1 = no preference).
The published weight of the loss (0.01) moves nothing in so few steps; WEIGHTS are larger, chosen once, and recorded.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch

from benchmarks._record import record
from openmore.data.synthetic import Recipe, make_batch
from openmore.evaluation.trajectory import trajectory_errors
from openmore.geometry.pose_code import decode_pose
from openmore.geometry.rigid import invert
from openmore.model.more import MoRe
from openmore.training.batch import Batch
from openmore.training.config import DataConfig, TrainConfig
from openmore.training.losses.attention import AttentionForcingConfig
from openmore.training.losses.motion import pool_motion
from openmore.training.network_pass import PassConfig
from openmore.training.recipes import tiny_smoke
from openmore.training.session import train
from openmore.training.sources import from_synthetic

WEIGHTS = {"none": 0.0, "release": 3.0, "baseline": 0.1, "kl": 0.1}
SHAPE, FRAMES = (56, 84), 4
FIRST_CLIP, CLIPS = 700, 32  # below the seeds that training draws
SMALLEST_MOTION = 0.02  # metres: clips whose camera moves less are left out of ATE and RPE


def configuration(variant: str, seed: int, steps: int, pool: str | None) -> TrainConfig:
    """`tiny_smoke` without its dense heads; everything but the variant and the seed of the weights is fixed."""
    base = tiny_smoke()
    weights = replace(
        base.objective.weights, duplicate=0.0, depth=0.0, points=0.0, motion=0.0, attention=WEIGHTS[variant]
    )
    forcing = AttentionForcingConfig(variant)  # type: ignore[arg-type]
    return replace(
        base,
        name=f"attention_{variant}",
        passes=PassConfig(attention="full", duplicates=False),
        objective=replace(base.objective, weights=weights, attention=forcing, correspondence_layers=(2,)),
        data=DataConfig(
            frames=(3, 3),
            interval=(1, 5),
            long_side=SHAPE[1],
            min_short_side=SHAPE[0],
            aspects=(SHAPE[0] / SHAPE[1],),
            short_scale=(1.0, 1.0),
            images_per_rank=24,
            render="worker",
            pool=pool,
            pool_scenes=2048,
        ),
        optim=replace(base.optim, steps=steps, ema=0.9),
        run=replace(base.run, seed=seed, save_every=steps, sheet_every=0, metrics_every=steps, log_every=steps // 4),
    )


def measure(model: MoRe, batches: list[Batch]) -> dict[str, float]:
    """Means over clips that move; attention over frames with something moving."""
    rows: dict[str, list[float]] = defaultdict(list)
    for batch in batches:
        with torch.inference_mode():
            output = model(batch.images, outputs={"camera"}, camera_attention=True)
        cameras = invert(decode_pose(output.pose_codes[-1].double(), batch.shape)[0]).numpy()
        for estimate, truth in zip(cameras, batch.world_from_cam.double().numpy()):
            if np.linalg.norm(truth[:, :3, 3] - truth[:, :3, 3].mean(0), axis=-1).max() < SMALLEST_MOTION:
                continue
            still = np.tile(np.eye(4), (len(truth), 1, 1))
            for name, poses in (("", estimate), ("_if_still", still)):
                errors = trajectory_errors(poses, truth, static_estimate=True)
                rows[f"ate{name}"].append(errors.ate)
                rows[f"rpe_translation{name}"].append(errors.rpe_translation)
                rows[f"rpe_rotation_deg{name}"].append(errors.rpe_rotation_deg)
        assert output.camera_attention is not None
        rows["attention_on_movers"] += attention_on_movers(model, output.camera_attention, batch)
    return {name: mean(values) for name, values in rows.items()}


def attention_on_movers(model: MoRe, rows: torch.Tensor, batch: Batch) -> list[float]:
    """Per frame with movers: camera attention on moving patches, relative to the mean over all patches."""
    c = model.config
    share, _ = pool_motion(batch.motion, c.patch_size)
    attention = rows[..., 0, c.first_patch :].mean(2)  # over heads: [B, S, patches]
    there = share.sum(-1) > 0.5
    on = (attention * share).sum(-1) / share.sum(-1).clamp_min(1e-6) / attention.mean(-1)
    return on[there].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", help="folder that keeps the rendered training clips (data.pool)")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(intervals=(3, 3), movers=(2, 6))
    starts = range(FIRST_CLIP, FIRST_CLIP + CLIPS, 8)
    batches = [from_synthetic(make_batch(range(s, s + 8), FRAMES, SHAPE, recipe=recipe)) for s in starts]
    runs: dict[str, list[dict[str, float]]] = {variant: [] for variant in WEIGHTS}
    for seed in range(args.seeds):
        for variant in WEIGHTS:
            with tempfile.TemporaryDirectory() as folder:
                report = train(configuration(variant, seed, args.steps, args.pool), Path(folder))
                model = MoRe.from_pretrained(str(report.weights), dtype="fp32")
            runs[variant].append(measure(model, batches))
            print(variant, seed, {k: round(v, 4) for k, v in runs[variant][-1].items()}, flush=True)
    summary = {
        variant: {
            name: {"mean": mean(r[name] for r in of), "std": stdev(r[name] for r in of) if len(of) > 1 else None}
            for name in of[0]
        }
        for variant, of in runs.items()
    }
    note = (
        f"tiny, {args.steps} steps of 8 clips x 3 frames at {SHAPE[1]}x{SHAPE[0]}; {CLIPS} unseen clips of {FRAMES} "
        f"frames; weights of the loss {WEIGHTS}"
    )
    print(record("attention_forcing", {"summary": summary, "runs": runs}, note))


if __name__ == "__main__":
    main()
