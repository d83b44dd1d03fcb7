"""Run by torchrun in test_distributed.py: FSDP2 and DDP on two gloo processes, and FSDP2 stopped and resumed.

Writes losses.json into the folder given: one list of losses per run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from openmore.training.ranks import joined
from openmore.training.session import train
from tests.training.toy import ToySource, toy_config


def losses(out: Path, parallel: str, steps: int, resume: bool = False) -> list[float]:
    seen: list[float] = []
    config = toy_config(
        f"run.parallel={parallel}",
        f"optim.steps={steps}",
        "optim.schedule=constant",
        "optim.warmup=0",
        "optim.accumulate=2",
    )
    train(config, out, resume=resume, source=ToySource(), on_log=lambda step, values: seen.append(values["loss"]))
    return seen


def main(folder: Path) -> None:
    with joined("cpu") as ranks:
        results = {
            "fsdp": losses(folder / "fsdp", "fsdp", 2),
            "ddp": losses(folder / "ddp", "ddp", 2),
            "stopped": losses(folder / "stopped", "fsdp", 1) + losses(folder / "stopped", "fsdp", 2, resume=True),
        }
        if ranks.main:
            (folder / "losses.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
