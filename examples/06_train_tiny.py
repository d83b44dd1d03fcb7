"""Train a tiny network on the synthetic world, stop, resume, and load what came out. A minute on two cores.

    python examples/06_train_tiny.py [--steps 30] [--out out/06_train]

The same code trains the published architecture on 64 GPUs: a recipe is a function that returns a `TrainConfig`, and
every setting can be changed by name. `openmore train tiny_smoke --set optim.steps=30` is the same in one command.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import openmore
from openmore.data.synthetic import make_clip
from openmore.training.logbook import read_log
from openmore.training.recipes import recipe
from openmore.training.session import train
from openmore.training.settings import apply


def main(steps: int, out: Path) -> None:
    """Train half of the steps, resume for the rest, use the weights."""
    half = max(steps // 2, 1)
    changes = ["optim.ema=0", "run.log_every=1", f"run.metrics_every={half}", f"run.sheet_every={steps}"]
    config = apply(recipe("tiny_smoke"), [*changes, f"optim.steps={half}"])
    print(f"{config.name}: network {config.model}, clips of {config.data.frames} frames, "
          f"{config.data.images_per_rank} pictures a step")  # fmt: skip

    report = train(config, out)
    print(f"{report.stopped} at step {report.step} after {report.seconds:.1f} s, {report.clips} clips seen")
    report = train(apply(config, [f"optim.steps={steps}"]), out, resume=True)
    print(f"{report.stopped} at step {report.step}: the second run went on from step {half}")

    losses = [line["loss"] for line in read_log(out / "log.jsonl", "train")]
    print(f"\nloss of the first steps {mean(losses[:3]):.2f}, of the last {mean(losses[-3:]):.2f}")
    judged = read_log(out / "log.jsonl", "metrics")[-1]
    print(f"rotation error {judged['rotation_deg']:.1f} deg on the last batch; a camera that never turns has "
          f"{judged['rotation_deg_if_still']:.1f} deg: so few steps teach nothing yet")  # fmt: skip

    model = openmore.MoRe.from_pretrained(str(report.weights))
    scene = openmore.reconstruct(make_clip(1, frames=4, shape=(84, 112)).images, weights=model)
    print(f"\nthe weights load and run: depth {scene.depth.shape}, trained on {scene.info.weights['trained_on']}")
    print(f"look at {out / 'sheets'} and {out / 'log.jsonl'}")


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("out/06_train"))
    given = parser.parse_args()
    if (given.out / "checkpoints").exists():
        parser.error(f"{given.out} holds a run already: remove it or give another --out")
    main(given.steps, given.out)
