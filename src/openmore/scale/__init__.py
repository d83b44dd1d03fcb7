"""Many videos on many machines: a manifest, one idempotent function, several executors."""

from openmore.scale.job import run_job
from openmore.scale.journal import Summary, read_failures
from openmore.scale.manifest import Item, read_manifest, write_manifest
from openmore.scale.work import Outcome, Task, process_one

__all__ = [
    "Item",
    "Outcome",
    "Summary",
    "Task",
    "process_one",
    "read_failures",
    "read_manifest",
    "run_job",
    "write_manifest",
]
