"""ATE and RPE of a trajectory file against the truth, and what an alignment forgives.

    python examples/07_evaluate_a_trajectory.py [estimate.txt truth.txt] [--out out/07_trajectory]

Files may be TUM, KITTI or EuRoC, each in its own format; `openmore evaluate trajectory A B` is the same in one command.
Without files, a synthetic camera path is disturbed by known amounts: the numbers must come out as printed beside them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from openmore.data.synthetic import Recipe, describe
from openmore.evaluation.trajectory import Alignment, associate, trajectory_errors
from openmore.geometry.rotation import so3_exp
from openmore.io.trajectories import Trajectory, read_trajectory, write_tum

SCALE, NOISE_M, NOISE_DEG = 0.5, 0.02, 0.3  # the estimate's scale; its noise per axis, in the truth's metres


def main(files: list[Path], out: Path) -> None:
    """Read two files, match their times, measure under three alignments."""
    estimate_file, truth_file = files or make_files(out)
    estimate, truth = read_trajectory(estimate_file), read_trajectory(truth_file)
    pairs = associate(estimate.times_s, truth.times_s)  # nearest times within 0.02 s
    matched = estimate.world_from_cam[pairs[:, 0]], truth.world_from_cam[pairs[:, 1]]
    print(f"{estimate_file} against {truth_file}: {len(pairs)} of {len(estimate)} poses matched\n")

    print("align     ATE      RPE-t    RPE-r      scale")
    alignments: tuple[Alignment, ...] = ("sim3", "se3", "none")
    for align in alignments:
        e = trajectory_errors(*matched, align=align)
        print(f"{align:<6} {e.ate:7.4f} {e.rpe_translation:9.4f} {e.rpe_rotation_deg:8.3f} deg {e.scale:8.4f}")
    print(f"\nA camera that stands still has an ATE of {e.truth_rms:.4f}: an ATE means something only beside it.")
    if not files:
        print(f"Put in: ATE {NOISE_M * 3**0.5:.4f}, RPE-r {NOISE_DEG * 6**0.5:.3f} deg, scale {1 / SCALE:.4f}.")


def make_files(out: Path) -> tuple[Path, Path]:
    """A synthetic path of 120 frames, and the same in another world and scale, with noise and without every third."""
    scene = describe(5, Recipe(frames=120, intervals=(1, 1), camera="orbit"))
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(0, np.radians(NOISE_DEG), (120, 3)))
    turn = so3_exp(torch.tensor([0.3, -1.2, 0.4], dtype=torch.float64)).numpy()
    guess = scene.world_from_cam.copy()
    guess[:, :3, :3] = turn @ guess[:, :3, :3] @ so3_exp(noise).numpy()
    guess[:, :3, 3] = SCALE * (guess[:, :3, 3] + rng.normal(0, NOISE_M, (120, 3))) @ turn.T + (5, -2, 1)
    kept = np.arange(120) % 3 > 0

    out.mkdir(parents=True, exist_ok=True)
    estimate, truth = out / "estimate.txt", out / "truth.txt"
    write_tum(estimate, Trajectory(scene.times_s[kept], guess[kept]))
    write_tum(truth, Trajectory(scene.times_s, scene.world_from_cam))
    return estimate, truth


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="estimate and truth")
    parser.add_argument("--out", type=Path, default=Path("out/07_trajectory"))
    given = parser.parse_args()
    if len(given.files) not in (0, 2):
        parser.error(f"give two files, an estimate and the truth, or none; got {len(given.files)}")
    main(given.files, given.out)
