"""One task of a Slurm job array: its share of the manifest, run locally.

Choices
- Shares are interleaved (task i takes items i, i + n, ...): clips of one kind, listed together, spread over all tasks.
- The place in the array comes from Slurm's own environment; nothing else of Slurm is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from openmore.errors import ConfigError
from openmore.scale.manifest import Item


def array_place(environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """(place, count) of this task in its job array. Raises ConfigError outside of one."""
    env = os.environ if environment is None else environment
    try:
        number, first = int(env["SLURM_ARRAY_TASK_ID"]), int(env.get("SLURM_ARRAY_TASK_MIN", "0"))
        step, count = int(env.get("SLURM_ARRAY_TASK_STEP", "1")), int(env["SLURM_ARRAY_TASK_COUNT"])
    except (KeyError, ValueError) as error:
        raise ConfigError(
            "executor slurm-array found no job array: submit with sbatch --array=0-N, or use --executor local"
        ) from error
    place, odd = divmod(number - first, max(step, 1))
    if odd or not 0 <= place < count:
        raise ConfigError(f"job array task {number} is not one of {count} from {first}: use an array without gaps")
    return place, count


def share(items: Sequence[Item], place: int, count: int) -> list[Item]:
    """The items of task `place` of `count`."""
    return list(items[place::count])
