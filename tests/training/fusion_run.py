"""Run by torchrun in test_fusion.py: the fusion network on two processes, whole, and stopped in both and gone on with.

torchrun --nproc-per-node 2 -m tests.training.fusion_run EXAMPLES OUT
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from unittest import mock

from torch import Tensor

from openmore.training.fusion import fit as module
from openmore.training.fusion.config import FitConfig
from openmore.training.fusion.examples import listed
from openmore.training.ranks import joined

CONFIG = FitConfig(steps=12, clips=2, frames=2, lr=3e-3, warmup=1, log_every=5, save_every=4)


class Stopped(Exception):
    """What ends a run after six steps."""


def six(*args: object) -> Iterator[list[Tensor]]:
    yield from islice(whole(*args), 6)  # type: ignore[arg-type]
    raise Stopped


if __name__ == "__main__":
    files, out = listed(Path(sys.argv[1])), Path(sys.argv[2])
    whole = module.batches
    with joined("cpu"):  # once: processes that leave a group cannot be sure to meet again under the same address
        module.fit(files, out / "whole", CONFIG, [])
        try:
            with mock.patch.object(module, "batches", six):
                module.fit(files, out / "parts", CONFIG, [])
        except Stopped:
            module.fit(files, out / "parts", CONFIG, [])
